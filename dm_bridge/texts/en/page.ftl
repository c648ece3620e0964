# What the page in the browser says. There may be text, values such as { $contact }, and plural forms of a number
# in these messages, and nothing else of Fluent: the browser puts them together.

## The page itself

page-title = Your chats – dm_bridge
# $part: the name of a part, such as “Chats”.
page-title-of = { $part } – dm_bridge
page-skip = Skip to the content
page-parts = Parts of this page
page-needs-script = This page needs JavaScript. All of it can also be done by writing “help” to the bot.
page-away = The bridge cannot be reached. Look at your connection, and try again.
page-moment = One moment …
page-just-now = just now
page-cancel = Cancel
page-try-again = Try again
page-leave-as-it-is = Leave it as it is
page-sign-out = Sign out
page-signed-out = You are signed out.

## Getting in

page-outside = This page opens with a link
# $command: what to write; $bot: the bot's user id.
page-outside-how = Write { $command } to { $bot } in Matrix, in a room with nobody else. It answers with a link that works once.
page-outside-how-to-bot = Write { $command } to the bot in Matrix, in a room with nobody else. It answers with a link that works once.
page-enter = Is this you?
page-enter-whose = This link opens the chats of { $user }.
page-enter-warning = Go on only if that is you. A link that somebody else sent you would have you log in to their account.
page-enter-now = You are signed in as { $user } now.
page-enter-yes = Yes, go on
page-enter-no = No
page-enter-nothing = Nothing was opened.

## Parts of the page, and what is counted beside their names

page-logins = Logins
page-chats = Chats
page-delivery = Delivery
page-history = History
page-bridge = The bridge
page-count-delivery = { $count } not delivered
page-count-chats = { $count } in conflict

## What has changed, for those who do not see the page: read out, one sentence after the other

# $state: such as “Connected”.
page-changed-login = { $login }: { $state }.
# $state: such as “Direct chat”.
page-changed-chat = Chat with { $contact }: { $state }.
page-changed-deliveries = { $count ->
    [one] A message was not delivered.
   *[other] { $count } messages were not delivered.
  }
page-changed-more = { $count ->
    [one] And one more change.
   *[other] And { $count } more changes.
  }

## Logins

page-login-connected = Connected
page-login-connecting = Connecting
page-login-disconnected = Not connected, trying again
page-login-refused = Refused: log in again
page-login-logged-out = Logged out: log in again
page-login-trouble = In trouble, trying again
page-login-unknown = Not known
page-logins-none = You are not logged in to any network yet. Choose one below; then your private chats appear in Matrix by themselves.
page-logins-no-network = The admin has enabled no network.
page-log-in = Log in to { $network }
page-log-in-another = Log in to another { $network } account
page-log-in-again-to = Log in to { $network } again
page-log-in-again = Log in again
page-log-in-again-label = Log in again: { $login }
page-log-in-done = You are logged in to { $network }. Your chats appear as messages arrive.
page-log-out = Log out
page-log-out-label = Log out of { $login }
page-log-out-sure = Log out of { $login }? The bridge forgets the password. Your chats stay, and are not among your direct chats until you log in again.
page-log-out-done = You are logged out of { $login }.
# $time: such as “3 minutes ago”.
page-login-since = Since { $time }

## The dialog of a login

page-log-in-continue = Continue
page-log-in-empty = Please fill in every field.
page-log-in-asking = The network is being asked …
page-log-in-elsewhere = Go on in the other program, and come back here.
page-log-in-qr = QR code to scan
page-log-in-waiting = Waiting for you …

## Chats

page-chat-marked = Direct chat
page-chat-pending = Not yet
page-chat-pending-why = It becomes a direct chat once you have joined it, and the bridge can reach your account.
page-chat-opted-out = Left out
page-chat-opted-out-why = It was taken out of your direct chats, so the bridge leaves it there.
page-chat-conflict = In conflict
page-chat-conflict-why = Another app keeps undoing the mark, so the bridge has stopped. You can have it try again.
page-chat-retired = No longer bridged
page-chats-repair = Check and repair
page-chats-conflicts = { $count ->
    [one] One chat is in conflict: another app keeps undoing the mark.
   *[other] { $count } chats are in conflict: another app keeps undoing the mark.
  }
# $time: such as “3 minutes ago”.
page-chats-looked = Last look: { $time }.
page-chats-none = No chats yet. One appears when somebody writes to you, or when you start one above.
page-chats-none-no-login = No chats yet. Log in to a network first.
page-chats-find = Find a chat
page-chat-open = Open
page-chat-open-label = Open the chat with { $contact }
page-chat-mark = Make it direct
page-chat-mark-label = Make it direct: { $contact }
page-chat-mark-again-label = Try again: { $contact }
page-chat-marked-now = The chat with { $contact } is a direct one.
page-chat-unmark = Leave out
page-chat-unmark-label = Leave out: { $contact }
page-chat-unmarked-now = The chat with { $contact } is left out.
page-repair-right = Everything is as it should be.
page-repair-done = { $count ->
    [one] One thing was put right. It is in the history.
   *[other] { $count } things were put right. They are in the history.
  }
page-repair-slow = The homeserver is slow to answer. The bridge goes on; what comes of it shows here.
# $name, $address: of a contact.
page-named = { $name } ({ $address })
page-start-with = Start a chat with (a name, or an address on the network)
page-start-by = By which login
page-start-people = People with this name
page-start-offers = { $count ->
    [one] One person has this name. Choose them from the list, or go on typing.
   *[other] { $count } people have this name. Choose one from the list, or go on typing.
  }
# $login: its name, such as an address.
page-start-offer-by = by { $login }
page-start-nobody = Nobody with this name was found. To start the chat all the same, give the whole address.
page-start = Start
# $contact: a link that opens the chat.
page-start-done = The chat is there: { $contact }

## Delivery

page-delivery-not-delivered = Not delivered
page-delivery-perhaps = Perhaps not delivered
page-delivery-not-shown = Not shown in Matrix
page-delivery-waiting = Waiting
page-delivery-none = Everything of the last seven days has arrived.
page-delivery-to = To { $contact }
page-delivery-from = From { $contact }
page-delivery-behind = { $count ->
    [one] One more waits behind it.
   *[other] { $count } more wait behind it.
  }
page-delivery-try-all = Try all again
page-delivery-try-to-label = Try again: to { $contact }
page-delivery-try-from-label = Try again: from { $contact }

## History

page-history-about = What became of your list of direct chats (m.direct): who changed it, and what stood there before and after. Newest first.
page-history-none = Nothing yet.
page-history-bridge-wrote = The bridge wrote the list.
page-history-compare = Before and after
page-history-compare-about = The rooms under each user id
page-history-user = User id
page-history-before = Before
page-history-after = After
page-history-not-there = not there
page-history-no-rooms = no rooms

## The bridge, for admins

page-bridge-health = Health
page-bridge-homeserver = Homeserver
page-bridge-intake = What the homeserver pushes
page-bridge-database = Database
page-bridge-well = Well
page-bridge-trouble = In trouble
page-bridge-version = Version
page-bridge-pausing = Chats that pause after trouble
page-bridge-none = None.
page-bridge-queues = Queues
page-bridge-to-matrix-waiting = To Matrix, waiting
page-bridge-to-matrix-parked = To Matrix, parked
page-bridge-to-network-waiting = To networks, waiting
page-bridge-to-network-parked = To networks, parked
# $oldest: for how long the oldest has been there, such as “3 min”.
page-bridge-queued = { $count }, the oldest for { $oldest }
page-bridge-processes = Processes
page-bridge-this-process = { $process } (this one)
# $version: such as “1.0.0”; $users, $logins: such as “2 users”; $time: such as “3 minutes ago”.
page-bridge-process = version { $version }, { $users }, { $logins }, since { $time }
page-bridge-users = { $count ->
    [one] { $count } user
   *[other] { $count } users
  }
page-bridge-users-logins = { $count ->
    [one] { $count } login
   *[other] { $count } logins
  }
page-bridge-logins-here = Logins of this process
page-bridge-observed-here = How this process observes accounts
page-bridge-pushed = The homeserver tells of every change at once
page-bridge-watched = Watched: every change is noticed at once
page-bridge-activity = Looked at after activity in a bridged chat, and now and then
page-bridge-swept = Looked at now and then
page-bridge-not-observed = Not at all: no access to the account
page-bridge-elsewhere = Only its own process knows.
page-bridge-accounts = How accounts are observed
page-bridge-account-user = User
page-bridge-account-how = How
page-bridge-account-seen = Last seen
page-bridge-never = never
page-bridge-login = Login
page-bridge-login-user = User
page-bridge-login-state = State
page-bridge-login-active = Logged in
page-bridge-login-refused = Refused
page-bridge-login-logged-out = Logged out
page-bridge-process-of = Process
page-bridge-no-process = none
page-bridge-search = Search
page-bridge-search-what = Part of a user id or an address
page-bridge-more = Show more
page-bridge-parked = Parked
page-bridge-parked-none = Nothing is parked.
# $command: to be given on the bridge's machine.
page-bridge-parked-how = { $command }, on the bridge's machine, puts a message back or away.
page-bridge-parked-message = Message
page-bridge-parked-user = User
page-bridge-parked-since = Since
page-bridge-parked-why = Why
page-bridge-nobody = nobody
