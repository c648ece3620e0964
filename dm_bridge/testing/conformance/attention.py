"""What people show of themselves: they type, they have read, they are there; each where it is declared, both ways.

The rule that must never break: none of it is a message, and nobody learns of it but whom it is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from dm_bridge.errors import NetworkError
from dm_bridge.network.abilities import Appears, OutgoingRead, Reads, Reference, Types
from dm_bridge.network.api import Session
from dm_bridge.network.events import RemoteMessage, RemoteRead, RemoteReceived, SessionStatus
from dm_bridge.network.signals import Availability, RemotePresence, RemoteTyping
from dm_bridge.testing.conformance.adapter import Adapter, Heard, NotOffered, Person
from dm_bridge.testing.conformance.case import Case, Live, require
from dm_bridge.testing.conformance.deeds import reference, talk

T = TypeVar("T")

TELL_SECONDS = 10.0
"""Within which what is told of the user is told."""
_NEVER = (Availability.OFFLINE, "")


def _sees(case: Case, *methods: str) -> None:
    """Raise `NotOffered` unless the adapter has these methods."""
    for method in methods:
        if getattr(type(case.adapter), method) is getattr(Adapter, method):
            raise NotOffered(f"the adapter has no `{method}`")


def _able(session: Session, protocol: type, capability: str) -> Any:
    """The session, with the method of a protocol."""
    require(
        isinstance(session, protocol),
        f"`Capabilities.{capability}` is declared, and the session has no method for it:"
        f" `dm_bridge.network.abilities.{protocol.__name__}`.",
    )
    return session


async def _tell(case: Case, what: str, work: Awaitable[None], *, may_fail: bool = False) -> None:
    """Let a session tell something of the user; it ends in time."""
    try:
        async with asyncio.timeout(TELL_SECONDS):
            await work
    except TimeoutError:
        require(False, f"`Session.{what}` ends within {TELL_SECONDS:.0f} seconds.")
    except NetworkError as error:
        case.is_plain(error)
        require(may_fail, f"`Session.{what}` should not have failed while connected: {error}")


def _typing(live: Live) -> list[RemoteTyping]:
    return [each for each in live.sink.signals if isinstance(each, RemoteTyping)]


def _message(live: Live, text: str) -> RemoteMessage:
    return next(one for one in live.inbox.messages if one.content.body == text)


def _outgoing_read(live: Live, text: str) -> OutgoingRead:
    message = _message(live, text)
    about = Reference(reference(live, text), False, text)
    return OutgoingRead(message.chat, message.id, about)


async def typing_is_carried(case: Case) -> None:
    """Where `Capabilities.typing` is declared: beginning and stopping, both ways, of whom and to whom it is."""
    live, person = await case.meet()
    live.needs("typing")
    _sees(case, "types", "typists")
    adapter, address = case.adapter, live.account.address
    types = _able(live.session, Types, "typing")
    await talk(live, person)
    before = list(live.inbox.events)
    for typing in (True, False):
        await _tell(case, "typing", types.typing(live.chat(person), typing))
        await case.until(
            lambda typing=typing: (address in adapter.typists(person)) is typing,  # type: ignore[misc]
            f"The user {'types' if typing else 'has stopped'}, and the contact's client should show it; who types"
            f" there is {list(adapter.typists(person))!r}.",
        )
    require(not _typing(live), f"Only the user has typed, and the session says: {_typing(live)!r}.")
    for count, typing in enumerate((True, False), start=1):
        await adapter.types(person, address, typing)
        await case.until(
            lambda count=count: len(_typing(live)) >= count,  # type: ignore[misc]
            f"The contact {'types' if typing else 'has stopped'}, and that should be signalled.",
        )
        signal = _typing(live)[-1]
        require(
            signal == RemoteTyping(live.chat(person), case.contact(person), typing),
            f"{person.address!r} {'types' if typing else 'has stopped'}, in their chat; the session says"
            f" {signal!r}.",
        )
    require(
        live.inbox.events == before and len(person.heard) == 1,
        "To type is no message: it is signalled, and not delivered.",
    )


async def typing_lasts_and_a_message_ends_it(case: Case) -> None:
    """Where `Capabilities.typing` is declared: it is said again while it lasts; a message ends it by itself."""
    live, person, stranger = *await case.meet(), await case.person()
    live.needs("typing")
    _sees(case, "types", "typists")
    adapter, address = case.adapter, live.account.address
    types = _able(live.session, Types, "typing")
    await talk(live, person)
    await _tell(case, "typing", types.typing(live.chat(person), True))
    await case.until(
        lambda: address in adapter.typists(person),
        "The user types, and the contact's client should show it.",
    )
    if adapter.forgets is not None:
        await asyncio.sleep(1.25 * adapter.forgets)
        require(
            address in adapter.typists(person),
            f"The user still types after {1.25 * adapter.forgets:.1f} seconds, and the contact's client does not"
            " show it any more: where the network forgets it, say it again.",
        )
    require(
        not adapter.typists(stranger),
        f"Who types in another chat is shown to a stranger: {list(adapter.typists(stranger))!r}",
    )
    await live.send(live.message(person, "typed"))
    await live.hears(person, "typed")
    await case.until(
        lambda: address not in adapter.typists(person),
        "A message has come, and the contact's client should not show that its author still types.",
    )
    for _ in range(2):
        await asyncio.sleep(case.adapter.quiet)
        require(
            address not in adapter.typists(person),
            "The user has sent what they typed, and the contact's client shows that they type.",
        )
        await _tell(case, "typing", types.typing(live.chat(person), False))


async def what_is_read_is_told(case: Case) -> None:
    """Where `Capabilities.reads` is declared: of which message, by whom, both ways; and it is no message."""
    live, person = await case.meet()
    live.needs("reads")
    _sees(case, "read", "seen")
    reads = _able(live.session, Reads, "reads")
    _, ours = await talk(live, person)
    texts = live.inbox.texts()
    expected = Heard(live.account.address, "theirs")
    require(
        expected not in case.adapter.seen(person),
        "Nobody has read this message yet, and its author is told that the user has.",
    )
    await _tell(case, "read", reads.read(_outgoing_read(live, "theirs")))
    await case.until(
        lambda: expected in case.adapter.seen(person),
        f"The user has read 'theirs', and the contact's client should show it; what it shows to be read is"
        f" {list(case.adapter.seen(person))!r}.",
    )
    await case.adapter.read(person, live.account.address, ours.text)
    read = await _next(live, RemoteRead)
    require(
        (read.chat, read.target, read.from_self) == (live.chat(person), ours.id, False),
        f"The contact has read the message that `Session.send` called {ours.id!r}; the event is {read!r}.",
    )
    require(bool(read.id), "A `RemoteRead` has an id, and the same one when it is said again.")
    require(
        live.inbox.texts() == texts and [one.text for one in person.heard] == ["ours"],
        f"What says that something was read is no message: {live.inbox.texts()!r}, {person.heard!r}.",
    )


async def what_the_user_reads_elsewhere_is_theirs(case: Case) -> None:
    """Where `Capabilities.reads` and `own_messages` are declared: with `from_self`, of the contact's message."""
    live, person = await case.meet()
    live.needs("reads")
    live.needs("own_messages")
    _sees(case, "read", "device")
    device = await case.device(live.account)
    await person.say(live.account.address, "theirs")
    await live.arrives("theirs")
    await live.hears(device, "theirs")
    await case.adapter.read(device, person.address, "theirs")
    read = await _next(live, RemoteRead)
    targets = {reference(live, "theirs"), _message(live, "theirs").id}
    require(
        read.chat == live.chat(person) and read.from_self and read.target in targets,
        f"The user has read this with another device, in the chat {live.chat(person)!r}; the event is {read!r},"
        f" and the message's reference is {reference(live, 'theirs')!r}.",
    )


async def what_arrives_is_acknowledged_once_it_is_committed(case: Case) -> None:
    """Where people are told that messages arrive: only once `EventSink.deliver` has returned; and both ways."""
    live, person = await case.meet()
    live.needs("reads")
    _sees(case, "receive", "received")
    adapter, address = case.adapter, live.account.address
    _, ours = await talk(live, person)
    await adapter.receive(person, address, ours.text)
    received = await _next(live, RemoteReceived)
    require(
        (received.chat, received.target) == (live.chat(person), ours.id),
        f"The message that `Session.send` called {ours.id!r} has arrived at the contact's; the event is"
        f" {received!r}.",
    )
    live.sink.refuse = 3
    await person.say(address, "kept")

    def acknowledged() -> bool:
        told = Heard(address, "kept") in adapter.received(person)
        require(
            not told or "kept" in live.inbox.texts(),
            "The contact is told that a message has arrived, and it is not committed: it may yet be lost.",
        )
        return told

    await case.until(acknowledged, "The contact should be told that their message has arrived.")


async def who_is_there_is_shown(case: Case) -> None:
    """Where `Capabilities.presence` is declared: coming, going, and what is said of it; both ways, and anew."""
    probe = await case.connected()
    probe.needs("presence")
    _sees(case, "befriend", "appear", "presence")
    await probe.close()
    adapter, account, person = case.adapter, await case.account(), await case.person()
    await adapter.befriend(account, person)
    live = await case.connected(account)
    appears = _able(live.session, Appears, "presence")
    await case.until(
        lambda: adapter.presence(person, account.address)[0] is not Availability.OFFLINE,
        "The session is connected, and the user's contacts should see that they are there.",
    )
    for expected in (
        (Availability.AWAY, "out to lunch"),
        (Availability.ONLINE, ""),
        (Availability.AWAY, "back <soon> & so on"),
    ):
        await adapter.appear(person, *expected)
        await _is_shown(case, live, person, expected)
        await _tell(case, "appear", appears.appear(*expected))
        await _is_seen(case, person, account.address, expected)
    connected = len(live.sink.states)
    await case.line.cut()
    await live.reach(SessionStatus.CONNECTED, after=connected)
    await _is_seen(case, person, account.address, (Availability.AWAY, "back <soon> & so on"))
    await person.leave()
    await case.until(
        lambda: _last(live, person)[0] is Availability.OFFLINE,
        f"The contact has left; the session says {_presences(live)[-1:]!r}.",
    )
    require(not live.inbox.events, f"Who is there is no message: {live.inbox.events!r}.")


async def what_is_shown_without_a_connection_does_no_harm(case: Case) -> None:
    """Without a connection, `typing`, `read` and `appear` end soon, and raise nothing but `NetworkError`."""
    live, person = await case.meet()
    declared = [
        each for each in ("typing", "reads", "presence") if getattr(live.capabilities, each)
    ]
    if not declared:
        raise NotOffered("neither typing, reads nor presence are declared")
    await talk(live, person)
    read = _outgoing_read(live, "theirs")
    works: dict[str, tuple[str, Callable[[], Awaitable[None]]]] = {
        "typing": (
            "typing",
            lambda: _able(live.session, Types, "typing").typing(live.chat(person), True),
        ),
        "reads": ("read", lambda: _able(live.session, Reads, "reads").read(read)),
        "presence": (
            "appear",
            lambda: _able(live.session, Appears, "presence").appear(Availability.ONLINE, ""),
        ),
    }
    states = len(live.sink.states)
    await case.line.refuse()
    await live.reach(SessionStatus.TRANSIENT_DISCONNECT, after=states)
    for capability in declared:
        method, work = works[capability]
        try:
            await _tell(case, method, work(), may_fail=True)
        except (OSError, RuntimeError, AttributeError, TypeError) as error:
            require(False, f"`Session.{method}` raises `NetworkError`, and not {error!r}.")
    await case.line.mend()
    await live.reach(SessionStatus.CONNECTED, after=states)
    await live.send_until_taken(live.message(person, "the end"))
    await live.hears(person, "the end")


async def _next(live: Live, kind: type[T]) -> T:
    """The first event of a kind."""
    await live.case.until(
        lambda: any(isinstance(each, kind) for each in live.inbox.events),
        f"`{kind.__name__}` should have been delivered; what was is {live.inbox.events[-3:]!r}.",
    )
    return next(each for each in live.inbox.events if isinstance(each, kind))


def _presences(live: Live) -> list[RemotePresence]:
    return [each for each in live.sink.signals if isinstance(each, RemotePresence)]


def _last(live: Live, person: Person) -> tuple[Availability, str]:
    """What was said last of somebody."""
    of_them = [
        (each.availability, each.text)
        for each in _presences(live)
        if (each.chat, each.sender) == (live.chat(person), live.case.contact(person))
    ]
    return of_them[-1] if of_them else _NEVER


async def _is_shown(
    case: Case, live: Live, person: Person, expected: tuple[Availability, str]
) -> None:
    await case.until(
        lambda: _last(live, person) == expected,
        f"The contact says {expected!r}; what the session says of contacts is {_presences(live)[-2:]!r}.",
    )


async def _is_seen(
    case: Case, person: Person, address: str, expected: tuple[Availability, str]
) -> None:
    await case.until(
        lambda: case.adapter.presence(person, address) == expected,
        f"The user says {expected!r}, and the contact's client shows {case.adapter.presence(person, address)!r}.",
    )


CHECKS = (
    typing_is_carried,
    typing_lasts_and_a_message_ends_it,
    what_is_read_is_told,
    what_the_user_reads_elsewhere_is_theirs,
    what_arrives_is_acknowledged_once_it_is_committed,
    who_is_there_is_shown,
    what_is_shown_without_a_connection_does_no_harm,
)
