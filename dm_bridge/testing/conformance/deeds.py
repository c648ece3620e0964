"""What the checks of what people do to messages share: who does what, and what is seen of it.

The rule that must never break: a message is named by its reference, as a session or `Session.send` gave it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from dm_bridge.errors import NetworkError
from dm_bridge.ids import RemoteId
from dm_bridge.network.abilities import (
    OutgoingEdit,
    OutgoingReactions,
    OutgoingRetraction,
    Reference,
)
from dm_bridge.network.api import Outgoing
from dm_bridge.network.events import ReactionChange, RemoteReactions, Text, Written
from dm_bridge.testing.conformance.adapter import Adapter, Deed, NotOffered, Person
from dm_bridge.testing.conformance.case import Case, Failed, Live, require

T = TypeVar("T", bound=Written)

METHODS = {"replies": "reply", "edits": "edit", "retractions": "retract", "reactions": "react"}
"""By which method of the adapter somebody does what a capability is about."""


async def declaring(case: Case, capability: str) -> tuple[Live, Person]:
    """Somebody, and a session that declares a capability."""
    live, person = await case.meet()
    live.needs(capability)
    declared_of(case, live)
    return live, person


def declared_of(case: Case, live: Live) -> list[str]:
    """Which of these capabilities are declared. Raises `NotOffered` for none, `Failed` if none can check it."""
    declared = [each for each in METHODS if getattr(live.capabilities, each)]
    if not declared:
        raise NotOffered("neither replies, edits, retractions nor reactions are declared")
    for capability in declared:
        for method in (METHODS[capability], "deeds"):
            require(
                getattr(type(case.adapter), method) is not getattr(Adapter, method),
                f"The session declares `Capabilities.{capability}`, and nobody can check that: the adapter lacks"
                f" `{method}`. See `dm_bridge.testing.conformance.Adapter.{method}`; where the network does not"
                " let people do it, raise `NotOffered` there, and say why.",
            )
    return declared


async def talk(live: Live, person: Person) -> tuple[Reference, Reference]:
    """A message each way: the contact's, and ours."""
    await person.say(live.account.address, "theirs")
    await live.arrives("theirs")
    sent = await live.send(live.message(person, "ours"))
    await live.hears(person, "ours")
    return (
        Reference(reference(live, "theirs"), False, "theirs"),
        Reference(sent, True, "ours"),
    )


def reference(live: Live, text: str) -> RemoteId:
    """By which id others speak of a message that was delivered."""
    found = next(message for message in live.inbox.messages if message.content.body == text)
    return found.reference or found.id


async def act(case: Case, person: Person, to: str, capability: str, about: str, other: str) -> None:
    """Let somebody do what a capability is about. ``other``: what is taken back, as more is done to the first."""
    adapter = case.adapter
    works: dict[str, Callable[[], Awaitable[None]]] = {
        "replies": lambda: adapter.reply(person, to, about, "an answer"),
        "edits": lambda: adapter.edit(person, to, about, "changed"),
        "retractions": lambda: adapter.retract(person, to, other),
        "reactions": lambda: adapter.react(person, to, about, ("👍",)),
    }
    await works[capability]()


def own_deed(
    live: Live, person: Person, capability: str, theirs: Reference, ours: Reference
) -> Outgoing:
    """What the user does of what a capability is about."""
    chat, identifier = live.chat(person), live.new_id()
    match capability:
        case "replies":
            return replace(live.message(person, "our answer"), reply_to=theirs)
        case "edits":
            return OutgoingEdit(chat, identifier, ours, Text("ours, changed"))
        case "retractions":
            return OutgoingRetraction(chat, identifier, ours)
    return reactions_now(live, person, theirs, ("👍",))


def reactions_now(
    live: Live,
    person: Person,
    about: Reference,
    emojis: tuple[str, ...],
    had: tuple[str, ...] = (),
) -> OutgoingReactions:
    added = tuple(one for one in emojis if one not in had)
    removed = tuple(one for one in had if one not in emojis)
    return OutgoingReactions(live.chat(person), live.new_id(), about, emojis, added, removed)


def as_shown(what: Outgoing) -> Deed:
    """How the contact's client shows it."""
    match what:
        case OutgoingEdit():
            return Deed("", "edit", what.target.text, what.content.body)
        case OutgoingRetraction():
            return Deed("", "retraction", what.target.text)
        case OutgoingReactions():
            return Deed("", "reactions", what.target.text, emojis=what.emojis)
    about = "" if what.reply_to is None else what.reply_to.text
    return Deed("", "reply", about, what.content.body)


async def is_taken_or_refused(live: Live, what: Outgoing) -> None:
    try:
        await live.send(what)
    except NetworkError as error:
        require(
            error.retry_after is None and error.certain,
            f"What can never be sent is refused without `retry_after`, and with `certain`: {error}",
        )


# -- what is seen of it


def events_of(live: Live, kind: type[T]) -> list[T]:
    return [event for event in live.inbox.events if isinstance(event, kind)]


async def next_of(live: Live, kind: type[T], count: int = 1) -> T:
    """The newest event of a kind, once there are so many."""
    await live.case.until(
        lambda: len(events_of(live, kind)) >= count,
        f"`{kind.__name__}` should have been delivered; what was is {live.inbox.events[-3:]!r}.",
    )
    return events_of(live, kind)[-1]


def is_from(case: Case, live: Live, person: Person, event: Written) -> None:
    require(
        (event.sender, event.from_self, event.chat)
        == (case.contact(person), False, live.chat(person)),
        f"{person.address!r} did this, in their chat, and not the user: {event!r}.",
    )


def standing(live: Live, target: RemoteId) -> set[str]:
    """With what somebody reacts to a message by now."""
    emojis: set[str] = set()
    for event in events_of(live, RemoteReactions):
        if event.target == target:
            match event.change:
                case ReactionChange.ALL:
                    emojis = set(event.emojis)
                case ReactionChange.ADDED:
                    emojis |= set(event.emojis)
                case ReactionChange.REMOVED:
                    emojis -= set(event.emojis)
    return emojis


async def sees(case: Case, live: Live, person: Person, expected: Deed) -> None:
    """Wait until somebody's client shows what the user did."""
    expected = replace(expected, sender=live.account.address)

    def seen() -> Sequence[Deed]:
        return case.adapter.deeds(person)

    def same(deed: Deed) -> bool:
        plain = replace(deed, emojis=expected.emojis)
        return plain == expected and set(deed.emojis) == set(expected.emojis)

    try:
        await case.until(lambda: any(map(same, seen())), "")
    except Failed:
        raise Failed(
            f"The contact's client should show {expected!r}; it shows {list(seen())[-3:]!r}."
        ) from None
