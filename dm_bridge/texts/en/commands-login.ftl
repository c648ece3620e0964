# Logging in to networks, and out: the questions, and how logins are.

## How a login is. Said in "Your login is …." and "… is ….", and in lists.

login-state-connecting = connecting
login-state-connected = connected
login-state-disconnected = disconnected for the moment, trying again
login-state-refused = refused by its server
login-state-logged-out = logged out
login-state-error = in trouble
# $state: one of the above. $why: a sentence without its full stop.
login-state-why = { $state }: { $why }
# Without a full stop at the end. $state: one of the above.
login-state-and-way-out = { $state }. To log in again, write `login { $network }`
# $login: the login's name. $state: one of the above.
login-not-connected = { $login } is { $state }. To log in again, write `login { $network }`.

## Logins

# $logins: a list.
logins-list =
    Your logins:

    { $logins }
# $commands: such as "`login xmpp` or `login irc`".
logins-none = You have no logins. Write { $commands } to add one.
login-not-logged-in = You are not logged in to any network. Write { $commands } to log in.
login-no-such = You have no such login. Write `logins` to see those you have.
# $commands: the command as it would be for each login, with the login's name.
login-which-one = You have several logins. Which one? { $commands }

## Logging out

logout-done = You are logged out of { $login }, and its password is forgotten. Your chats stay where they are, and are not among your direct chats until you log in again.
logout-nothing = You have no logins.
logout-one-at-a-time = One at a time, please: `logout`, or `logout` and the id of one login.

## Logging in

login-which-network = Which network? You can write: { $commands }.
login-which-network-none = No network is enabled on this bridge, so there is nothing to log in to. Please ask its admin.
# $what: what the network calls it, such as "password".
login-ask = Please send your { $what }. (`cancel` stops.)
login-ask-secret = Please send your { $what }. I will remove your message at once. (`cancel` stops.)
login-asking = Logging in…
login-done = You are logged in to { $network } as { $login }. Your private chats will appear as they come; write `start` and an address to open one.
login-try-again = To try again, write `login { $network }`.
login-too-long = That took too long, so I have stopped the login. Write `login` to begin again.
login-show-qr = This is what to make a QR code of: { $data }
login-show-code = The code: { $data }
login-when-done = Write `done` when you have. (`cancel` stops.)
