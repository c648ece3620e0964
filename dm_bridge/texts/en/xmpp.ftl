# What users and people on XMPP read about XMPP. Everywhere, $domain is that of an XMPP server, $address is somebody's
# XMPP address, and $condition is XMPP's name of an error, such as internal-server-error.

## Logging in

xmpp-login-instructions = Log in with the address and password of your XMPP account.
xmpp-login-address = XMPP address (JID), for example romeo@example.org
xmpp-login-password = XMPP password
xmpp-login-no-password = The password is empty. Please send the password of the XMPP account.
xmpp-login-odd-password = The password has a character that XMPP passwords cannot have, such as a control character. Please send it again.

## Addresses

-xmpp-address = An XMPP address looks like romeo@example.org.
xmpp-address-empty = The address is empty. { -xmpp-address }
xmpp-address-none = This is not an XMPP address. { -xmpp-address }
xmpp-address-in-part = The part before or after the @ is missing. { -xmpp-address }
xmpp-address-no-server = The part after the @ is not the name of a server. { -xmpp-address }

## Why there is no connection

# $server: a host with its port.
xmpp-no-encryption-there = No encrypted connection to { $domain } ({ $server }) could be made: the server speaks no TLS there, none that is still safe, or does not serve this domain.
xmpp-server-does-not-answer = No XMPP server answers for { $domain } at { $server }: the connection was refused.
xmpp-unreachable = { $domain } cannot be reached at { $server }.
# $why: of the operating system.
xmpp-unreachable-why = { $domain } cannot be reached at { $server } ({ $why }).
xmpp-server-not-found = The XMPP server of { $domain } cannot be found; is the domain spelled correctly?
xmpp-server-not-found-there = The XMPP server of { $domain } ({ $server }) cannot be found; is the domain spelled correctly?
xmpp-certificate-of-another = The certificate of the XMPP server of { $domain } is not trusted: it was issued for another name. The password was not sent.
# $why: of OpenSSL, in English.
xmpp-certificate-wrong = The certificate of the XMPP server of { $domain } is not trusted: { $why }. The password was not sent.
xmpp-certificate-unverified = The certificate of the XMPP server of { $domain } is not trusted: it cannot be verified. The password was not sent.
xmpp-timed-out = The XMPP server of { $domain } did not answer in time.
xmpp-no-encryption = The XMPP server of { $domain } offers no encryption, so the password was not sent.
xmpp-no-mechanism = The XMPP server of { $domain } offers no way to log in with a password that is safe on this connection.
xmpp-cannot-check-passwords = { $domain } cannot check passwords at the moment; try again later.
xmpp-account-disabled = { $domain } says that the account { $address } is disabled.
xmpp-password-expired = { $domain } says that the password of { $address } has expired.
xmpp-encryption-required = { $domain } accepts passwords only over an encrypted connection.
xmpp-password-wrong = { $domain } does not accept this password for { $address }. Check the address and the password.
xmpp-login-refused = { $domain } refused the login of { $address } ({ $condition }).
xmpp-closed = { $domain } closed the connection.
xmpp-closed-connecting = { $domain } closed the connection while connecting.
xmpp-closed-encrypting = { $domain } closed the connection while starting encryption.
xmpp-closed-logging-in = { $domain } closed the connection while logging in.
xmpp-closed-beginning = { $domain } closed the connection while starting the session.
xmpp-stream-conflict = Another program is connected to { $domain } as the same client; it took over.
xmpp-stream-silent = { $domain } closed the connection because nothing came from us for long.
xmpp-stream-host-gone = { $domain } is no longer served by this server.
xmpp-stream-host-unknown = The server that answers does not serve the domain { $domain }.
xmpp-stream-rule-broken = { $domain } closed the connection because a rule of the server was broken.
xmpp-stream-part-away = { $domain } could not reach a part of itself that it needs.
xmpp-stream-reset = { $domain } asked us to connect again.
xmpp-stream-overloaded = { $domain } is overloaded.
xmpp-stream-elsewhere = { $domain } refers to another host, which is not followed.
xmpp-stream-shutdown = { $domain } is shutting down or restarting.
xmpp-stream-error = { $domain } closed the connection ({ $condition }).
# $what: one of xmpp-sent-….
xmpp-broken = The connection was closed because { $domain } sent { $what }.
# $limit: a number.
xmpp-sent-too-much = a stanza of more than { $limit } KiB
# $why: in English.
xmpp-sent-malformed = malformed XML ({ $why })
xmpp-sent-doctype = a document type declaration, which XMPP forbids
xmpp-sent-comment = an XML comment, which XMPP forbids
xmpp-sent-instruction = an XML processing instruction, which XMPP forbids
xmpp-sent-acknowledgement = an acknowledgement for what was never sent to it
xmpp-sent-challenge = a challenge that makes no sense
xmpp-unexpected = The connection to { $domain } failed for a reason that this bridge does not expect; it keeps trying. The log of the bridge has the details.
xmpp-not-connected = { $address } is not connected to its XMPP server at the moment.
xmpp-does-not-answer = { $domain } does not answer.
xmpp-rejected = { $what ->
    [session] { $domain } refused to start a session ({ $condition }).
   *[request] { $domain } refused a request ({ $condition }).
  }

## Why a message was not delivered

xmpp-bounce-unavailable = { $address } cannot receive this message: the address does not exist, or takes no messages from you.
xmpp-bounce-unreachable = { $address } cannot be reached at the moment.
xmpp-bounce-not-found = The address { $address } does not exist.
xmpp-bounce-not-valid = The address { $address } is not valid there.
xmpp-bounce-gone = The address { $address } no longer exists.
xmpp-bounce-no-server = The server of { $address } cannot be found.
xmpp-bounce-server-silent = The server of { $address } did not answer.
xmpp-bounce-blocked = You have blocked { $address }. To write to them, write `unblock { $address }` to the bot first.
xmpp-bounce-perhaps-blocked = You have blocked { $address }, or they take no such messages from you. If you have blocked them, write `unblock { $address }` to the bot first.
xmpp-bounce-not-from-you = { $address } does not accept messages from you.
xmpp-bounce-only-known = { $address } accepts messages only from contacts it knows.
xmpp-bounce-registration = { $address } accepts messages only after registration.
xmpp-bounce-only-approved = { $address } accepts messages only from contacts it has approved.
xmpp-bounce-full = { $address } or its server has no room for more messages; try again later.
xmpp-bounce-rule-broken = The server refused the message: it breaks a rule there (size, rate or content).
xmpp-bounce-fault = The server of { $address } has a fault; try again later.
xmpp-bounce-other = { $address } did not get the message.
xmpp-bounce-condition = { $address } did not get the message ({ $condition }).
# $why: one of the above. $said: by the server.
xmpp-bounce-saying = { $why } The server says: { $said }
xmpp-lost-before = The connection to the XMPP server was lost before the message was sent.
xmpp-lost-while = The connection to the XMPP server was lost while the message was being sent; it may have arrived.
xmpp-not-confirmed = { $domain } did not confirm the message in time; it may have arrived.
xmpp-archive-too-long = The archive of { $address } is too long to find out whether the message arrived.

## Files

xmpp-closed-before-file = The connection to the XMPP server was closed before the file was sent.
xmpp-no-files = { $domain } has no place for files, so none can be sent from there. Send a link instead.
xmpp-file-in-time = { $domain } did not take the file in time.
xmpp-file-no-place = { $domain } did not say where the file is to go. Send a link instead.
xmpp-file-not-wanted = { $domain } does not take this file: it is too large, or of a kind that is not wanted. Send another one, or a link.
xmpp-files-too-many = { $domain } takes no more files for now: you have sent too much today, or it is full. Try again tomorrow, or send a link.
xmpp-files-not-allowed = { $domain } does not let you send files ({ $condition }). Send a link instead.
# $most and $size: numbers.
xmpp-file-too-large = { $domain } takes files of at most { $most } MB, and this one has { $size } MB. Send a smaller one, or a link.
# $status: of HTTP, such as 503.
xmpp-files-not-now = { $domain } cannot take files at the moment ({ $status }).
xmpp-file-not-taken = { $domain } did not take the file ({ $status }). Send it again, or a link.

## People

xmpp-no-directory = { $domain } has no directory of people that could be asked.
xmpp-no-picture = { $address } has no picture that can be shown.
xmpp-no-blocking = { $domain } has no way to block anybody.
xmpp-limit-reactions = Your contact's client knows no reactions: they do not see yours.
xmpp-limit-edits = Your contact's client knows no edits: they see what you changed as another message.
xmpp-limit-retractions = Your contact's client cannot take messages back: they can still read it, below a note that you would like them not to.

## Earlier messages

xmpp-archive-unreadable = The archive of { $address } cannot be read.
# $why: a sentence.
xmpp-archive-refused = The XMPP server does not give out the messages of its archive: { $why }

## In place of a message that cannot be shown

# $method: such as OMEMO.
xmpp-encrypted = This message is encrypted ({ $method }), and the bridge cannot read it. Ask your contact to turn encryption off for this chat.
xmpp-encrypted-somehow = This message is encrypted, and the bridge cannot read it. Ask your contact to turn encryption off for this chat.
xmpp-encrypted-by-you = This message is encrypted ({ $method }), and the bridge cannot read it. Turn encryption off for this chat in your other client.
xmpp-encrypted-by-you-somehow = This message is encrypted, and the bridge cannot read it. Turn encryption off for this chat in your other client.
xmpp-attention = 🔔 I would like your attention.
xmpp-call = 📞 This was a call, and the bridge carries none. Answer with another XMPP client, or write back.
xmpp-video-call = 📞 This was a video call, and the bridge carries none. Answer with another XMPP client, or write back.
-xmpp-join = The bridge carries private chats only: to join, use another XMPP client.
xmpp-somebody = somebody
# $who: an address, a nick, or xmpp-somebody. $reason: in the words of whoever invites.
xmpp-group-invites = This is a group chat. It says that { $who } invites you. { -xmpp-join }
xmpp-group-invites-because = This is a group chat. It says that { $who } invites you (“{ $reason }”). { -xmpp-join }
# $room: the address of a group chat.
xmpp-invitation = This is an invitation to the group chat { $room }. { -xmpp-join }
xmpp-invitation-because = This is an invitation to the group chat { $room } (“{ $reason }”). { -xmpp-join }

## What people on XMPP read before the address of a picture, or another file, that is not to be seen at once

xmpp-spoiler = (spoiler)
# $why: the words of its sender.
xmpp-spoiler-why = (spoiler: { $why })

## What people on XMPP read whose client does not know that messages can be taken back

xmpp-taken-back = The sender has taken a message back, which your client cannot show.
