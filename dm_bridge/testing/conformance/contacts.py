"""Contacts: addresses as strange as the network lets them be, as ids that come back the same.

The rule that must never break: two people are never one.
"""

from __future__ import annotations

import asyncio

from dm_bridge.errors import UserError
from dm_bridge.ids import ContactId, GhostNamespace
from dm_bridge.network.events import ContactMoved
from dm_bridge.testing.conformance.adapter import NotOffered
from dm_bridge.testing.conformance.case import Case, Failed, require

NAMESPACE = GhostNamespace("_dm_", "example.org")
CONTACT_SECONDS = 2.0
GARBAGE = (
    "", " ", "\0", "a\0b", "\r\n", "a\r\nb", "\ud800", "\u202e", "@", "a@", "@b", "a@b@c", "://", "%", "%00",
    "%zz", "mynet:", "javascript:alert(1)", "../../etc/passwd", "a b", "👋🏽", "x" * 10_000, "é" * 2_000,
)  # fmt: skip


async def strange_addresses_are_contacts_like_others(case: Case) -> None:
    """Keep every character of an address, both ways: nobody becomes somebody else, and all can be reached."""
    names = list(case.adapter.strange)
    if not names:
        raise NotOffered("the adapter has no strange names")
    live = await case.connected()
    ghosts: dict[str, str] = {}
    for number, name in enumerate(names):
        person = await case.person(name)
        await person.say(live.account.address, f"I am {number}")
        await live.arrives(f"I am {number}")
        event = live.inbox.messages[-1]
        contact = event.sender
        require(
            contact == case.contact(person),
            f"{person.address!r} wrote as {contact!r}, and typed it is {case.contact(person)!r}.",
        )
        chat = live.session.chat_with(contact)
        require(
            event.chat == chat and case.network.contact_of(chat) == contact,
            f"The chat with {contact!r} is {chat!r}; the event has {event.chat!r}, and back it leads to"
            f" {case.network.contact_of(chat)!r}.",
        )
        ghost = NAMESPACE.user_id(case.network.name, contact)
        require(ghost not in ghosts, f"{contact!r} and {ghosts.get(ghost)!r} are one.")
        ghosts[ghost] = contact
        parsed = NAMESPACE.parse(ghost)
        require(
            parsed is not None and parsed.contact in (contact, None),
            f"The ghost of {contact!r} is {ghost}, which leads to {parsed!r}.",
        )
        await live.send(live.message(person, f"you are {number}"))
        await live.hears(person, f"you are {number}")
        is_a_uri(case, contact)


async def spellings_of_an_address_are_one_contact(case: Case) -> None:
    """`Network.parse_contact` maps blanks around, and what it has made itself, to the same id."""
    person = await case.person()
    contact = case.contact(person)
    for spelling in (f" {person.address} ", f"{person.address}\n"):
        parsed = case.network.parse_contact(spelling)
        require(parsed == contact, f"{spelling!r} is {parsed!r}, and without blanks {contact!r}.")
    parsed = case.network.parse_contact(contact)
    require(parsed == contact, f"The id {contact!r}, typed as an address, is {parsed!r}.")


async def no_address_is_a_bug(case: Case) -> None:
    """`Network.parse_contact` raises `UserError` for what is no address, and nothing else for anything."""
    for text in GARBAGE:
        try:
            contact = case.network.parse_contact(text)
        except UserError as error:
            require(str(error), "The error says what an address looks like.")
            continue
        except Exception as error:
            raise Failed(f"`parse_contact({text[:40]!r})`: {error!r}") from error
        require(
            contact and not set(contact) & set("\0\r\n") and is_text(contact),
            f"`parse_contact({text[:40]!r})` is {contact[:40]!r}, which is no id.",
        )
        NAMESPACE.user_id(case.network.name, contact)
        is_a_uri(case, contact)


async def everybody_can_be_looked_up(case: Case) -> None:
    """`Session.contact` answers within two seconds, about strangers and without a connection too; never raises."""
    live, person = await case.meet()
    for stranger in (case.contact(person), ContactId("nobody, really")):
        for _ in range(2):
            try:
                async with asyncio.timeout(CONTACT_SECONDS):
                    found = await live.session.contact(stranger)
            except TimeoutError:
                raise Failed("`Session.contact` answers within two seconds.") from None
            except Exception as error:
                raise Failed(f"`Session.contact({stranger!r})` raised {error!r}.") from error
            require(found.id == stranger, f"Asked for {stranger!r}, it answered {found.id!r}.")
            await case.line.refuse()
        await case.line.mend()


async def a_contact_who_moves_is_followed(case: Case) -> None:
    """Where `Capabilities.moves` is declared: deliver `ContactMoved`, once, before what comes from there."""
    live, person = await case.meet()
    live.needs("moves")
    old, chat = case.contact(person), live.chat(person)
    await person.say(live.account.address, "before")
    await live.arrives("before")
    await case.adapter.move(person)
    await person.say(live.account.address, "after")
    await live.arrives("after")
    new = case.contact(person)
    moves = [event for event in live.inbox.events if isinstance(event, ContactMoved)]
    require(
        len({move.id for move in moves}) == 1,
        f"One move should have been delivered, not {moves!r}.",
    )
    move = moves[0]
    require(
        (move.chat, move.old, move.new, move.new_chat) == (chat, old, new, live.chat(person)),
        f"{old!r} is {new!r} now; the event says {move!r}.",
    )
    require(
        live.inbox.events.index(move) < live.inbox.events.index(live.inbox.messages[-1]),
        "The move comes before what the contact writes under the new address.",
    )
    require(live.inbox.messages[-1].chat == move.new_chat, "What comes later is in the new chat.")
    await live.send(live.message(person, "found you"))
    await live.hears(person, "found you")


def is_text(contact: ContactId) -> bool:
    """Whether an id can be written down: it has no lone surrogates."""
    return contact.encode(errors="replace") == contact.encode(errors="surrogatepass")


def is_a_uri(case: Case, contact: ContactId) -> None:
    """Raise `Failed` when the URI of a contact is none."""
    uri = case.network.contact_uri(contact)
    require(
        uri.isprintable() and " " not in uri and ":" in uri,
        f"`Network.contact_uri({contact[:40]!r})` is {uri[:80]!r}: quote what a URI cannot have.",
    )


CHECKS = (
    strange_addresses_are_contacts_like_others,
    spellings_of_an_address_are_one_contact,
    no_address_is_a_bug,
    everybody_can_be_looked_up,
    a_contact_who_moves_is_followed,
)
