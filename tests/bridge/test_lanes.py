"""Lanes: in order within a key, side by side between keys, and never given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from dm_bridge.bridge import lanes as module
from dm_bridge.bridge.lanes import Lanes
from dm_bridge.errors import (
    BridgeError,
    HomeserverAway,
    HomeserverError,
    NetworkError,
    NotYet,
    StorageError,
)

from .fakes import until


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(module, "GRACE", 0.2)


class Work:
    """A drain that records its runs; ``doing`` is what each run does."""

    def __init__(self, doing: Callable[[str, int], Awaitable[None]]) -> None:
        self.runs: list[str] = []
        self.at_once: dict[str, int] = {}
        self.most_at_once = 0
        self._doing = doing

    async def drain(self, key: str) -> None:
        self.runs.append(key)
        self.at_once[key] = self.at_once.get(key, 0) + 1
        assert self.at_once[key] == 1, "two runs of one key at the same time"
        self.most_at_once = max(self.most_at_once, sum(self.at_once.values()))
        try:
            await self._doing(key, self.runs.count(key))
        finally:
            self.at_once[key] -= 1


async def nothing(key: str, run: int) -> None:
    await asyncio.sleep(0)


async def test_a_key_runs_when_it_is_woken_and_only_then() -> None:
    work = Work(nothing)
    lanes: Lanes[str] = Lanes("test", work.drain)
    lanes.wake("too early")
    lanes.start()
    await asyncio.sleep(0.02)
    assert work.runs == []
    lanes.wake("a")
    await until(lambda: work.runs == ["a"])
    await asyncio.sleep(0.02)
    lanes.wake("a")
    await until(lambda: work.runs == ["a", "a"])
    await lanes.stop()


async def test_many_wakes_while_a_key_runs_make_one_more_run() -> None:
    gate = asyncio.Event()

    async def wait(key: str, run: int) -> None:
        if run == 1:
            await gate.wait()

    work = Work(wait)
    lanes: Lanes[str] = Lanes("test", work.drain)
    lanes.start()
    lanes.wake("a")
    await until(lambda: work.runs == ["a"])
    for _ in range(100):
        lanes.wake("a")
    gate.set()
    await until(lambda: work.runs == ["a", "a"])
    await asyncio.sleep(0.05)
    assert work.runs == ["a", "a"]
    await lanes.stop()


async def test_a_key_that_hangs_delays_no_other() -> None:
    async def hang_a(key: str, run: int) -> None:
        if key == "a":
            await asyncio.Event().wait()

    work = Work(hang_a)
    lanes: Lanes[str] = Lanes("test", work.drain)
    lanes.start()
    for key in ("a", "b", "c"):
        lanes.wake(key)
    await until(lambda: set(work.runs) == {"a", "b", "c"})
    await lanes.stop()


async def test_keys_run_side_by_side() -> None:
    gate = asyncio.Event()

    async def wait(key: str, run: int) -> None:
        await gate.wait()

    work = Work(wait)
    lanes: Lanes[str] = Lanes("test", work.drain)
    lanes.start()
    for number in range(50):
        lanes.wake(str(number))
    await until(lambda: work.most_at_once == 50)
    gate.set()
    await lanes.stop()


@pytest.mark.parametrize(
    "error",
    [
        HomeserverError("busy", retry_after=0.01),
        HomeserverError("refused"),
        StorageError("away", retry_after=0.0),
        RuntimeError("a bug"),
    ],
    ids=["retry", "final", "storage", "bug"],
)
async def test_a_run_that_fails_is_run_again_until_it_succeeds(error: Exception) -> None:
    async def fail_thrice(key: str, run: int) -> None:
        if run <= 3:
            raise error

    work = Work(fail_thrice)
    lanes: Lanes[str] = Lanes("test", work.drain)
    lanes.start()
    lanes.wake("a")
    await until(lambda: len(work.runs) == 4)
    await asyncio.sleep(0.1)
    assert len(work.runs) == 4
    await lanes.stop()


async def test_the_pause_that_an_error_asks_for_is_kept_unless_somebody_knows_better() -> None:
    async def fail_once(key: str, run: int) -> None:
        if run == 1:
            raise HomeserverError("slow down", retry_after=30)

    work = Work(fail_once)
    lanes: Lanes[str] = Lanes("test", work.drain)
    lanes.start()
    lanes.wake("a")
    await until(lambda: work.runs == ["a"])
    await asyncio.sleep(0.2)
    assert work.runs == ["a"]
    lanes.resume(["a", "b"])
    await until(lambda: work.runs == ["a", "a"])
    await lanes.stop()


async def test_who_waits_for_something_else_to_come_first_looks_again_at_the_same_pace() -> None:
    async def wait(key: str, run: int) -> None:
        if run <= 8:
            raise NotYet("Something else comes first.", 0.02)

    work = Work(wait)
    lanes: Lanes[str] = Lanes("test", work.drain)
    lanes.start()
    began = time.monotonic()
    lanes.wake("a")
    await until(lambda: len(work.runs) == 9)
    assert 8 * 0.02 <= time.monotonic() - began < 30
    await lanes.stop()


async def test_a_wake_during_a_failing_run_is_not_lost() -> None:
    lanes: Lanes[str]

    async def fail_while_woken(key: str, run: int) -> None:
        if run == 1:
            lanes.wake("a")
            raise StorageError("away", retry_after=0.01)

    work = Work(fail_while_woken)
    lanes = Lanes("test", work.drain)
    lanes.start()
    lanes.wake("a")
    await until(lambda: len(work.runs) >= 2)
    await lanes.stop()


async def test_stopping_cancels_what_runs_and_what_pauses_and_starts_nothing_new() -> None:
    cancelled: list[str] = []

    async def hang_or_fail(key: str, run: int) -> None:
        if key == "failing":
            raise StorageError("away", retry_after=60)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(key)
            raise

    work = Work(hang_or_fail)
    lanes: Lanes[str] = Lanes("test", work.drain)
    lanes.start()
    lanes.wake("hanging")
    lanes.wake("failing")
    await until(lambda: len(work.runs) == 2)
    before = asyncio.all_tasks()
    await asyncio.wait_for(lanes.stop(), 20)
    assert cancelled == ["hanging"]
    lanes.wake("late")
    await asyncio.sleep(0.05)
    assert len(work.runs) == 2
    assert not [task for task in before if task.get_name().startswith("test: ") and not task.done()]


async def test_stopping_lets_a_lane_finish_what_it_is_about() -> None:
    finished: list[str] = []
    began = asyncio.Event()

    async def slowly(key: str) -> None:
        for n in range(3):
            if lanes.stopping:
                return
            began.set()
            await asyncio.sleep(0.05)
            finished.append(f"{key}{n}")

    lanes: Lanes[str] = Lanes("test", slowly)
    lanes.start()
    lanes.wake("a")
    await began.wait()
    await lanes.stop()
    assert finished == ["a0"]


async def test_stopping_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.05)
    stuck = Work(lambda key, run: asyncio.sleep(60))
    lanes: Lanes[str] = Lanes("test", stuck.drain)
    lanes.start()
    lanes.wake("a")
    await until(lambda: stuck.runs == ["a"])
    async with asyncio.timeout(20):
        await lanes.stop()


async def test_stopping_ends_a_pause_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 30.0)
    monkeypatch.setattr(module, "FIRST_PAUSE", 30.0)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 30.0)

    async def fail(key: str, run: int) -> None:
        raise StorageError("down", retry_after=30.0)

    work = Work(fail)
    lanes: Lanes[str] = Lanes("test", work.drain)
    lanes.start()
    lanes.wake("a")
    await until(lambda: work.runs == ["a"])
    async with asyncio.timeout(20):
        await lanes.stop()
    assert work.runs == ["a"]


async def test_pauses_are_told_with_their_reason_and_the_lanes_that_pause_now_are_counted() -> None:
    pauses: list[tuple[str, str]] = []

    async def paused(key: str, reason: str) -> None:
        pauses.append((key, reason))

    async def twice_in_vain(key: str, run: int) -> None:
        if run == 1:
            raise HomeserverError("Not now.", retry_after=0.05)
        if run == 2:
            raise RuntimeError("odd")

    lanes: Lanes[str] = Lanes("test", Work(twice_in_vain).drain, paused)
    lanes.start()
    lanes.wake("a")
    await until(lambda: lanes.pausing == 1)
    await until(lambda: len(pauses) == 2)
    await until(lambda: lanes.pausing == 0)
    await lanes.stop()
    assert pauses == [("a", "Not now."), ("a", "an error of our own")]


async def test_telling_of_a_pause_does_not_make_it_longer() -> None:
    async def for_ever(_key: str, _reason: str) -> None:
        await asyncio.Event().wait()

    async def once_in_vain(_key: str, run: int) -> None:
        if run == 1:
            raise HomeserverError("Not now.", retry_after=0.05)

    work = Work(once_in_vain)
    lanes: Lanes[str] = Lanes("test", work.drain, for_ever)
    lanes.start()
    lanes.wake("a")
    await until(lambda: work.runs == ["a", "a"])
    await lanes.stop()


def tasks_of(name: str) -> int:
    return sum(task.get_name().startswith(f"{name}: ") for task in asyncio.all_tasks())


def away(error: BridgeError) -> bool:
    return isinstance(error, HomeserverAway)


async def test_no_more_drains_run_at_once_than_allowed_and_the_others_come_in_their_order() -> None:
    gate = asyncio.Event()

    async def wait(key: str, run: int) -> None:
        await gate.wait()

    work = Work(wait)
    lanes: Lanes[str] = Lanes("bounded", work.drain, at_once=3)
    lanes.start()
    keys = [str(number) for number in range(20)]
    for key in keys:
        lanes.wake(key)
    await until(lambda: len(work.runs) == 3)
    assert tasks_of("bounded") == 3
    assert set(lanes.keys) == set(keys)
    gate.set()
    await until(lambda: len(work.runs) == 20)
    assert work.runs == keys
    assert work.most_at_once == 3
    await lanes.stop()


async def test_a_long_backlog_makes_way_for_who_waits_and_goes_on_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TURN", 0.01)
    left = {"long": 50, "short": 1}
    order: list[str] = []
    lanes: Lanes[str]

    async def carry(key: str) -> None:
        while left[key]:
            await asyncio.sleep(0.002)
            left[key] -= 1
            order.append(key)
            if lanes.ends(key):
                return

    lanes = Lanes("test", carry, at_once=1)
    lanes.start()
    lanes.wake("long")
    lanes.wake("short")
    await until(lambda: not any(left.values()))
    await lanes.stop()
    assert order.index("short") < 40
    assert order.count("long") == 50


async def test_through_an_outage_one_key_tries_for_all_and_nobody_else_has_a_task() -> None:
    reachable = False
    done: list[str] = []

    async def reach(key: str, run: int) -> None:
        await asyncio.sleep(0)
        if not reachable:
            raise HomeserverAway("It cannot be reached.", "http://hs")
        done.append(key)

    work = Work(reach)
    lanes: Lanes[str] = Lanes("outage", work.drain, outage=away)
    lanes.start()
    keys = [str(number) for number in range(500)]
    for key in keys:
        lanes.wake(key)
    await until(lambda: len(work.runs) >= 500)
    for number in range(500, 1000):
        lanes.wake(str(number))
    before = len(work.runs)
    await until(lambda: len(work.runs) >= before + 3)
    tried = work.runs[before:]
    assert set(tried) == {tried[0]}
    assert tasks_of("outage") <= 1
    assert lanes.pausing >= 999
    reachable = True
    await until(lambda: len(done) == 1000)
    assert sorted(done) == sorted(str(number) for number in range(1000))
    assert lanes.pausing == 0
    await lanes.stop()


async def test_after_an_outage_who_tried_for_all_makes_way_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TURN", 0.01)
    reachable = False
    left = {"long": 50, "short": 1}
    order: list[str] = []
    lanes: Lanes[str]

    async def carry(key: str) -> None:
        while left[key]:
            if not reachable:
                raise HomeserverAway("It cannot be reached.", "http://hs")
            await asyncio.sleep(0.002)
            left[key] -= 1
            order.append(key)
            if lanes.ends(key):
                return

    lanes = Lanes("test", carry, outage=away)
    lanes.start()
    lanes.wake("long")
    await asyncio.sleep(0.01)
    lanes.wake("short")
    reachable = True
    await until(lambda: not any(left.values()))
    await lanes.stop()
    assert order.index("short") < 40


async def test_an_answer_of_any_kind_ends_an_outage() -> None:
    runs = 0

    async def answer(key: str, run: int) -> None:
        nonlocal runs
        runs += 1
        if runs <= 3:
            raise HomeserverAway("It cannot be reached.", "http://hs")
        if runs == 4:
            raise HomeserverError("busy", status=500, retry_after=30)

    work = Work(answer)
    lanes: Lanes[str] = Lanes("test", work.drain, outage=away)
    lanes.start()
    for key in ("a", "b", "c"):
        lanes.wake(key)
    await until(lambda: runs == 6)
    assert lanes.pausing == 1
    await lanes.stop()


async def test_what_leaves_through_an_outage_or_a_pause_is_not_run_again() -> None:
    async def fail(key: str, run: int) -> None:
        if key == "pausing":
            raise HomeserverError("busy", retry_after=30)
        raise HomeserverAway("It cannot be reached.", "http://hs")

    work = Work(fail)
    lanes: Lanes[str] = Lanes("test", work.drain, outage=away)
    lanes.start()
    for key in ("pausing", "a", "b"):
        lanes.wake(key)
    await until(lambda: len(work.runs) >= 3 and lanes.pausing == 3)
    await lanes.end(["a", "b", "pausing"])
    assert list(lanes.keys) == []
    runs = len(work.runs)
    await asyncio.sleep(0.1)
    assert len(work.runs) == runs
    await lanes.stop()


async def test_pauses_take_no_tasks() -> None:
    async def fail(key: str, run: int) -> None:
        raise HomeserverError("busy", retry_after=30)

    lanes: Lanes[str] = Lanes("pausing", Work(fail).drain)
    lanes.start()
    for number in range(100):
        lanes.wake(str(number))
    await until(lambda: lanes.pausing == 100)
    await until(lambda: tasks_of("pausing") == 0)
    assert len(lanes.keys) == 100
    await lanes.stop()


async def test_what_is_resumed_while_it_still_runs_does_not_pause_for_long() -> None:
    """The trouble is over before the drain that met it has come to its pause."""
    runs: list[str] = []
    met, go_on = asyncio.Event(), asyncio.Event()

    async def drain(key: str) -> None:
        runs.append(key)
        if len(runs) == 1:
            met.set()
            await go_on.wait()
            raise NetworkError("It is not connected.", retry_after=30.0)

    lanes: Lanes[str] = Lanes("test", drain)
    lanes.start()
    lanes.wake("a")
    await met.wait()
    lanes.resume(["a"])
    go_on.set()
    await until(lambda: runs == ["a", "a"])
    await lanes.stop()
