# `export-my-data` and `delete-my-data`.

data-export-begun = I am writing it together…
data-exported = This is all that I store about you, but for passwords and tokens, which I keep sealed, and what was written, which is in your rooms. The file lies with your homeserver, for nobody who does not have its address; remove the message when you have saved it.

# $logins: how many. $names: theirs. $word: what confirms it.
data-delete-ask =
    This would delete all that I store about you:

    - { $logins ->
        [0] your logins (you have none now)
       *[other] your logins, with their passwords ({ $names })
    }
    - { $chats ->
        [one] your 1 chat
       *[other] your { $chats } chats
    }: the bridge leaves their rooms and takes them out of your direct chats
    - what I remember of your list of direct chats, and what you decided about it
    - your Matrix token, if you gave me one, and the push rules that I may have set
    - what I recorded of what you did, and this room

    It cannot be undone. **What stays:** your rooms and what is in them, with your homeserver; your accounts on the networks; and, until they are overwritten, the backups of this bridge. `export-my-data` gives you a copy first.

    To go on, write `{ $word }`. (`cancel` stops.)
data-delete-not-confirmed = That was not `{ $word }`, so nothing is deleted.
data-delete-too-long = That took too long, so nothing is deleted. Write `delete-my-data` to begin again.
data-delete-begun = I am deleting it. That may take a minute or two; I say when it is done, and leave this room then.
