# `direct`: the user's direct chats, and how the bridge looks after them.

direct-usage =
    - `direct`: your direct chats, and how I look after them
    - `direct mark CHAT`: this chat is a direct one
    - `direct unmark CHAT`: it is not, and I leave it so
    - `direct repair`: look now, and put right what is wrong
    - `direct history [N]`: what was changed, by whom

    CHAT is your contact's address, or the room's id or link.
direct-help =
    You can write:

    { direct-usage }
direct-unknown =
    I do not know this. You can write:

    { direct-usage }

## Where a chat stands

direct-no-chats = You have no bridged chats.
# $counts: a list of the following.
direct-counts = Your direct chats: { $counts }.
direct-count-marked = { NUMBER($chats, useGrouping: 0) } marked
direct-count-pending = { NUMBER($chats, useGrouping: 0) } pending
direct-count-opted-out = { NUMBER($chats, useGrouping: 0) } opted out
direct-count-conflict = { NUMBER($chats, useGrouping: 0) } in conflict

# $contact: their address, as code.
direct-chat-marked = { $contact }: marked as direct
direct-chat-pending = { $contact }: waiting to be marked
direct-chat-opted-out = { $contact }: left out, because you want it so
direct-chat-conflict = { $contact }: in conflict: another app keeps undoing the mark, so I stopped (`direct mark` tries again)

direct-more-marked = and { NUMBER($chats, useGrouping: 0) } more marked
direct-more-pending = and { NUMBER($chats, useGrouping: 0) } more pending
direct-more-opted-out = and { NUMBER($chats, useGrouping: 0) } more opted out
direct-more-conflict = and { NUMBER($chats, useGrouping: 0) } more in conflict

## How they are looked after

direct-access-rights = I act for your account with the rights that your server gives me.
direct-access-token = I act for your account with the token that you gave me (`logout-matrix` takes it back).
direct-access-none = I have no access to your account, so I cannot look after your direct chats. With `login-matrix` you can give me a token for it.
direct-not-looked = I have not looked yet.
# $when: such as "3 minutes ago".
direct-looked = I last looked { $when }.

## mark and unmark

direct-mark-which = Which chat? For example: `direct mark juliet@example.org`
direct-unmark-which = Which chat? For example: `direct unmark juliet@example.org`
direct-no-such-chat = None of your bridged chats is that one. Give your contact's address, or the room's id or link; `direct` lists your chats.
direct-mark-done = Your chat with { $contact } is a direct chat, and I keep it so.
direct-unmark-done = I take your chat with { $contact } out of your direct chats, and leave it out. `direct mark` reverses that.
direct-later = I have no access to your account now; I write it down there when I have (`login-matrix`).

## history

direct-history-how-many = How many changes? For example: `direct history 20`
direct-history-nothing = I have seen no changes of your direct chats yet.
# $changes: a list.
direct-history =
    What was changed, newest last:

    { $changes }
# $when: such as "3 minutes ago". $what: a sentence.
direct-history-line = { $when }: { $what }
direct-history-more = and { NUMBER($changes, useGrouping: 0) } more
