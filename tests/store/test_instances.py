"""Processes on one database: who is there, who has whom, and that the dead change nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from dm_bridge.errors import StorageError
from dm_bridge.ids import ChatId, ContactId, EventId, LoginId, PortalKey, RoomId, UserId
from dm_bridge.store.bell import Bell
from dm_bridge.store.database import Buried, Database
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.instances import CHANNEL, Errand, Instance, InstanceStore
from dm_bridge.store.logins import LoginState, LoginStore
from dm_bridge.store.outbox import OutboxRow, OutboxStore
from dm_bridge.store.portals import Membership, PortalStore
from dm_bridge.store.rooms import RoomStore
from dm_bridge.store.spaces import SpaceStore

from .stored import XMPP, message

ROOM = RoomId("!room:example.org")
JULIET, ROMEO, PARIS = (UserId(f"@{name}:example.org") for name in ("juliet", "romeo", "paris"))


@pytest.fixture(params=["directly", "pooled"])
def url(request: pytest.FixtureRequest) -> str:
    """The database, also by way of a pooler."""
    name = "pooled_url" if request.param == "pooled" else "database_url"
    return str(request.getfixturevalue(name))


class Process:
    """A process that is there."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = InstanceStore(database)
        self.outbox = OutboxStore(database)

    async def seen(self) -> Instance:
        return next(each for each in await self.store.beat() if each.id == self.store.id)


Join = Callable[[], Awaitable[Process]]


@pytest_asyncio.fixture
async def join(url: str) -> AsyncIterator[Join]:
    """Makes processes."""
    databases = []

    async def join() -> Process:
        database = await Database.open(url)
        databases.append(database)
        process = Process(database)
        assert await process.store.join("us", 10.0, "here", "1 1", "0") is None
        return process

    yield join
    for database in databases:
        await database.close()


async def login(database: Database, owner: UserId, remote: str = "x@y") -> LoginId:
    store = LoginStore(database)
    row = await store.reserve(owner, XMPP, ContactId(remote), remote)
    await store.activate(row, b"sealed")
    return row


async def test_a_pooler_is_noticed(database_url: str, pooled_url: str) -> None:
    for url, pooled in ((database_url, False), (pooled_url, True)):
        database = await Database.open(url)
        assert database.pooled is pooled
        await database.close()


async def test_processes_see_each_other_the_oldest_first(join: Join) -> None:
    first, second = await join(), await join()
    seen = await second.store.beat()
    assert [each.id for each in seen] == [first.store.id, second.store.id]
    assert [each.beat for each in seen] == [0, 0]  # as it was before this beat
    assert [each.beat for each in await second.store.beat()] == [0, 1]
    await first.store.leave()
    assert [each.id for each in await second.store.beat()] == [second.store.id]


async def test_another_bridge_is_refused(join: Join, url: str) -> None:
    await join()
    database = await Database.open(url)
    try:
        store = InstanceStore(database)
        assert await store.join("another bridge", 10.0, "", "", "0") == "us"
    finally:
        await database.close()


async def test_a_share_is_had_by_one_only(join: Join) -> None:
    first, second = await join(), await join()
    assert await first.store.take_new([JULIET, ROMEO]) == {JULIET: 1, ROMEO: 1}
    assert await second.store.take_new([ROMEO, PARIS]) == {PARIS: 1}
    assert await second.store.take(10, 10, at_least_one=True) == {}
    await first.store.give([ROMEO, PARIS])
    assert await second.store.take(10, 10, at_least_one=True) == {ROMEO: 2}
    assert set(await second.store.held()) == {ROMEO, PARIS}
    assert await first.store.held() == [JULIET]


async def test_many_that_take_at_once_never_get_the_same(join: Join) -> None:
    processes = [await join() for _ in range(4)]
    users = [UserId(f"@u{n}:example.org") for n in range(200)]
    await processes[0].store.take_new(users)
    await processes[0].store.give(users)
    got: list[UserId] = []

    async def take(process: Process) -> None:
        while taken := await process.store.take(7, 7, at_least_one=False):
            got.extend(taken)

    await asyncio.gather(*(take(process) for process in processes))
    assert sorted(got) == sorted(users)


async def test_shares_are_taken_by_how_many_logins_they_have(join: Join) -> None:
    process = await join()
    for owner, logins in ((JULIET, 3), (ROMEO, 1), (PARIS, 0)):
        for number in range(logins):
            await login(process.database, owner, f"{number}@y")
    gone = await login(process.database, PARIS, "gone@y")
    await LoginStore(process.database).set_state(gone, LoginState.LOGGED_OUT, "")
    users = [JULIET, ROMEO, PARIS]
    await process.store.take_new(users)
    assert await process.store.weights(users) == {JULIET: 3, ROMEO: 1, PARIS: 0}
    loads = await process.store.loads()
    assert (loads.of, loads.free) == ({process.store.id: 4}, None)
    await process.store.give(users)
    loads = await process.store.loads()
    assert (loads.of, loads.free) == ({}, 4)
    assert (await process.store.take(2, 10, at_least_one=False)).keys() == {PARIS}
    assert (await process.store.take(2, 10, at_least_one=True)).keys() == {JULIET}
    assert (await process.store.take(2, 10, at_least_one=False)).keys() == {ROMEO}


async def test_the_buried_change_nothing_any_more_and_their_shares_are_free(join: Join) -> None:
    alive, dead = await join(), await join()
    await dead.store.take_new([JULIET])
    seen = await dead.seen()
    assert not await alive.store.bury(seen)  # it has beaten since
    seen = next(each for each in await alive.store.beat() if each.id == dead.store.id)
    assert await alive.store.bury(seen)
    assert (await alive.store.take(1, 1, at_least_one=True)).keys() == {JULIET}
    for _ in range(3):
        with pytest.raises(StorageError):
            await dead.outbox.add([OutboxRow(EventId("$late"), ROOM, JULIET, {})])
    with pytest.raises(Buried):
        await dead.store.beat()
    assert await alive.outbox.waiting(ROOM, 10) == []


async def test_what_was_under_way_when_a_process_was_buried_is_undone(join: Join) -> None:
    alive, dead = await join(), await join()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with dead.database.transaction() as connection:
            await connection.execute("INSERT INTO refused_stranger (user_id) VALUES ('@late')")
            begun.set()
            await go_on.wait()

    task = asyncio.create_task(write())
    await begun.wait()
    seen = next(each for each in await alive.store.beat() if each.id == dead.store.id)
    async with asyncio.timeout(20):
        while not await alive.store.bury(seen):
            seen = next(each for each in await alive.store.beat() if each.id == dead.store.id)
    go_on.set()
    with pytest.raises(StorageError):
        await task
    assert await RoomStore(alive.database).refuse_once(UserId("@late"))


async def test_whose_a_room_is(join: Join) -> None:
    process = await join()
    database = process.database
    key = PortalKey(await login(database, JULIET), ChatId("chat"))
    portals = PortalStore(database)
    await portals.reserve(key, ContactId("chat"), UserId("@ghost:example.org"))
    old, new, next_one = (RoomId(f"!{name}:example.org") for name in ("old", "new", "next"))
    await portals.set_open(key, old, Membership.JOIN)
    row = await portals.get(key)
    assert row is not None
    await portals.replace_room(key, old, None)
    await portals.set_open(key, new, Membership.JOIN)
    await portals.set_successor(key, next_one)
    await RoomStore(database).add_management(ROOM, ROMEO)
    space = RoomId("!space:example.org")
    await SpaceStore(database).want(key.login)
    await SpaceStore(database).set_room(key.login, space)
    unknown = RoomId("!unknown:example.org")
    assert await process.store.users_of([old, new, next_one, space, ROOM, unknown]) == (
        {old: JULIET, new: JULIET, next_one: JULIET, space: JULIET},
        {ROOM: ROMEO},
    )
    await process.outbox.add(
        [OutboxRow(EventId(f"${n}"), unknown, user, {}) for n, user in enumerate((PARIS, ROMEO))]
    )
    assert await process.store.first_senders([unknown, old]) == {unknown: PARIS}


async def test_word_of_events_is_left_with_them_for_whoever_has_the_user(join: Join) -> None:
    first, second = await join(), await join()
    await second.store.take_new([JULIET])
    errand = Errand(JULIET, "room", ROOM)
    await first.outbox.add([OutboxRow(EventId("$1"), ROOM, JULIET, {})], [errand])
    assert await first.store.take_errands() == []
    assert await second.store.take_errands() == [errand]
    assert await second.store.take_errands() == []
    ping = Errand(first.store.id, "ping", "x")
    stranger = Errand(PARIS, "m.direct", PARIS)
    await first.store.take_new([ROMEO])
    await first.store.give([ROMEO])
    await second.store.leave_errands([ping, Errand(ROMEO, "room", ROOM), stranger])
    assert await first.store.take_errands() == [ping]
    await first.store.take(10, 10, at_least_one=True)
    assert await first.store.take_errands() == [Errand(ROMEO, "room", ROOM)]


async def test_what_was_left_for_a_process_itself_goes_with_it(join: Join) -> None:
    dead, ended, alive = await join(), await join(), await join()
    await dead.store.take_new([JULIET])
    for_juliet = Errand(JULIET, "room", ROOM)
    answers = [Errand(each.store.id, "provisioned", "x") for each in (dead, ended, alive)]
    await alive.store.leave_errands([for_juliet, *answers])
    await ended.store.leave()
    [seen] = [each for each in await alive.store.beat() if each.id == dead.store.id]
    assert await alive.store.bury(seen)
    async with alive.database.connection() as connection:
        left = await connection.fetch("SELECT for_whom, kind, subject FROM errand ORDER BY seq")
    assert [Errand(*row) for row in left] == [for_juliet, answers[-1]]


async def test_a_bell_is_heard_at_once_where_it_can_be(join: Join) -> None:
    first, second = await join(), await join()
    bell = Bell(second.database, CHANNEL)
    listening = asyncio.create_task(bell.hear())
    if second.database.pooled:
        await listening
    else:
        await bell.wait(5.0)  # it rings once when it begins to hear
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = asyncio.create_task(bell.wait(30.0))
    await asyncio.sleep(0)
    await first.store.leave_errands([Errand(JULIET, "room", ROOM)])
    await waiting
    assert loop.time() - began < 20.0
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_a_bell_that_went_deaf_hears_again(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dm_bridge.store.bell.TRY_AGAIN", 0.05)
    first, second = await join(), await join()
    if second.database.pooled:
        return
    bell = Bell(second.database, CHANNEL)
    listening = asyncio.create_task(bell.hear())
    await bell.wait(5.0)
    async with first.database.connection() as connection:
        await connection.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE query LIKE 'LISTEN%' AND datname = current_database()
            """
        )
    async with asyncio.timeout(60):
        await bell.wait(10.0)  # as it hears again
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_every_call_works_behind_a_pooler(pooled_url: str) -> None:
    database = await Database.open(pooled_url, size=10)
    try:
        row = await login(database, JULIET)
        inbox = InboxStore(database)

        async def busy(number: int) -> None:
            await inbox.add([(row, message(number))])
            await inbox.waiting(PortalKey(row, ChatId("romeo@example.net")), 50)

        await asyncio.gather(*(busy(n) for n in range(100)))
        waiting = await inbox.waiting(PortalKey(row, ChatId("romeo@example.net")), 200)
        assert len(waiting) == 100
    finally:
        await database.close()
