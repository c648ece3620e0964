# What people are told of their direct chats (m.direct), by `direct` and on the page.

## How changes are noticed

direct-seen-pushed = Your homeserver tells me of every change of your direct chats at once.
direct-seen-watched = I watch the list of your direct chats, and notice every change at once.
direct-seen-activity = I look at the list of your direct chats when you do something in a bridged chat, and else now and then.
direct-seen-swept = I look at the list of direct chats now and then; nobody else should write it.
direct-seen-none = I cannot see changes, as I have no access to your account.

## Repairs

direct-no-access = I have no access to your account, so I cannot repair its list of direct chats. Write `login-matrix` to give me access.
direct-still-at-it = I am still at it: the homeserver is slow to answer. Look again with `direct`.
direct-as-it-should-be = I have looked, and everything is as it should be.
direct-put-right = I have put { $things ->
    [one] 1 thing
   *[other] { $things } things
  } right. `direct history` says what.
direct-none-of-yours = That is none of your bridged chats. Write `direct` to see them.

## What keeps the bridge from writing them

direct-write-slow = The homeserver did not answer within { $seconds } seconds when the list of direct chats was written.
direct-too-large = The list of direct chats (m.direct) has grown to { $bytes } bytes, and that is more than the homeserver accepts. Its admin can raise the limit for the size of a request.
# $account: a user id.
direct-left-as-it-is = The direct chats (m.direct) of { $account } are left as they are, because what the homeserver stores there could not be written back unchanged: { $why ->
    [not-json] it is not JSON
    [not-an-object] it is not a JSON object
    [duplicate-key] one of its keys appears twice, so that readers disagree about what it says
    [number-out-of-range] it contains a number that cannot be written back unchanged
   *[too-deep] it is nested more than { $levels } levels deep
  }. Set m.direct to a JSON object, for example {"{}"}, and the bridge adds its chats again.

## What has happened to them
##
## $reader: you, whose list it is, or admin. $room: a chat, as in direct-your-chat, or the id of a room.
## $contact: an address, or a user id.

# In the middle of a sentence, or at its beginning: the first letter is made large.
direct-your-chat = your chat with { $contact }
direct-contact = { $name } ({ $address })
direct-written-by-another = Another client wrote the list.
direct-was-written-by-another = Another client had written the list.
direct-written-by-us = { $reader ->
    [you] I wrote the list.
   *[admin] The bridge wrote the list.
  }
# $what: a chat, or what else stands in the list.
direct-added = added: { $what } under { $contact }
direct-removed = removed: { $what } under { $contact }

## Why, as above

direct-marked = { $room } is marked as a direct chat with { $contact }.
direct-merged-from-alias = { $room } moves away from { $contact }, an earlier id of the contact.
direct-removed-from-bridge-user = { $room } is no longer marked under { $contact }, who is not the contact.
direct-removed-from-other = { $room } is no longer marked under { $contact } too: many clients show a chat as direct only when it stands under one person.
direct-unmarked-retired = { $room } is no longer bridged, so its mark under { $contact } goes.
direct-unmarked-opted-out = { $reader ->
    [you] { $room } loses its mark under { $contact }, as you have decided.
   *[admin] { $room } loses its mark under { $contact }, as the user has decided.
  }
direct-repaired-key = What stood under { $contact } was not a list of rooms, and is one again.
direct-pending = { $reader ->
    [you] { $room } waits to be marked until you have joined it.
   *[admin] { $room } waits to be marked until the user has joined it.
  }
direct-opted-out = { $reader ->
    [you] { $room } is left alone: you do not want it as a direct chat.
   *[admin] { $room } is left alone: the user does not want it as a direct chat.
  }
direct-adopted = The list of direct chats was seen for the first time.
# $chats: how many.
direct-old-copy = A client wrote back an old copy of the list; { direct-put-back }.
direct-jumped-back = The list is again exactly what it was some time ago, as after a restored backup; { direct-put-back }.
direct-put-back = { $chats ->
    [0] nothing was lost by it
    [one] 1 chat was put right again
   *[other] { $chats } chats were put right again
  }
direct-not-written = The last change seems not to have reached the homeserver; it is made again.
direct-rebuilt = A client rewrote the list without { $chats ->
    [one] 1 chat
   *[other] { $chats } chats
  } of the bridge; no one decides that about most chats at once, so they are put back.
direct-user-unmarked = { $reader ->
    [you] { $room } was unmarked by you, and stays so until you mark it again.
   *[admin] { $room } was unmarked by the user, and stays so until they mark it again.
  }
direct-user-marked = { $reader ->
    [you] { $room } was marked again by you.
   *[admin] { $room } was marked again by the user.
  }
direct-rekeyed = { $reader ->
    [you] { $room } was put under { $contact } by you, and is left there.
   *[admin] { $room } was put under { $contact } by the user, and is left there.
  }
direct-conflict = { $room } keeps being changed by another client or bridge; it is left alone for now. Close that client, then ask for a repair.
