"""Who is watched: the most active, no more than allowed, and none for ever."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from dm_bridge.bridge import watchers as watchers_module
from dm_bridge.bridge.watchers import HELD, MUCH, OF_LATE, REFUSED, STARTS, Watchers
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.matrix.watch import POLL, SHORT_POLL
from tests.observed import until


class FakeWatch:
    """Brings what is put into it; an exception ends it."""

    def __init__(self, account: UserId, opened: float, patience: Callable[[], float]) -> None:
        self.account = account
        self.patience = patience
        self.opened = opened
        self.live = False
        self.closed = False
        self._queue: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    def put(self, content: bytes | Exception) -> None:
        self._queue.put_nowait(content)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.live = True
        try:
            while True:
                content = await self._queue.get()
                if isinstance(content, Exception):
                    raise content
                yield content
        finally:
            self.closed = True


class World:
    """Watchers, with a clock that the test moves."""

    def __init__(self, limit: int, linger: float) -> None:
        self.now = 1000.0
        self.opened: list[FakeWatch] = []
        self.saw: list[tuple[UserId, bytes]] = []
        self.unwanted: set[UserId] = set()
        self.watchers = Watchers(
            self.open,
            lambda account, content: self.saw.append((account, content)),
            lambda account: account not in self.unwanted,
            limit=limit,
            linger=linger,
            clock=lambda: self.now,
        )

    def open(self, account: UserId, patience: Callable[[], float]) -> FakeWatch:
        watch = FakeWatch(account, asyncio.get_running_loop().time(), patience)
        self.opened.append(watch)
        return watch

    def live(self) -> set[UserId]:
        return {watch.account for watch in self.opened if self.watchers.live(watch.account)}

    def last(self, account: UserId) -> FakeWatch:
        return next(watch for watch in reversed(self.opened) if watch.account == account)

    async def expect(self, *accounts: UserId) -> None:
        """Wait until these are watched, and nobody else."""
        await until(lambda: self.live() == set(accounts))


Make = Callable[..., World]


@asynccontextmanager
async def world(limit: int = 3, linger: float = 900) -> AsyncIterator[World]:
    made = World(limit, linger)
    made.watchers.start()
    try:
        yield made
    finally:
        await made.watchers.stop()
        assert all(watch.closed or not watch.live for watch in made.opened)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers_module, "TICK", 0.02)


A, B, C, D = (UserId(f"@{letter}:example.org") for letter in "abcd")


async def test_an_active_account_is_watched_and_what_comes_is_handed_on() -> None:
    async with world() as here:
        assert here.watchers.note(A)
        await here.expect(A)
        here.last(A).put(b"1")
        here.last(A).put(b"2")
        await until(lambda: here.saw == [(A, b"1"), (A, b"2")])
        assert here.watchers.note(A)
        assert len(here.opened) == 1


async def test_a_watch_ends_when_its_account_has_been_quiet_for_long() -> None:
    async with world(linger=900) as here:
        here.watchers.note(A)
        here.watchers.note(B)
        await here.expect(A, B)
        here.now += 800
        here.watchers.note(A)
        here.now += 200
        await here.expect(A)
        await until(lambda: here.last(B).closed)


async def test_a_change_by_anybody_is_activity_but_what_stood_there_is_not() -> None:
    async with world(linger=900) as here:
        for account in (A, B):
            here.watchers.note(account)
        await here.expect(A, B)
        here.now += 800
        here.last(A).put(b"what stood there")
        here.last(B).put(b"what stood there")
        here.last(B).put(b"a change")
        await until(lambda: len(here.saw) == 3)
        here.now += 200
        await here.expect(B)


async def test_no_more_are_watched_than_allowed_and_the_rest_is_told_so() -> None:
    async with world(limit=2) as here:
        assert here.watchers.note(A)
        assert here.watchers.note(B)
        await here.expect(A, B)
        assert not here.watchers.note(C)
        await asyncio.sleep(0.1)
        await here.expect(A, B)


async def test_the_least_active_gives_way_once_it_had_its_time() -> None:
    async with world(limit=2) as here:
        here.watchers.note(A)
        here.now += 1
        here.watchers.note(B)
        await here.expect(A, B)
        here.now += HELD - 5
        here.watchers.note(A)
        here.watchers.note(C)
        await asyncio.sleep(0.1)
        await here.expect(A, B)
        here.now += 10
        await here.expect(A, C)
        await asyncio.sleep(0.1)
        await here.expect(A, C)


async def test_two_who_take_turns_do_not_chase_each_other_away() -> None:
    async with world(limit=1) as here:
        for _ in range(20):
            here.now += 2
            for account in (A, B):
                here.watchers.note(account)
            await asyncio.sleep(0.03)
        assert len(here.opened) <= 2


async def test_an_account_that_is_no_longer_wanted_is_let_go_and_not_taken_up() -> None:
    async with world() as here:
        here.watchers.note(A)
        await here.expect(A)
        here.unwanted |= {A, B}
        here.watchers.note(B)
        await here.expect()
        assert [watch.account for watch in here.opened] == [A]


async def test_an_account_that_cannot_be_watched_is_left_in_peace_for_a_while() -> None:
    async with world() as here:
        here.watchers.note(A)
        await here.expect(A)
        here.last(A).put(HomeserverError("no"))
        await here.expect()
        assert not here.watchers.note(A)
        await asyncio.sleep(0.1)
        assert len(here.opened) == 1
        here.now += REFUSED + 1
        assert here.watchers.note(A)
        await here.expect(A)


async def test_a_fault_in_one_watch_touches_no_other() -> None:
    async with world() as here:
        here.watchers.note(A)
        here.watchers.note(B)
        await here.expect(A, B)
        here.last(A).put(RuntimeError("a bug"))
        await here.expect(B)


async def test_hundreds_who_come_at_once_are_taken_up_at_a_measured_pace() -> None:
    everybody = [UserId(f"@u{number}:example.org") for number in range(500)]
    async with world(limit=400) as here:
        for account in everybody:
            here.watchers.note(account)
        await until(lambda: len(here.opened) > STARTS // 2)
        times = [watch.opened for watch in here.opened]
        assert all(
            later - earlier >= 0.9 / STARTS for earlier, later in itertools.pairwise(times)
        ), "never faster than that, also not when there was no time for it before"
        newest = {watch.account for watch in here.opened}
        assert newest == set(everybody[-len(newest) :]), "the most recent first"


async def test_without_watches_allowed_nobody_is_watched() -> None:
    async with world(limit=0) as here:
        assert not here.watchers.note(A)
        await asyncio.sleep(0.1)
        assert here.opened == []


async def test_an_account_that_grew_quiet_while_it_waited_is_not_watched_any_more() -> None:
    async with world(limit=1, linger=30) as here:
        here.watchers.note(A)
        await here.expect(A)
        here.watchers.note(B)
        here.now += 29
        here.watchers.note(A)
        here.now += 2
        await asyncio.sleep(0.1)
        here.now += 100
        await here.expect()
        assert [watch.account for watch in here.opened] == [A]


async def test_a_watch_waits_the_less_the_more_happened_of_late() -> None:
    async with world() as here:
        here.watchers.happened(A, 1000)  # before anybody watches
        here.watchers.note(A)
        await here.expect(A)
        patience = here.last(A).patience
        assert patience() == 0
        here.now += 20 * OF_LATE
        assert patience() == POLL
        here.watchers.happened(A, int(MUCH) - 1)
        assert patience() == SHORT_POLL
        here.watchers.happened(A, 1)
        assert patience() == 0
        here.now += OF_LATE
        assert patience() == SHORT_POLL
        for _ in range(300):
            here.watchers.happened(A, 1)
            here.now += 0.8
        assert patience() == 0
        for _ in range(300):
            here.watchers.happened(A, 1)
            here.now += 2.0
        assert patience() == SHORT_POLL
        here.now += 10 * OF_LATE
        assert patience() == POLL


async def test_a_watch_that_nobody_wants_any_more_ends_quietly_and_may_begin_again() -> None:
    async with world() as here:
        here.watchers.note(A)
        await here.expect(A)
        with capture_logs() as logs:
            here.unwanted.add(A)
            here.last(A).put(HomeserverError("The bridge may not watch the account."))
            await here.expect()
        assert logs == []
        here.unwanted.clear()
        assert here.watchers.note(A)
        await here.expect(A)


async def test_a_watch_that_is_refused_is_said() -> None:
    async with world() as here:
        here.watchers.note(A)
        await here.expect(A)
        with capture_logs() as logs:
            here.last(A).put(HomeserverError("Forbidden.", status=403))
            await here.expect()
        assert [entry["event"] for entry in logs] == ["m.direct cannot be watched"]
