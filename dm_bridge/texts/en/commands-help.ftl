# The list of commands, what each is for, and answers to what the bot does not understand.

## What each command is for. A line of a list, so without a full stop.

help-help = `help`: what I can do
help-login = `login NETWORK`: log in to a network
help-logins = `logins`: your logins, and how they are
help-logout = `logout [ID]`: log out, and forget the password
help-start = `start [ID] WHO`: open the chat with somebody (WHO: an address, a link, a name in your contact list, or a number of the last list; ID: by which login)
help-contacts = `contacts [ID]`: your contact list; open chats with many (`contacts import`)
help-search = `search [ID] TEXT`: look for people by a name or an address
help-accept = `accept [ID] WHO`: let somebody be your contact who has asked
help-decline = `decline [ID] WHO`: refuse somebody who has asked
help-block = `block [ID] WHO`: let nothing of somebody through to you any more
help-unblock = `unblock [ID] WHO`: take that back
help-history = `history [ID] WHO [N]`: the messages before those that are in your chat with somebody (N: how many)
help-retry = `retry`: what you wrote and was not delivered; try it again
help-delete-chat = `delete-chat CHAT`: stop bridging a chat (CHAT: room or address)
help-moved = `moved [ID] OLD NEW`: a contact has a new address; their chat goes on with it (ID: on which login)
help-direct = `direct`: your direct chats, and how I look after them (`direct help`)
help-login-matrix = `login-matrix`: give me a token for your Matrix account, where I cannot act for it
help-logout-matrix = `logout-matrix`: take that token back, and I forget it
help-page = `page`: a link to a page with all of this (`page close`: sign out there)
help-export-my-data = `export-my-data`: a file with all that I store about you
help-delete-my-data = `delete-my-data`: log out, and delete all that I store about you
help-ping = `ping`: whether I am there
help-cancel = `cancel`: stop what we are in the middle of
help-admin = `admin`: for admins: see and stop others (`admin help`)

## Help

# $commands: a list of the above. $networks: those that are enabled, with what they are called in commands.
# $many: how many these are.
help-list =
    You can write:

    { $commands }

    `help COMMAND` tells about one. Networks: { $many ->
        [0] none
       *[other] { $networks }
    }.
# $command: one of the above.
help-one = { $command }.
# $commands: such as "`login xmpp` (XMPP) or `login irc` (IRC)".
help-one-login = Write { $commands }.
help-one-login-none = No network is enabled.
help-one-login-how = I ask for what is needed, one question after the other; `cancel` stops that. To repair a login, log in again: your chats stay.
help-one-several = You have several logins; `logins` tells their ids.

## What is not understood

help-unknown = I do not know this command. Write `help` to see what I can do.
# $commands: one or two.
help-unknown-meant = I do not know this command. Did you mean { $commands }? Write `help` to see what I can do.

## For somebody who has just come

first-step = Write `help` to see what I can do.
# $commands: such as "`login xmpp` (XMPP) or `login irc` (IRC)".
first-step-login = To begin, write { $commands }; `help` shows what else I can do.

## Lists of what to choose from: "this or that or that"

choice-or = { $some } or { $other }

## Stopping, and whether the bot is there

cancel-done = Stopped.
cancel-nothing = There is nothing to stop.
ping-pong = Pong. This is dm_bridge { $version }.
ping-no-logins = You have no logins yet.
# $state: how it is, such as "connected"; see login-state-… below.
ping-login = Your login is { $state }.
ping-logins = { $up ->
    [one] { $up } of your { $logins } logins is connected.
   *[other] { $up } of your { $logins } logins are connected.
}
