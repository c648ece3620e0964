# What the bot says on its own, and whom it lets in.

## In its rooms

# Is followed by what to do first.
notice-greeting = Hello! I bridge your private chats.
notice-greeting-encrypted = Hello! I bridge your private chats, but I cannot read what you write here: this room is encrypted. Please open a room with me without encryption, and write `help` there.
notice-not-alone = I talk to one person at a time. Please open a room with just the two of us.
notice-too-late = The login is no longer waiting: it took too long, or I was restarted. I have removed your message, in case it was your password or token. Please begin again.
notice-enough = I answer { $many ->
    [one] one message
   *[other] { $many } messages
  } in a minute, and these were more. I answer again in a minute; until then I pass over what you write here.
notice-unreadable = I cannot read this: the room is encrypted, or it was not a text message. Please write to me in a room without encryption.
# $server: the homeserver's name.
notice-not-open = Sorry, this bridge is not open to you. If you think it should be, please ask the admin of { $server }.
# In the audit log.
notice-not-open-to-them = This bridge is not open to them.
# Why a message was removed.
notice-held-a-secret = It held a secret.
notice-not-removed = ⚠ I could not remove your password or token here. Please delete that message.

## Logins

# $login: the network's name of the login. $why: a sentence. $network: as it is written in commands.
notice-disconnected = ⚠ { $login } is disconnected. { $why } To go on, log in again: `login { $network }`
notice-logged-out-by-admin = ⚠ An admin of this bridge has logged you out of { $login }, and its password is forgotten. Your chats stay. To go on, write `login { $network }`.
notice-other-version = Another process of the bridge, of another version, cannot do this.
notice-no-such-login = They have no such login.
notice-our-mistake = Something went wrong in the bridge; tell its admin.
# $networks: their names; $known: how many there are.
notice-no-such-network = This bridge has no network called { $name }. It has: { $known ->
    [0] none
   *[other] { $networks }
  }.
notice-login-given-up = The login was given up.

## Who may log in

guard-not-open = This bridge is not open to you any more; ask its admin.
guard-leaving = Your data are being deleted.
guard-stopped = The admin of this bridge has stopped your logins; ask them.
# $why: what the admin has said.
guard-stopped-because = The admin of this bridge has stopped your logins ({ $why }); ask them.
guard-when = { $unit ->
    [seconds] { $number ->
        [one] in 1 second
       *[other] in { $number } seconds
      }
   *[minutes] { $number ->
        [one] in 1 minute
       *[other] in { $number } minutes
      }
  }
guard-too-many-attempts = Too many attempts to log in; the next one is possible { guard-when }.
guard-account-refused = Logins to this account have been refused several times of late. So that nobody's password is guessed here, and the account is not locked, the next one is possible { guard-when }.
guard-bridge-full = This bridge has as many logins as it may have ({ $number }); ask its admin.
guard-no-logins = The admin of this bridge lets you have no logins; ask them.
guard-user-full = You may have { $number ->
    [one] 1 login
   *[other] { $number } logins
  } at most. Log out of one (`logout`) to make another, or ask the bridge's admin.

## Data

data-several-times = You have had your data several times today; again in { $hours ->
    [one] 1 hour
   *[other] { $hours } hours
  }.
data-too-much = There is too much for one file; please ask the bridge's admin.
data-deleted = All that I knew about you is deleted: your logins, your chats, what I remembered of your direct chats, and this room. Your rooms and what is in them stay with your homeserver. If you invite me again, I do not know you.
data-direct-chats-first = Direct chats are still to be written.
process-keeps-still = This process could not show for some seconds that it lives, because the database does not answer; so it keeps still until it can.
