# `start`, `contacts`, `search`, `accept`, `decline`, `block`, `unblock`: people, by their addresses and names.
# Numbers that are large are said without a separator, because people write some of them in commands.

## start

start-whom = With whom? For example: `start juliet@example.org`
# $command: as code.
start-blocked = You have blocked { $contact }. To write to them, send { $command } first.
# $who: name and address.
start-done = Here you are: [your chat]({ $link }) with { $who }.
start-invited = I have invited you to it.

## Lists

# $person: name and address.
people-line-chat = { $person } (chat)
people-line-directory = { $person } (directory)

## contacts

contacts-not-there = { $network } has no contact list that I could show.
contacts-empty = Your contact list is empty. To write to somebody who is not in it, send `start` and their address.
# $last: the number of the last page.
contacts-no-such-page = { $pages ->
    [one] Your contact list has one page.
   *[other] Your contact list has { NUMBER($pages, useGrouping: 0) } pages.
} For example: `contacts { $last }`
# $list: of people, numbered.
contacts-list =
    { $pages ->
        [1] { $people ->
            [one] Your contact list has one person:
           *[other] Your contact list has { NUMBER($people, useGrouping: 0) } people:
        }
       *[other] { $people ->
            [one] Your contact list has one person, page { $page } of { $pages }:
           *[other] Your contact list has { NUMBER($people, useGrouping: 0) } people, page { NUMBER($page, useGrouping: 0) } of { NUMBER($pages, useGrouping: 0) }:
        }
    }

    { $list }

    To write to somebody, send `start` and the number. To open chats with several, send `contacts import` and their numbers.
contacts-next-page = The next page: `contacts { $page }`.

## contacts import

contacts-import-whom = With whom? I open a chat with everybody whose number you give, such as `contacts import 1 4-9`, or with all your contacts: `contacts import all`. Write `contacts` to see their numbers.
contacts-import-numbers = Which numbers? For example: `contacts import 1 4-9`, or `contacts import all`
contacts-import-busy = I am still busy with the last ones; I will tell you when that is done.
contacts-import-begun = { $people ->
    [one] I open chats with one person, as far as you have none yet.
   *[other] I open chats with { NUMBER($people, useGrouping: 0) } people, as far as you have none yet.
}
contacts-import-done = { $people ->
    [one] Done: you have a chat with one person.
   *[other] Done: you have a chat with { NUMBER($people, useGrouping: 0) } people.
}
contacts-import-failed = { $people ->
    [one] ⚠ I could not open the chats with one person; try again later, and those who have one are passed over.
   *[other] ⚠ I could not open the chats with { NUMBER($people, useGrouping: 0) } people; try again later, and those who have one are passed over.
}

## search

search-whom = For whom? For example: `search juliet`
search-nobody = I find nobody. If you know their address, send `start` and the address.
# $list: of people, numbered.
search-found =
    I have found:

    { $list }

    To write to somebody, send `start` and the number.
search-more = { $people ->
    [one] There is one more; say more of the name.
   *[other] There are { NUMBER($people, useGrouping: 0) } more; say more of the name.
}
search-no-directory = I have looked in your contact list only: there is no directory that I could ask.

## accept and decline

# $who: name and address. $command: as code.
accept-done = { $who } is your contact now: they see whether you are there, and I have asked them for the same. To write to them, send { $command }.
decline-done = I have refused { $who }. They can ask again; to hear no more of them, send { $command }.
requests-none = Nobody waits for an answer of yours.
# $list: of people, numbered.
requests-list =
    They ask to be contacts of yours:

    { $list }

    To answer, write `accept` or `decline` and the number, or the address.
requests-not-needed = On { $network } nobody needs to ask.
requests-not-of = { $contact } does not wait for an answer. Write `accept` to see who does.

## block and unblock

# $who: name and address. $command: as code.
block-done = { $who } is blocked: nothing of them reaches you any more, on no device, and they do not see whether you are there. To take that back, send { $command }.
block-not-possible = I cannot block anybody for { $login }: its network has no such thing.
block-nobody = You have blocked nobody. To block somebody, send `block` and their address.
# $list: of people, numbered.
block-list =
    { $people ->
        [one] You have blocked one person:
       *[other] You have blocked { NUMBER($people, useGrouping: 0) } people:
    }

    { $list }

    To hear from somebody again, send `unblock` and the number.
# $people: how many.
block-list-first = The first { $people } are shown.
unblock-done = { $who } is no longer blocked.
unblock-not-blocked = { $contact } is not blocked. Write `block` to see who is.

## Whom somebody means

people-none-called-so = Nobody in your contact list has this name, either. Write `contacts` to see who is in it.
people-several-called-so = Several of your contacts have this name. Which one? Write `{ $command }` and the number.
# $people: how many.
people-first = Here are the first { $people }.
people-no-such-number = There is no such number in what I have shown you last. Write `contacts` or `search` and a name to get a list.
people-matrix-user = That is a Matrix user, and not a contact of yours on another network.
people-unknown = I do not know this contact. Give me their address instead.
people-no-login = That contact is on a network where you have no login.
people-no-answer = Your network does not answer; try again later.
