# What is said in bridged rooms, and why contacts leave rooms, or do not come.

## Contacts with new addresses

# $contact: the address, as code.
chat-contact-moved = This contact has a new address: { $contact }. The chat goes on with it.
# $contact: the address. Why the old contact leaves the room.
chat-contact-left = The contact is { $contact } now.
chat-contact-has-another = This contact has a new address: { $contact }. You have a chat with that address already, so both chats stay as they are.

## Rooms

chat-message-parked = ⚠ A message from this contact could not be shown here. The bridge has put it aside; ask the contact to send it again, or tell the bridge's admin.
# $contact: the address, as code.
chat-crowded = Somebody else is in this room now, so it is no longer listed as a direct chat. The bridge still carries only your own messages to { $contact }, and theirs to you; but everybody in this room can read both. When the others have left, it is a direct chat again.
chat-ends = The chat is no longer bridged.
chat-successor-not-ready = The room of this chat was replaced, and the contact is not invited to the new one yet.
chat-of-somebody-else = This room is a private chat with somebody else.
chat-elsewhere = The chat goes on elsewhere.
chat-room-of-the-bot = This room is for the bridge's bot.
chat-not-replaced = This room does not replace our chat.
# $why: what is wrong with the other room. $room: the room's id. $contact: the address, as code.
chat-stays = This chat stays here and does not move to the other room: { $why ->
    [no-tombstone] the old room does not say that this one replaces it
    [not-by-the-user] somebody else than the user has replaced the room
    [not-created-by-them] the new room was created by somebody else
   *[other-predecessor] the new room does not say that it replaces this one
  }. If you cannot write here any more, send the bridge's bot `delete-chat { $room }`, and then `start` with the address { $contact }.

## Contacts that are invited

invite-not-open = This bridge is not open to you, or has no such contact.
# $title: the network's. $bot: its user id. $network: as it is written in commands.
invite-not-logged-in = You are not logged in to { $title }. Write to { $bot }: login { $network }
invite-not-alone = Contacts can be in one-to-one chats only.
invite-encrypted = The bridge cannot read encrypted rooms yet; write in one without encryption.
invite-not-connected = The login is not connected any more.
# $link: an address.
invite-have-a-chat-there = We have a chat already; [this is it]({ $link }).
invite-have-a-chat = We have a chat already.

## Older messages

older-not-yet = I am still bringing over your earlier chats; ask again when I have told you that it is done.
# $messages: a sentence, one of those below.
older-in-thread = 🕘 { $messages } They are in this thread.
older-no-answer = Your network does not answer; try again later.
older-messages = Older messages.
# $day: see older-day.
older-messages-of-day = Older messages, of { $day }.
older-messages-of-days = Older messages, { $first } to { $last }.
# $day, $year: numbers. $month: its number.
older-day = { $day } { $month ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
  } { $year }

## People who ask to be contacts

requests-asked = { $people ->
    [one] Somebody asks to be a contact of yours. Until you answer, they do not see whether you are there.
   *[other] { $people } people ask to be a contact of yours. Until you answer, they do not see whether you are there.
  }
# $login: the network's name of the login, as code.
requests-asked-on = { $people ->
    [one] Somebody asks to be a contact of yours on { $login }. Until you answer, they do not see whether you are there.
   *[other] { $people } people ask to be a contact of yours on { $login }. Until you answer, they do not see whether you are there.
  }
requests-more = - and { $more } more; write `accept` to see them all
# $example: such as accept romeo@example.org, as code.
requests-answer = To answer, write `accept` or `decline` and the address, such as { $example }.
