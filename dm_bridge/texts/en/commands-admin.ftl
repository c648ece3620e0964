# `admin`: what an admin of the bridge reads, and what users are told whom an admin stops.

admin-help =
    For admins (each use is recorded):

    - `admin users [PAGE]`: who has logins, and how they are
    - `admin user @WHO:SERVER`: what there is of one user
    - `admin logout @WHO:SERVER [ID]`: log them out of one login, or of all; they can log in again
    - `admin stop @WHO:SERVER [REASON]`: disconnect all their logins, and let them make none
    - `admin allow @WHO:SERVER`: take that back
    - `admin erase @WHO:SERVER DELETE`: log them out, and delete all that is stored about them
    - `admin queue`: what waits, and what was put aside
    - `admin audit [@WHO:SERVER]`: who did what of late
admin-unknown = There is no such command for admins. Write `admin help`.
admin-whom = Whom? Give a whole user id, such as `@alice:example.org`.
# $user: as code, here and below.
admin-nothing-known = Nothing is known of { $user } here.

## admin users

admin-users-page = A page is a number: `admin users 2`.
admin-users = { $logins ->
    [one] { $logins } login
   *[other] { $logins } logins
} of { $users ->
    [one] { $users } user
   *[other] { $users } users
}.
admin-users-stopped = { $users ->
    [one] { $users } is stopped.
   *[other] { $users } are stopped.
}
# $page: its number.
admin-users-more = `admin users { $page }` shows more.
# $networks: their names. $how: a list of the following.
admin-users-line = { $user }: { $networks }; { $how }
admin-users-active = { $logins } logged in
admin-users-refused = { $logins } refused by the network
admin-users-is-stopped = stopped
admin-users-moving = changing hands

## admin user

admin-user-stopped = stopped by { $admin } on { $when }: { $why }
admin-user-stopped-no-reason = stopped by { $admin } on { $when }: no reason
admin-user-logins-unknown = logins: { $why }
admin-user-no-logins = no logins
admin-user-counts = { $chats ->
    [one] { $chats } chat
   *[other] { $chats } chats
}, { $rooms ->
    [one] { $rooms } room
   *[other] { $rooms } rooms
} with me; { $waiting ->
    [one] { $waiting } message waits
   *[other] { $waiting } messages wait
}, { $aside ->
    [one] { $aside } was not delivered
   *[other] { $aside } were not delivered
}
admin-user-token = has given a token for their Matrix account

## admin logout, stop, allow, erase

# $logins: their names.
admin-logout-done = { $user } is logged out of { $logins }, and was told.
admin-stop-admin = They are an admin themselves; change `permissions` first.
admin-stop-done = { $user } is stopped.
admin-stop-never-met = I have never met them.
admin-allow-not-stopped = { $user } was not stopped.
admin-allow-done = { $user } may go on.
admin-told = They were told.
admin-not-told = They could not be told.
# $why: a sentence.
admin-no-answer = ⚠ It is recorded, but whoever has them just now did not answer ({ $why }). Write it again, or restart the bridge.
# $id: the user. $word: what confirms it.
admin-erase-sure = This deletes all that is stored about { $user }, and cannot be undone. If that is meant, write `admin erase { $id } { $word }`.
admin-erase-begun = All that is stored about { $user } is being deleted. They are told when it is done.

## What the user is told

admin-you-are-stopped = ⚠ An admin of this bridge has stopped your logins. Nothing is carried until they allow it again; please ask them.
# $why: what the admin wrote.
admin-you-are-stopped-why = ⚠ An admin of this bridge has stopped your logins: { $why }. Nothing is carried until they allow it again; please ask them.
admin-you-are-allowed = An admin of this bridge has allowed your logins again; they are being connected.

## admin queue and audit

# $direction: to_matrix or to_remote. $state: waiting or parked.
admin-queue-depth = { $direction ->
    [to_matrix] to Matrix
   *[to_remote] to the networks
}: { $rows } { $state ->
    [parked] parked
   *[waiting] waiting
}
# $minutes: how long the oldest has been there.
admin-queue-depth-oldest = { admin-queue-depth }, { $minutes ->
    [one] the oldest for { $minutes } minute
   *[other] the oldest for { $minutes } minutes
}
# $depths: a list.
admin-queue =
    { $depths }

    `dm-bridge queue` shows and changes single ones.
admin-audit-nothing = Nothing is recorded.
