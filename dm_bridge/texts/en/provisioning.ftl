# What the provisioning API answers in words: its clients show this to people, as the page in the browser does. The
# names of parameters (login_id, user_id, limit) and of headers stay as they are.

## Who asks

provisioning-no-token = The header Authorization: Bearer … is missing.
provisioning-unknown-token = The token is not known, or not that of user_id.
provisioning-too-many-tokens = Too many tokens that are not known; wait a little.
provisioning-asking-tokens = The bridge is asking for many tokens just now; wait a little.
provisioning-no-user = With the shared secret, user_id says for whom.
provisioning-odd-user = user_id must be a Matrix user id.
provisioning-not-open = This bridge is not open to you; ask its admin.
# In the audit log.
provisioning-not-open-to-them = This bridge is not open to them.
provisioning-only-admins = Only admins of this bridge may see that.

## Requests that make no sense

provisioning-no-path = There is nothing at this path.
provisioning-no-method = This path does not take that method.
provisioning-body-too-large = The body is larger than 64 KiB.
provisioning-body-too-slow = The body did not arrive in time.
provisioning-body-encoding = The body is not encoded as its headers say.
provisioning-body-no-json = The body is not JSON.
provisioning-body-odd = The body is not as it should be.
# $where: the name of a field.
provisioning-body-odd-there = The body is not as it should be, at { $where }.
# $fields: the names of fields.
provisioning-body-lacks = The body lacks { $fields }.
provisioning-odd-limit = limit must be a whole number above 0.
provisioning-odd-place = `after` is not the `next` of a page; leave it out for the first one.
# $parameter: its name.
provisioning-odd-parameter = { $parameter } is too long, or no text.

## What there is not

provisioning-no-chat = Chat not found.
provisioning-no-flow = Login flow not found.
provisioning-no-login = Login not found.
provisioning-no-message = Message not found.
provisioning-no-process = Login process not found.

## Not now

provisioning-too-many-requests = Too many requests; wait a little.
provisioning-busy = The bridge is busy; try again.
provisioning-moving = The user is changing hands; try again.
provisioning-silent = The process that has the user did not answer in time; try again.
provisioning-takes-too-long = That takes too long; ask again for what came of it.
provisioning-gone = You have gone away.
provisioning-not-now = Not now; try again.
provisioning-our-mistake = Something went wrong here.
provisioning-homeserver-limits = The homeserver has asked for patience.
provisioning-homeserver-failed = The homeserver did not do its part; try again.
provisioning-database-away = The bridge's database is away; try again.
provisioning-database-slow = The database does not answer in time.
provisioning-too-many-pages = You have too many pages open; close one of them.
provisioning-too-many-watch = Too many are watching just now; try again.
provisioning-watch-stops = The bridge stops; ask again.
provisioning-deed-failed = It could not be done; try again.

## Logging in

# $network: its title.
provisioning-flow = Log in to { $network }.
provisioning-logged-in = You are logged in.
provisioning-logged-in-already = You are logged in already.
provisioning-another-network = login_id is a login to another network.
provisioning-too-many-logins = Too many logins are under way; cancel one of them.
provisioning-another-step = That is not the step which waits for an answer.
provisioning-login-cancelled = The login was cancelled.
provisioning-login-too-long = That took too long; begin again.
provisioning-login-stops = The bridge stops; begin again later.

## Logins

provisioning-not-logged-in = You are not logged in.
provisioning-login-opening = The login is just being opened; try again.
# Why follows, in a sentence of its own, if it is known.
provisioning-not-connected = The login is not connected.
provisioning-log-in-again = Log in again.

## People

provisioning-no-contact-list = This network has no contact list that the bridge can show.
provisioning-no-search = On this network the bridge cannot search for people.
provisioning-blocked = You have blocked this contact; unblock them first.

## What has not arrived

provisioning-not-delivered = The network did not take it.
provisioning-perhaps-delivered = The network never said whether it has it.
provisioning-not-shown = It could not be shown in Matrix.
provisioning-waiting = The bridge is still at it.
provisioning-advice-doubt = It may have arrived. Where the network keeps an archive, the bridge looks there first; where it does not, your contact may get it twice.
provisioning-advice-log-in = Log in again first: this login is not connected.
provisioning-advice-write-again = It fails every time it is tried. Write it again, in a way that the bridge can read.
provisioning-advice-patience = There is nothing to do: the bridge goes on trying.
provisioning-advice-away = It goes on when this login is connected again.
provisioning-nothing-to-retry = There is nothing to try again.
provisioning-retried-already = That is being tried already.
provisioning-sent-again = { $count ->
    [one] 1 message
   *[other] { $count } messages
  } will be sent again.
provisioning-shown-again = { $count ->
    [one] 1 message from the network will be shown where it belongs.
   *[other] { $count } messages from the network will be shown where they belong.
  }
# $names: of logins.
provisioning-nothing-retried = { $names } is not connected, so nothing was tried. Log in again first.
# $name: of a login.
provisioning-left = { $name } is not connected; what waits for it was left.
