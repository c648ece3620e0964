"""Shares of several processes on a real database: even, had by one only, and taken over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from dm_bridge.bridge.shares import FORGOTTEN, Shares
from dm_bridge.bridge.vital_signs import ACTS
from dm_bridge.errors import AdminError, StorageError
from dm_bridge.ids import ContactId, NetworkName, UserId
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.bell import Bell
from dm_bridge.store.database import Buried, Database
from dm_bridge.store.erasing import ErasureStore
from dm_bridge.store.instances import CHANNEL, Errand, InstanceStore
from dm_bridge.store.logins import LoginStore
from dm_bridge.texts import phrase

LEASE = 2.0
NETWORK = NetworkName("fake")


class Process:
    """A process with shares. ``has``: whom its tenants take care of; ``did``: its errands."""

    def __init__(self, database: Database, vitals: Database) -> None:
        self.database = database
        bell = Bell(database, CHANNEL)
        self.clock_ahead = 0.0
        self.shares = Shares(
            InstanceStore(database),
            InstanceStore(vitals),
            LEASE,
            Metrics(),
            bell.wait,
            lambda: asyncio.get_running_loop().time() + self.clock_ahead,
        )
        self.has: set[UserId] = set()
        self.did: list[Errand] = []
        self.busy: set[UserId] = set()
        self.trouble: Exception | None = None
        self.giving: Exception | None = None
        self.waking: Exception | None = None
        self.tasks = [asyncio.create_task(bell.hear())]

    async def start(self) -> None:
        await self.shares.join("us", "0")
        self.tasks.append(asyncio.create_task(self.shares.live()))
        await self.shares.take_free(self)
        self.tasks.append(asyncio.create_task(self.shares.share(self)))

    async def stop(self) -> None:
        await self.freeze()
        await self.shares.leave()
        self.has.clear()

    async def freeze(self) -> None:
        """Stop doing anything, as by SIGSTOP."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def take(self, users: Collection[UserId]) -> None:
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble

    async def taken(self, users: Collection[UserId]) -> None:
        assert all(self.shares.holds(user) for user in users)
        if self.waking is not None:
            trouble, self.waking = self.waking, None
            raise trouble
        self.has.update(users)

    async def give(self, users: Collection[UserId]) -> None:
        assert not any(self.shares.holds(user) for user in users)
        if self.giving is not None:
            trouble, self.giving = self.giving, None
            raise trouble
        self.has.difference_update(users)

    def may_give(self, user: UserId) -> bool:
        return user not in self.busy

    async def run(self, errand: Errand) -> None:
        self.did.append(errand)


class World:
    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.stack = stack

    async def process(self) -> Process:
        database = await Database.open(self.url)
        vitals = await Database.open(self.url, size=2, instance=database.instance)
        self.stack.push_async_callback(database.close)
        self.stack.push_async_callback(vitals.close)
        process = Process(database, vitals)
        self.stack.push_async_callback(process.freeze)
        await process.start()
        return process

    async def users(self, number: int, logins: int = 1) -> list[UserId]:
        """Users with logins, whom nobody has yet."""
        database = await Database.open(self.url)
        users = [UserId(f"@u{n}:example.org") for n in range(number)]
        try:
            store = LoginStore(database)
            for user in users:
                for login in range(logins):
                    row = await store.reserve(user, NETWORK, ContactId(f"{login}"), "x")
                    await store.activate(row, b"sealed")
            async with database.connection() as connection:
                await connection.execute(
                    "INSERT INTO share (user_id) SELECT unnest($1::text[])", users
                )
        finally:
            await database.close()
        return users


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(database_url, stack)


async def within(seconds: float, condition: Callable[[], bool]) -> None:
    """Return once ``condition`` holds; fail when that takes longer."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.02)


async def until_even(processes: list[Process], users: Collection[UserId]) -> None:
    """Return once every user is had by one process, and all have the same number or one more."""

    def even() -> bool:
        counts = [len(process.has) for process in processes]
        return sum(counts) == len(users) and max(counts) - min(counts) <= 1

    await within(60, even)
    had = [user for process in processes for user in process.has]
    assert sorted(had) == sorted(users)


async def test_three_processes_share_a_thousand_logins_evenly(world: World) -> None:
    users = await world.users(1000)
    first = await world.process()
    assert first.has == set(users)
    second, third = await world.process(), await world.process()
    await until_even([first, second, third], users)
    await second.stop()
    await until_even([first, third], users)


async def test_users_with_several_logins_are_shared_by_their_logins(world: World) -> None:
    users = await world.users(9, logins=3)
    first, second = await world.process(), await world.process()
    await within(
        60, lambda: 4 <= len(second.has) <= 5 and len(first.has) + len(second.has) == len(users)
    )


async def test_one_that_is_silent_is_taken_over_and_may_not_act_by_then(world: World) -> None:
    users = await world.users(10)
    first, second = await world.process(), await world.process()
    await until_even([first, second], users)
    # Both are one process of this machine, so that only silence tells.
    await second.freeze()
    refusals: list[str | None] = []
    taken = first.taken

    async def note(users: Collection[UserId]) -> None:
        refusals.append(second.shares.refusal())
        await taken(users)

    first.taken = note  # type: ignore[method-assign]
    await within(60, lambda: len(first.has) == len(users))
    assert set(refusals) == {phrase("process-keeps-still")}
    with pytest.raises(StorageError):
        await second.shares.adopt([UserId("@late:example.org")])
    with pytest.raises(Buried):
        await second.shares.live()


async def test_a_user_who_is_in_the_middle_of_something_stays(world: World) -> None:
    users = await world.users(4)
    first = await world.process()
    first.busy = set(users[:3])
    second = await world.process()
    await within(60, lambda: second.has == {users[3]})
    first.busy = set()
    await until_even([first, second], users)


@pytest.mark.parametrize("step", ["trouble", "waking"])
async def test_users_that_could_not_be_taken_are_not_lost(world: World, step: str) -> None:
    users = await world.users(3)
    database = await Database.open(world.url)
    vitals = await Database.open(world.url, instance=database.instance)
    world.stack.push_async_callback(database.close)
    world.stack.push_async_callback(vitals.close)
    process = Process(database, vitals)
    world.stack.push_async_callback(process.freeze)
    setattr(process, step, StorageError("The database is away.", retry_after=1.0))
    with pytest.raises(StorageError):
        await process.start()
    process.tasks.append(asyncio.create_task(process.shares.share(process)))
    await until_even([process], users)


async def test_users_that_could_not_be_given_are_ended_before_others_have_them(
    world: World,
) -> None:
    users = await world.users(4)
    first = await world.process()
    first.giving = StorageError("The database is away.", retry_after=1.0)
    second = await world.process()
    await until_even([first, second], users)
    assert not first.has & second.has


async def test_errands_reach_whoever_has_the_user(world: World) -> None:
    users = await world.users(2)
    first, second = await world.process(), await world.process()
    await until_even([first, second], users)
    errand = Errand(next(iter(second.has)), "room", "!room:example.org")
    await first.shares.leave_errands([errand])
    await within(60, lambda: second.did == [errand])
    assert first.did == []


async def test_a_new_user_belongs_to_who_met_them(world: World) -> None:
    first, second = await world.process(), await world.process()
    user = UserId("@new:example.org")
    await asyncio.gather(first.shares.adopt([user]), second.shares.adopt([user]))
    assert first.shares.holds(user) is not second.shares.holds(user)


async def test_another_bridge_is_told_whose_database_it_is(world: World) -> None:
    process = await world.process()
    database = await Database.open(world.url)
    world.stack.push_async_callback(database.close)
    other = Process(database, database)
    world.stack.push_async_callback(other.freeze)
    with pytest.raises(AdminError, match=r"us.*database\.url"):
        await other.shares.join("another bridge", "0")
    assert process.shares.refusal() is None
    process.clock_ahead = ACTS * LEASE + 0.1
    assert process.shares.refusal() == phrase("process-keeps-still")


async def test_who_is_erased_is_had_by_nobody_and_all_are_told(world: World) -> None:
    users = await world.users(2)
    first, second = await world.process(), await world.process()
    await until_even([first, second], users)
    [user] = first.has
    erasures = ErasureStore(first.database)
    await erasures.ask(user, user, "bot")
    [erasure] = await erasures.pending()
    await first.shares.forget(user, first, lambda: erasures.erase(erasure, "erased 1"))
    assert not first.has
    assert not first.shares.holds(user)
    told = Errand(second.shares._store.id, FORGOTTEN, user)
    await within(60, lambda: told in second.did)
    # they come again, as somebody with whom the bridge never had to do
    await second.shares.adopt([user])
    assert second.shares.holds(user)
    assert not first.shares.holds(user)


async def test_an_erasure_that_is_cut_short_leaves_the_user_to_somebody(world: World) -> None:
    [user] = await world.users(1)
    first = await world.process()
    await within(60, lambda: user in first.has)

    async def fails() -> None:
        assert not first.shares.holds(user)
        raise StorageError("It is away.")

    with pytest.raises(StorageError):
        await first.shares.forget(user, first, fails)
    assert not first.has
    await within(60, lambda: user in first.has)  # and is told again that something waits
