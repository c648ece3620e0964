# `delete-chat`, `moved`, `history` and `retry`: what a user can do about single chats and messages.

## Naming a chat

# $rooms: ids.
chat-which-room = You have several chats with this contact. Which room? { $rooms }
chat-own-address = That is your own address.

## delete-chat

delete-chat-which = Which chat? For example: `delete-chat juliet@example.org`
delete-chat-none = None of your bridged chats is that one. Give the room's id, a link to it, or your contact's address.
delete-chat-no-alias = There is no room of this name, or I cannot see it.
# $contact: their address, as code.
delete-chat-done = Your chat with { $contact } is no longer bridged: I have left its room, I take it out of your direct chats, and what you write there reaches nobody.
delete-chat-room = [The room]({ $link }) stays yours, with all that is in it; leave it when you like.
delete-chat-again = When { $contact } writes again, or you send me `start` and their address, a new room opens.

## moved

moved-which = Which contact, and what is their new address? For example: `moved romeo@example.net romeo@example.org`
moved-nowhere = That is the address they have already.
# $new: an address, as code. $old: an address.
moved-taken = You have a chat with { $new } already, and I do not make two chats one. To go on with this one only, send `delete-chat { $old }`.
# $old, $new: addresses, as code.
moved-done = Your chat with { $old } goes on with { $new }, in the same room.
moved-no-chat = You have no chat with that contact, or its login is not connected.
# $commands: the command as it would be for each login.
moved-which-login = Several of your logins have a chat with that contact. Which? { $commands }

## history

history-whom = Of whom? I bring the messages before those that are in the chat. For example: `history juliet@example.org 20`
# $most: how many at most.
history-how-many = I can bring 1 to { $most } messages at once.
history-no-record = { $login } gives out no older messages: its server keeps none, or is not connected.
history-found = { $messages ->
    [one] I have found one older message in your chat with { $contact }; it is in a thread there, or where the chat begins.
   *[other] I have found { $messages } older messages in your chat with { $contact }; they are in a thread there, or where the chat begins.
}
history-nothing-yet = I have found nothing older in your chat with { $contact } so far.
history-nothing = There is nothing older in your chat with { $contact }.
# $command: as code.
history-more = For more, write { $command }.

## retry

# $messages: a list. $example: the number of one.
retry-list =
    These messages of yours were not delivered, or may not have been:

    { $messages }

    To try one again, write `retry` and its number, such as `retry { $example }`; for all of them, `retry all`.
# $when: such as "3 minutes ago". $text: how it begins.
retry-line = `{ $number }`, to { $contact }, { $when }: “{ $text }”
retry-line-uncertain = `{ $number }`, to { $contact }, { $when }: “{ $text }” (it may have arrived)
retry-earlier = { $messages ->
    [one] { $messages } earlier one
   *[other] { $messages } earlier ones
}
retry-not-connected = ⚠ { $login } is not connected, so what you wrote from there stays where it is: write `login { $network }` first, then `retry`.
retry-which = Which message? Write `retry` to see them, then `retry` and a number, or `retry all`.
# $numbers: those that there are not, as code.
retry-no-such = There is no message { $numbers } to try again, so I have tried none. Write `retry` to see what there is.
retry-already = That is being tried already.
retry-one = I try it again, in its old place: “{ $text }”, to { $contact }. The notice below it will say how that ends.
retry-several = I try { $messages } messages again, in their old places. The notice below each will say how that ends.
retry-one-uncertain = It may have arrived already.
retry-all-uncertain = They may have arrived already.
retry-some-uncertain = { $messages } of them may have arrived already.
retry-twice = Where your network keeps an archive of what you write, I look there first and send nothing twice; where it does not, your contact may get it twice.
retry-nothing = { $days ->
    [one] Nothing that you wrote in the last day can be tried again.
   *[other] Nothing that you wrote in the last { $days } days can be tried again.
}
retry-left-out = { $messages ->
    [one] One message is left out: what the bridge cannot read, such as encrypted messages, fails every time it is tried.
   *[other] { $messages } messages are left out: what the bridge cannot read, such as encrypted messages, fails every time it is tried.
}

## When something was

time-hours-ago = { $hours ->
    [one] { $hours } hour ago
   *[other] { $hours } hours ago
}
time-minutes-ago = { $minutes ->
    [one] { $minutes } minute ago
   *[other] { $minutes } minutes ago
}
time-just-now = just now
# $day: such as 2023-11-12. $time: such as 22:13.
time-at = on { $day } at { $time } UTC
time-unknown = at an unknown time
