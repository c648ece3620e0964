"""The stores in memory answer as those on PostgreSQL do: the same operations, at random, on both."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from random import Random
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from dm_bridge.direct import DirectDocument, Mind, Source, observe
from dm_bridge.direct.ledger import DMState, Ledger, LedgerError
from dm_bridge.errors import StorageError
from dm_bridge.ids import (
    ChatId,
    ContactId,
    EventId,
    LoginId,
    NetworkName,
    PortalKey,
    RemoteId,
    RoomId,
    UserId,
)
from dm_bridge.network.events import (
    ContactMoved,
    RemoteEdit,
    RemoteEvent,
    RemoteFailure,
    RemoteMessage,
    Text,
)
from dm_bridge.store.database import Database
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.instances import Errand, InstanceStore
from dm_bridge.store.journals import Busy, JournalStore
from dm_bridge.store.logins import LoginState, LoginStore
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.portals import Membership, PortalStore
from dm_bridge.store.references import Reaction, ReferenceStore
from dm_bridge.store.rooms import RoomStore
from dm_bridge.testing.memory import (
    MemoryDatabase,
    MemoryDirectStore,
    MemoryInboxStore,
    MemoryInstanceStore,
    MemoryJournalStore,
    MemoryLoginStore,
    MemoryOutboxStore,
    MemoryPeopleStore,
    MemoryPortalStore,
    MemoryReferenceStore,
    MemoryRoomStore,
)

TWINS: dict[type[Any], type[Any]] = {
    InboxStore: MemoryInboxStore,
    OutboxStore: MemoryOutboxStore,
    PortalStore: MemoryPortalStore,
    PeopleStore: MemoryPeopleStore,
    DirectStore: MemoryDirectStore,
    JournalStore: MemoryJournalStore,
    LoginStore: MemoryLoginStore,
    RoomStore: MemoryRoomStore,
    ReferenceStore: MemoryReferenceStore,
    InstanceStore: MemoryInstanceStore,
}
INHERITED = {"_get", "_get_by_room", "_update"}
"""Helpers of methods that a twin has of its own."""
FAKE = NetworkName("fake")
OPERATIONS = 250
USERS = [UserId(f"@user{n}:x") for n in range(3)]
GHOSTS = [UserId(f"@ghost{n}:x") for n in range(3)]
ROOMS = [RoomId(f"!room{n}:x") for n in range(5)]
CHATS = [ChatId(f"chat{n}") for n in range(2)]
REFUSALS = (
    asyncpg.UniqueViolationError,
    asyncpg.CheckViolationError,
    asyncpg.ForeignKeyViolationError,
    Busy,
    LedgerError,  # for rows that make no sense together
)


@dataclass
class Side:
    """All stores, over one kind of database. ``logins``: ids of logins, by what both sides call them."""

    database: Database
    inbox: InboxStore
    outbox: OutboxStore
    portals: PortalStore
    people: PeopleStore
    direct: DirectStore
    journals: list[JournalStore]
    store: LoginStore
    rooms: RoomStore
    references: ReferenceStore
    processes: list[InstanceStore]
    logins: dict[int, LoginId]

    def key(self, login: int, chat: ChatId) -> PortalKey:
        return PortalKey(self.logins[login], chat)


def on_postgres(database: Database, others: Sequence[Database]) -> Side:
    journals = [JournalStore(database, f"writer {n}") for n in range(2)]
    return Side(
        database,
        InboxStore(database),
        OutboxStore(database),
        PortalStore(database),
        PeopleStore(database),
        DirectStore(database),
        journals,
        LoginStore(database),
        RoomStore(database),
        ReferenceStore(database),
        [InstanceStore(other) for other in others],
        {},
    )


def in_memory() -> Side:
    database = MemoryDatabase()
    others = [MemoryDatabase(database.tables, instance=f"dm_bridge {n}") for n in (1, 2, 3)]
    journals: list[JournalStore] = [MemoryJournalStore(database, f"writer {n}") for n in range(2)]
    return Side(
        database,
        MemoryInboxStore(database),
        MemoryOutboxStore(database),
        MemoryPortalStore(database),
        MemoryPeopleStore(database),
        MemoryDirectStore(database),
        journals,
        MemoryLoginStore(database),
        MemoryRoomStore(database),
        MemoryReferenceStore(database),
        [MemoryInstanceStore(other) for other in others],
        {},
    )


@pytest_asyncio.fixture
async def others(database_url: str) -> AsyncIterator[list[Database]]:
    """As three other processes have them."""
    databases = [await Database.open(database_url, size=2) for _ in range(3)]
    yield databases
    for database in databases:
        await database.close()


Operation = Callable[[Side], Awaitable[Any]]


def _asks_database(method: Callable[..., Any]) -> bool:
    return "self._database" in inspect.getsource(method)


@pytest.mark.parametrize("real", TWINS, ids=lambda real: real.__name__)
def test_a_twin_has_all_that_the_real_one_has(real: type[Any]) -> None:
    methods = dict(inspect.getmembers(real, inspect.isfunction))
    asking = {name for name, method in methods.items() if _asks_database(method)} - {"__init__"}
    own = vars(TWINS[real])
    assert asking
    assert asking - own.keys() <= INHERITED
    for name in (methods.keys() & own.keys()) - {"__init__"}:
        mine, theirs = inspect.signature(own[name]), inspect.signature(getattr(real, name))
        assert mine == theirs, name


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "kind", ["queues", "portals", "people", "direct", "journals", "logins", "processes"]
)
async def test_the_same_operations_have_the_same_results(
    database: Database, others: Sequence[Database], kind: str, seed: int
) -> None:
    draw = Random(f"{kind} {seed}")
    sides = (on_postgres(database, others), in_memory())
    for number in range(2):
        await both(sides, lambda side, n=number: reserve(side, n))  # type: ignore[misc]
    for step in range(OPERATIONS):
        name, operation = OPERATIONS_OF[kind](draw)
        one, other = await both(sides, operation)
        assert one == other, f"step {step}: {name}"


async def reserve(side: Side, number: int) -> None:
    owner = USERS[number % 2]
    side.logins[number] = await side.store.reserve(owner, FAKE, ContactId(f"me{number}"), "me")


async def both(sides: tuple[Side, Side], operation: Operation) -> list[Any]:
    results = []
    for side in sides:
        names = {str(login): f"login {number}" for number, login in side.logins.items()}
        names |= {each.id: f"process {number}" for number, each in enumerate(side.processes)}
        try:
            results.append(plain(await operation(side), names))
        except REFUSALS as error:
            results.append(type(error).__name__)
        except StorageError:  # a connection that was ended is noticed sooner or later
            results.append("buried")
    return results


def plain(value: Any, names: dict[str, str]) -> Any:
    """A result without what must differ: ids of logins, and exact times."""
    match value:
        case Enum():
            return value
        case float():
            return "a time" if value > 1e9 else value
        case str():
            return names.get(value, value)
        case set() | frozenset() | Unordered():
            return sorted(repr(plain(one, names)) for one in value)
        case list() | tuple():
            return [plain(one, names) for one in value]
        case dict():
            return sorted((plain(k, names), plain(v, names)) for k, v in value.items())
        case _ if is_dataclass(value) and not isinstance(value, type):
            return [plain(getattr(value, one.name), names) for one in fields(value)]
        case _:
            return value


# -- operations; what is drawn is drawn before, so that both sides do the same


def of_queues(draw: Random) -> tuple[str, Operation]:
    login, chat, number = draw.randrange(2), draw.choice(CHATS), draw.randrange(12)
    remote = RemoteId(f"id{number}")
    other = draw.choice((None, None, RemoteId(f"id{draw.randrange(12)}")))
    sent = draw.choice((None, None, RemoteId(f"sent{draw.randrange(6)}")))
    text = Text(f"text {number}")
    own = draw.random() < 0.3
    message = RemoteMessage(chat, remote, ContactId(chat), own, text, 1.5, None, other, sent)
    events: list[RemoteEvent] = [message]
    if draw.random() < 0.5:
        events.append(RemoteFailure(chat, RemoteId(f"sent{number}"), "no"))
    if number % 3 == 0:
        there = CHATS[number // 3 % len(CHATS)]
        old, new = ContactId(chat), ContactId(there)
        events.append(ContactMoved(chat, RemoteId(f"move{number}"), old, new, there))
    before, position = draw.choice((None, "1", "2")), draw.choice(("1", "2", "3"))
    state = draw.choice(("delivered", "dropped", "parked"))
    outcomes = [InboxOutcome(remote, state, draw.choice((None, EventId("$e"))), "why\0not")]
    room = draw.choice(ROOMS[:2])
    row = OutboxRow(EventId(f"$event{number}"), room, draw.choice(USERS), {"n": number})
    ended = draw.choice(("delivered", "failed", "uncertain", "dropped", "parked", "handled"))
    portal = draw.random() < 0.7
    by = RemoteId(f"sent{draw.randrange(6)}")
    owners = draw.choice((None, USERS[:1]))
    notice = draw.choice((None, EventId("$notice")))
    verdict = draw.choice((None, EventId("$verdict")))
    noted = replace(row, notice=notice, verdict=verdict)
    if draw.random() < 0.5:
        events.append(
            RemoteEdit(
                chat,
                RemoteId(f"edit{number}"),
                remote,
                ContactId(chat),
                own,
                text,
                reference=RemoteId(f"ref{number % 3}"),
            )
        )
    named = RemoteId(draw.choice((remote, by, f"ref{number % 3}")))
    relation = {"rel_type": "m.replace", "event_id": "$first"}
    if draw.random() < 0.3:
        row = replace(row, event={"content": {"m.relates_to": relation}})
    emoji = draw.choice("ab")
    reacted = EventId(f"{row.id}{own}{emoji}")  # an event is one reaction
    reaction = Reaction(EventId("$target"), own, emoji, reacted)
    operations: list[tuple[str, Operation]] = [
        ("named", lambda s: s.references.named(s.key(login, chat), named)),
        ("is_up_to", lambda s: s.references.is_up_to(s.key(login, chat), named, remote)),
        ("of_event", lambda s: s.references.of_event(s.key(login, chat), row.id)),
        ("of_inbox", lambda s: of_one_event(s, s.key(login, chat))),
        ("react", lambda s: s.references.add_reaction(s.key(login, chat), reaction)),
        ("unreact", lambda s: s.references.remove_reaction(s.key(login, chat), reacted)),
        (
            "reactions",
            lambda s: s.references.reactions(s.key(login, chat), reaction.target, from_self=own),
        ),
        ("reaction_of", lambda s: s.references.reaction_of(s.key(login, chat), reacted)),
        ("add", lambda s: s.inbox.add([(s.logins[login], event) for event in events])),
        ("add_at", lambda s: s.inbox.add_at(s.logins[login], events, before, position)),
        ("position", lambda s: s.store.position(s.logins[login])),
        ("waiting", lambda s: s.inbox.waiting(s.key(login, chat), 5)),
        ("moves_waiting", lambda s: s.inbox.moves_waiting(s.logins[login])),
        ("moves_before", lambda s: s.inbox.moves_before(s.key(login, chat), remote)),
        ("chats_waiting", lambda s: unordered(s.inbox.chats_waiting(owners))),
        ("finish", lambda s: s.inbox.finish(s.key(login, chat), outcomes)),
        ("delivered", lambda s: s.inbox.delivered(s.key(login, chat), remote)),
        ("out add", lambda s: s.outbox.add([row, row])),
        ("out waiting", lambda s: s.outbox.waiting(room, 5)),
        ("attempt", lambda s: s.outbox.attempt(row)),
        ("not_attempted", lambda s: s.outbox.not_attempted(row)),
        ("set_notices", lambda s: s.outbox.set_notices(row, notice=notice, verdict=verdict)),
        ("forget_notices", lambda s: s.outbox.forget_notices(noted, verdict=own)),
        ("unsettled", lambda s: unordered(s.outbox.unsettled_notices(50))),
        ("rooms_waiting", lambda s: unordered(s.outbox.rooms_waiting())),
        (
            "out finish",
            lambda s: s.outbox.finish(
                row,
                ended,
                portal=s.key(login, chat) if portal else None,
                remote=by if portal else None,
                reason="because",
            ),
        ),
    ]
    return draw.choice(operations)


async def of_one_event(side: Side, key: PortalKey) -> bool:
    """Whether there is one: which of several that have one event is left open."""
    return await side.references.of_event(key, EventId("$e")) is not None


def of_portals(draw: Random) -> tuple[str, Operation]:
    login, chat, new_chat = draw.randrange(2), draw.choice(CHATS), draw.choice(CHATS)
    room, other = draw.choice(ROOMS), draw.choice(ROOMS)
    ghost, contact = draw.choice(GHOSTS), ContactId(draw.choice("abc"))
    membership, flag = draw.choice(list(Membership)), draw.random() < 0.5
    maybe, user = draw.choice((None, room)), draw.choice(USERS)
    state = draw.choice(list(DMState))
    lost = draw.choice(list(LoginState))
    owners = draw.choice((None, USERS[:1]))

    async def replace_room(side: Side) -> None:
        row = await side.portals.get(side.key(login, chat))
        usable = row is not None and row.room is not None and flag
        await side.portals.replace_room(side.key(login, chat), room, row if usable else None)

    operations: list[tuple[str, Operation]] = [
        ("reserve", lambda s: s.portals.reserve(s.key(login, chat), contact, ghost)),
        ("get", lambda s: s.portals.get(s.key(login, chat))),
        ("by_room", lambda s: s.portals.by_room(room)),
        ("by_former_room", lambda s: s.portals.by_former_room(room)),
        ("by_successor", lambda s: s.portals.by_successor(room)),
        ("of_login", lambda s: unordered(s.portals.of_login(s.logins[login]))),
        ("of_owner", lambda s: unordered(s.portals.of_owner(user))),
        ("creating", lambda s: unordered(s.portals.creating(user))),
        ("without_login", lambda s: unordered(s.portals.managed_without_login(owners))),
        ("set_creating", lambda s: s.portals.set_creating(s.key(login, chat))),
        ("set_open", lambda s: s.portals.set_open(s.key(login, chat), room, membership)),
        ("set_lost", lambda s: s.portals.set_lost(s.key(login, chat))),
        ("set_crowded", lambda s: s.portals.set_crowded(s.key(login, chat), flag)),
        ("set_successor", lambda s: s.portals.set_successor(s.key(login, chat), maybe)),
        ("set_membership", lambda s: s.portals.set_membership(s.key(login, chat), membership)),
        ("set_bot_joined", lambda s: s.portals.set_bot_joined(s.key(login, chat), flag)),
        ("set_shows_reads", lambda s: s.portals.set_shows_reads(s.key(login, chat))),
        ("set_read", lambda s: s.portals.set_read(s.key(login, chat), EventId(f"${room}"))),
        ("set_own_ghost", lambda s: s.portals.set_own_ghost(s.key(login, chat), ghost)),
        ("replace_room", replace_room),
        ("former_rooms", lambda s: unordered(s.portals.former_rooms(s.key(login, chat)))),
        ("forget_former", lambda s: s.portals.forget_former(other)),
        (
            "move",
            lambda s: s.portals.move(s.key(login, chat), s.key(login, new_chat), contact, ghost),
        ),
        ("delete", lambda s: s.portals.delete(s.key(login, chat))),
        ("ghost_contact", lambda s: s.portals.ghost_contact(UserId(f"@{contact}:x"))),
        ("ghost", lambda s: s.portals.ghost(FAKE, contact, UserId(f"@{contact}:x"))),
        ("set_ghost", lambda s: s.portals.set_ghost(UserId(f"@{contact}:x"), "name")),
        ("manage", lambda s: s.direct.manage(user, room, ghost, state)),
        ("set_state", lambda s: s.store.set_state(s.logins[login], lost, "")),
        *of_inbox(draw, login, chat),
    ]
    return draw.choice(operations)


def of_people(draw: Random) -> tuple[str, Operation]:
    login, chat, room = draw.randrange(2), draw.choice(CHATS), draw.choice(ROOMS)
    ghost, contact = draw.choice(GHOSTS), ContactId(draw.choice("abc"))
    user, lost = UserId(f"@{contact}:x"), draw.choice(list(LoginState))
    name = draw.choice((None, "name", "other name"))

    async def called(side: Side) -> Any:
        await side.direct.manage(USERS[0], room, user, DMState.ACTIVE)
        return await side.people.called(USERS[0])

    operations: list[tuple[str, Operation]] = [
        ("reserve", lambda s: s.portals.reserve(s.key(login, chat), contact, ghost)),
        ("set_open", lambda s: s.portals.set_open(s.key(login, chat), room, Membership.JOIN)),
        ("set_lost", lambda s: s.portals.set_lost(s.key(login, chat))),
        ("get", lambda s: s.portals.get(s.key(login, chat))),
        ("ghost", lambda s: s.portals.ghost(FAKE, contact, user)),
        ("set_ghost", lambda s: s.portals.set_ghost(user, "name")),
        ("ghosts", lambda s: s.people.ghosts(FAKE, [ContactId("a"), contact])),
        ("claim", lambda s: s.people.claim(user, s.logins[login])),
        ("set_name", lambda s: s.people.set_name(user, name or "third")),
        ("set_avatar", lambda s: s.people.set_avatar(user, name or "", name)),
        ("set_private_name", lambda s: s.portals.set_private_name(s.key(login, chat), name)),
        ("named_privately", lambda s: unordered(s.people.named_privately(ghost))),
        ("called", called),
        ("set_state", lambda s: s.store.set_state(s.logins[login], lost, "")),
        ("ask", lambda s: s.people.ask(s.logins[login], contact, name)),
        ("set_told", lambda s: s.people.set_told(s.logins[login], [contact])),
        ("answered", lambda s: s.people.answered(s.logins[login], [contact])),
        ("requests", lambda s: s.people.requests(s.logins[login])),
    ]
    return draw.choice(operations)


def of_inbox(draw: Random, login: int, chat: ChatId) -> list[tuple[str, Operation]]:
    """What a portal that moves takes along."""
    remote = RemoteId(f"id{draw.randrange(4)}")
    event = RemoteMessage(chat, remote, ContactId(chat), False, Text("text"))
    done = InboxOutcome(remote, "delivered", EventId("$e"))
    return [
        ("add", lambda s: s.inbox.add([(s.logins[login], event)])),
        ("finish", lambda s: s.inbox.finish(s.key(login, chat), [done])),
        ("delivered", lambda s: s.inbox.delivered(s.key(login, chat), remote)),
    ]


def of_direct(draw: Random) -> tuple[str, Operation]:
    account = draw.choice((*USERS[:2], GHOSTS[0]))
    room, new = draw.sample(ROOMS, 2)
    ghost, renamed = draw.sample(GHOSTS, 2)
    partner = ghost if account in USERS else draw.choice(USERS)
    state, out = draw.choice(list(DMState)), draw.random() < 0.5
    whose = draw.choice((None, account))
    users = draw.choice((None, [account]))
    operations: list[tuple[str, Operation]] = [
        ("load", lambda s: s.direct.load(account)),
        ("manage", lambda s: s.direct.manage(account, room, partner, state)),
        ("manage", lambda s: s.direct.manage(account, room, partner, state)),
        ("set_state", lambda s: unordered(s.direct.set_state(room, state, whose))),
        ("replace_room", lambda s: unordered(s.direct.replace_room(room, new))),
        ("rename_ghost", lambda s: unordered(s.direct.rename_ghost(room, ghost, renamed))),
        ("opt", lambda s: s.direct.opt(account, room, out)),
        ("forget", lambda s: unordered(s.direct.forget(room))),
        ("accounts", lambda s: unordered(s.direct.accounts(users))),
        ("unsettled", lambda s: unordered(s.direct.unsettled(users))),
        ("settle", lambda s: settle_all(s, account)),
    ]
    return draw.choice(operations)


async def settle_all(side: Side, account: UserId) -> None:
    await side.direct.settle(account, await side.direct.managed(account))


def of_journals(draw: Random) -> tuple[str, Operation]:
    account, writer, room = draw.choice(USERS[:2]), draw.randrange(2), draw.choice(ROOMS)
    keys = draw.sample([*GHOSTS, *USERS], draw.randrange(4))
    document = DirectDocument.parse({key: [room] for key in keys})
    fails, works = draw.random() < 0.2, draw.random() < 0.7
    accounts = draw.choice((None, [account]))

    async def round_of_the_keeper(side: Side) -> Any:
        journals = side.journals[writer]
        known = await journals.claim(account)
        managed, _ = await side.direct.load(account)
        ledger = Ledger.of(account, managed)
        outcome = observe(Mind(ledger, known.journal), document, at=1.0, writing=False)
        after, journal = outcome.mind.ledger, outcome.mind.journal
        try:
            async with side.database.transaction() as connection:
                recorded = await journals.record(
                    connection, account, known, journal, source=Source.READ
                )
                await side.direct.decide(connection, ledger, after)
                await side.direct.settle(account, after.managed.values(), connection)
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return "taken back"
        journals.recorded(account, recorded)
        if works:
            await journals.written(account, recorded)
        return recorded.revision

    async def journal_of(side: Side) -> Any:
        journal = await side.journals[writer].read(account)
        doubt = None if journal.doubt is None else journal.doubt.to_json()
        head = None if journal.head is None else journal.head.to_json()
        versions = [(v.seq, v.source, sorted(v.change.added)) for v in journal.versions]
        return head, doubt, versions, journal.echoes, journal.attempted

    operations: list[tuple[str, Operation]] = [
        ("round", round_of_the_keeper),
        ("round", round_of_the_keeper),
        ("read", journal_of),
        ("release", lambda s: s.journals[writer].release(account)),
        ("trouble", lambda s: s.journals[writer].trouble(account, "It rains.")),
        ("seen", lambda s: s.journals[writer].seen(account)),
        ("last_seen", lambda s: s.journals[writer].last_seen(accounts)),
        ("at_peace", lambda s: s.journals[writer].at_peace(account)),
        ("manage", lambda s: s.direct.manage(account, room, GHOSTS[0], DMState.ACTIVE)),
        ("load", lambda s: s.direct.load(account)),
    ]
    return draw.choice(operations)


def of_logins(draw: Random) -> tuple[str, Operation]:
    login, state = draw.randrange(2), draw.choice(list(LoginState))
    room, user = draw.choice(ROOMS[:2]), draw.choice(USERS)
    position, sealed = draw.choice((None, "7")), draw.choice((b"a", b"b"))
    operations: list[tuple[str, Operation]] = [
        ("reserve", lambda s: reserve(s, login)),
        ("activate", lambda s: s.store.activate(s.logins[login], sealed, position)),
        ("set_state", lambda s: s.store.set_state(s.logins[login], state, "why")),
        ("position", lambda s: s.store.position(s.logins[login])),
        ("get", lambda s: s.store.get(s.logins[login])),
        ("all", lambda s: s.store.all()),
        ("of", lambda s: s.store.of([user])),
        ("add_management", lambda s: s.rooms.add_management(room, user)),
        ("remove_management", lambda s: s.rooms.remove_management(room)),
        ("management_user", lambda s: s.rooms.management_user(room)),
        ("ask_secret", lambda s: s.rooms.ask_secret(room)),
        ("take_secret_asked", lambda s: s.rooms.take_secret_asked(room)),
        ("management_rooms", lambda s: unordered(s.rooms.management_rooms(user))),
        ("refuse_once", lambda s: s.rooms.refuse_once(user)),
    ]
    return draw.choice(operations)


def of_processes(draw: Random) -> tuple[str, Operation]:
    number, other = draw.sample(range(3), 2)
    users = draw.sample(USERS, draw.randint(1, 3))
    most, login, state = draw.randrange(3), draw.randrange(2), draw.choice(list(LoginState))
    chat, room, flag = draw.choice(CHATS), draw.choice(ROOMS), draw.random() < 0.5
    event = OutboxRow(EventId(f"$event{draw.randrange(12)}"), room, draw.choice(USERS), {})
    kind, ghost = draw.choice(("room", "m.direct")), draw.choice(GHOSTS)

    def errands(side: Side) -> list[Errand]:
        whom = draw_whom if flag else side.processes[other].id
        return [Errand(whom, kind, room)]

    draw_whom = draw.choice([*USERS, "nobody"])

    async def join(side: Side) -> Any:
        return await side.processes[number].join(draw_identity, 10.0, "here", "1 1", "0")

    draw_identity = "us" if draw.random() < 0.9 else "them"

    async def bury(side: Side) -> Any:
        """Of a process whose beat was seen just now, or long ago."""
        seen = await side.processes[number].beat()
        dead = [each for each in seen if each.id == side.processes[other].id]
        return [
            await side.processes[number].bury(replace(each, beat=each.beat - most)) for each in dead
        ]

    async def reads(side: Side) -> Any:
        process = side.processes[number]
        first = await process.first_senders(ROOMS)
        return await process.users_of(ROOMS), first, await process.weights(users)

    operations: list[tuple[str, Operation]] = [
        ("join", join),
        ("join", join),
        ("beat", lambda s: s.processes[number].beat()),
        ("bury", bury),
        ("leave", lambda s: s.processes[number].leave()),
        ("take", lambda s: s.processes[number].take(most, 2, at_least_one=flag)),
        ("take_new", lambda s: s.processes[number].take_new(users)),
        ("give", lambda s: s.processes[number].give(users)),
        ("held", lambda s: unordered(s.processes[number].held())),
        ("loads", lambda s: s.processes[number].loads()),
        ("reads", reads),
        ("leave_errands", lambda s: s.processes[number].leave_errands(errands(s))),
        ("take_errands", lambda s: s.processes[number].take_errands()),
        ("out add", lambda s: s.outbox.add([event], errands(s) if flag else [])),
        ("out finish", lambda s: s.outbox.finish(event, "dropped")),
        ("set_state", lambda s: s.store.set_state(s.logins[login], state, "")),
        ("reserve", lambda s: s.portals.reserve(s.key(login, chat), ContactId("c"), ghost)),
        ("set_open", lambda s: s.portals.set_open(s.key(login, chat), room, Membership.JOIN)),
        ("set_successor", lambda s: s.portals.set_successor(s.key(login, chat), room)),
        ("add_management", lambda s: s.rooms.add_management(room, users[0])),
    ]
    return draw.choice(operations)


class Unordered(list[Any]):
    """A result whose order means nothing."""


async def unordered(rows: Awaitable[list[Any]]) -> Unordered:
    return Unordered(await rows)


OPERATIONS_OF: dict[str, Callable[[Random], tuple[str, Operation]]] = {
    "queues": of_queues,
    "portals": of_portals,
    "people": of_people,
    "direct": of_direct,
    "journals": of_journals,
    "logins": of_logins,
    "processes": of_processes,
}
