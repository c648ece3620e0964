# What users and people on IRC read about IRC. Everywhere, $network is what the configuration calls an IRC network,
# $nick is somebody's nick, and $said is what the server says of it, in its own language.

## Logging in

irc-login-instructions = Log in with the nick that you use on IRC.
irc-login-nick = nick
# $networks: their names.
irc-login-network = IRC network ({ $networks })
# $methods: their names, such as sasl, which stay as they are.
irc-login-method = way to log in: { $methods }
# $meanings: the irc-method-… of the network, with semicolons between them.
irc-login-which-method = How do you log in there? { $meanings }.
irc-method-none = none: nothing to prove
irc-method-sasl = sasl: account and password (SASL)
irc-method-nickserv = nickserv: a password for NickServ
irc-method-server = server: a server password, as bouncers and closed servers want
irc-method-certificate = certificate: a client certificate (SASL EXTERNAL)
irc-login-account = account name
irc-login-account-password = password of the account
irc-login-nickserv-password = password for NickServ
irc-login-server-password = server password (for ZNC: user/network:password)
irc-login-certificate = client certificate and its private key, in PEM
irc-login-no-network = There is no such IRC network here. Choose one of: { $networks }.
irc-login-no-nick = This cannot be a nick. A nick looks like romeo or romeo_.
irc-login-no-method = Choose one of: { $methods }.
irc-login-too-long = This is too long, or holds a line break. Please send it again.
irc-login-empty = This is empty. Please send it again.
irc-login-no-certificate = This is no certificate with its private key. Please send both, in PEM: from -----BEGIN CERTIFICATE----- to the END of the key, without a passphrase.

## Addresses

-irc-address = An IRC address looks like juliet, or juliet@libera where several networks are configured.
irc-address-which-network = On which IRC network? Choose from: { $networks }. { -irc-address }
irc-address-no-network = There is no such IRC network here; there are: { $networks }. { -irc-address }
irc-address-no-nick = This is not a nick. { -irc-address }
irc-address-no-networks = none

## Why there is no connection

irc-not-configured = The IRC network { $network } is not in the configuration of the bridge any more; tell its admin.
irc-nick-not-allowed = { $network } does not allow this nick: { $said }
irc-nicks-taken = Others have your nick on { $network }, and its variants.
irc-banned = { $network } has banned you or this bridge: { $said }
irc-connection-refused = { $network } refused the connection: { $said }
irc-server-password-wrong = { $network } wants a server password, and the one that was given, if any, is wrong.
irc-account-refused = { $network } does not accept the login of this account: { $said }. Check the account and the password or certificate.
irc-nickserv-away = { $network } has no NickServ at the moment.
irc-nickserv-refused = NickServ of { $network } does not accept the password of this nick.
irc-no-sasl = { $network } offers no way to log in to an account (SASL) at the moment.
irc-no-mechanism = { $network } offers no way to log in to an account that this bridge knows.
irc-closed = { $network } closed the connection.
irc-closed-saying = { $network } closed the connection: { $said }.
irc-timed-out = { $network } did not answer in time.
# $address: of the server, with its port. $why: of OpenSSL, in English.
irc-certificate-wrong = The certificate of { $network } ({ $address }) is not trusted: { $why }.
irc-certificate-unverified = The certificate of { $network } ({ $address }) is not trusted: it cannot be verified.
irc-certificate-unknown = The certificate of { $network } ({ $address }) is none of those in the configuration of the bridge.
irc-no-encryption = No encrypted connection to { $network } ({ $address }) could be made.
irc-server-not-found = The server of { $network } ({ $address }) cannot be found.
irc-server-does-not-answer = No server answers for { $network } at { $address }.
irc-unreachable = { $network } ({ $address }) cannot be reached.
# $why: of the operating system.
irc-unreachable-why = { $network } ({ $address }) cannot be reached: { $why }.
irc-unexpected = The connection to { $network } failed for a reason that this bridge does not expect; it keeps trying. The log of the bridge has the details.
irc-broken-endless = The connection to { $network } was closed because it sent a line without end.
irc-broken-login-too-long = The connection to { $network } was closed because its login asks too much.
irc-broken-login-unreadable = The connection to { $network } was closed because its login cannot be read.
# $why: one of irc-sasl-….
irc-broken-login = The connection to { $network } was closed because the login failed: { $why }.
irc-sasl-too-much = the server asks too much
irc-sasl-malformed = the server's challenge is malformed
irc-sasl-for-somebody-else = the server's challenge is for somebody else
irc-sasl-rounds = the server asks for an unreasonable number of rounds
irc-sasl-no-proof = the server does not prove that it knows the password

## While there is a connection

# $nick: what the user wants. $own: what they have.
irc-other-nick = Somebody else has the nick { $nick }; you are { $own } until it is free.
irc-not-connected = You are not connected to { $network } at the moment.
irc-still-reading = What was written on { $network } meanwhile is still being read.

## Why a message was not delivered

irc-not-there = { $nick } is not on { $network } at the moment, and IRC keeps no messages for later.
irc-may-not-write = { $network } does not let you write to { $nick }: { $said }
irc-several-people = { $network } found several people for { $nick }: { $said }
irc-takes-no-messages = { $network } does not take messages to { $nick }: { $said }
irc-too-long = { $network } says that the message is too long.
irc-only-from-accounts = { $nick } takes messages only from people who are logged in to { $network } with an account.
irc-no-ctcp = { $network } lets no message of this kind (/me) through to { $nick }.
irc-takes-none-from-you = { $nick } takes no messages from you at the moment: { $said }
irc-only-allowed-was-told = { $nick } takes private messages only from people whom they have allowed, and was told that you wrote.
irc-only-allowed = { $nick } takes private messages only from people whom they have allowed.
irc-more-slowly = { $network } wants messages more slowly: { $said }
irc-refused = { $network } did not take the message to { $nick }: { $said }
irc-former = Somebody else has the nick { $nick } on { $network } now, so nothing was sent. When the person of this chat writes to you from another nick, you get a chat with that nick; with `moved` this one can go on with it.
irc-just-left = { $nick } has just got another nick.
irc-nothing-to-send = There is nothing in this message that IRC can carry.
irc-too-many-lines = This message would take { $lines } lines on IRC, and more than { $most } are not sent. Please send less at once, or a link.
# $why: one of irc-unsendable-….
irc-unsendable = This cannot be sent on IRC: { $why }.
irc-unsendable-command = the command is none
irc-unsendable-break = a parameter holds a line break or NUL
irc-unsendable-blank = a parameter that is not the last is empty or holds a blank
irc-unsendable-long = the line is too long
irc-unsendable-tags = the tags are too long
irc-unsendable-tag = a tag is malformed
irc-not-recorded = The bridge could not write down that it sends the message, so it has not sent it yet.
irc-lost-before = The connection to { $network } was lost before the message was sent.
irc-lost-while = The connection to { $network } was lost while the message was being sent, and IRC does not tell whether it arrived.
irc-lost-in-part = The connection to { $network } was lost while the message was being sent, and a part of it was surely sent.
irc-interrupted = The bridge was interrupted while it sent the message to { $network }, and IRC does not tell whether it arrived.
# $why: sentences.
irc-only-beginning = Only the beginning of the message was sent. { $why }
irc-no-id = The IRC server gave this message no id, so one cannot react to it.
irc-no-unreact = This IRC server lets no reaction be taken back.

## What people on IRC read

irc-quit = The bridge leaves.
irc-no-dcc = This is a bridge to Matrix: it takes no files and no DCC chats.

## What a contact does, after their name: "* juliet …"

irc-asks-for-dcc = asked for a DCC connection, which this bridge does not make.
# $file: its name.
irc-offers-file = wants to send a file ({ $file }) by DCC, which this bridge does not take.
irc-offers-nameless-file = wants to send a file (without a name) by DCC, which this bridge does not take.
