# Spaces for the chats of a login, and the command `space`.

## The command

# Is followed by a line for each login.
space-list = The chats of a login can be in a space of their own:
# $login: its id, as code. $name: the network's name of it, as code. $how: one of the sentences below.
space-line = { $login } ({ $name }): { $how }
space-now = { $name }: { $how }
# $login: its id. $link: the space's address.
space-there = [a space]({ $link }) has its chats, also new ones. `space off { $login }` takes it away.
space-making = its space is not there yet; I try again by myself. `space off { $login }` ends that.
space-left = you have left its space, so I do not invite you again. `space on { $login }` does.
space-ending = its space is not gone yet; I try again by myself.
space-none = no space. `space on { $login }` makes one.
# $how: one of those above. $why: why it is not as it should be, a sentence.
space-trouble = { $how } ⚠ { $why }
space-usage = Write `space` to see what there is, `space on` to have a space, or `space off` to have none.
# $command: such as "space on".
space-meant = Did you mean `{ $command }`? { space-usage }

## The space itself

# $network: such as XMPP. $login: the network's name of the login.
space-name = { $network } ({ $login })
# $bot: its user id.
space-topic = Your chats on { $network }. To do without this space, write to { $bot }: space off
# Why somebody is not in it any more.
space-closed = This space is given up.
space-not-in-it = The homeserver has made a space, and I am not in it.
