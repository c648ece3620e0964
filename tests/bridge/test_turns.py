"""Work that nothing waits for: gathered, one at a time, and nobody's trouble is another's."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from dm_bridge.bridge.turns import DELAY, LATEST, PAUSE, Turns
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import LoginId
from dm_bridge.testing.virtual_time import run_virtually
from dm_bridge.texts import phrase

ONE, TWO = LoginId("one"), LoginId("two")
WORK = 0.125
AWAY = HomeserverError("Away.", retry_after=1.0)


class Worker:
    """``did``: whose turn it was, and when it began. ``trouble``: what the next turns of a login raise."""

    def __init__(self) -> None:
        self.did: list[tuple[LoginId, float]] = []
        self.trouble: dict[LoginId, list[Exception]] = {}
        self.more: list[LoginId] = []
        self.turns = Turns(self.work)

    async def work(self, login: LoginId) -> bool:
        self.did.append((login, asyncio.get_running_loop().time()))
        await asyncio.sleep(WORK)
        if trouble := self.trouble.get(login):
            raise trouble.pop(0)
        if login in self.more:
            self.more.remove(login)
            return True
        return False


def play(act: Callable[[Worker], Awaitable[None]]) -> Worker:
    """What a worker did while ``act`` went on."""

    async def main() -> Worker:
        worker = Worker()
        task = asyncio.create_task(worker.turns.run())
        await act(worker)
        task.cancel()
        return worker

    return run_virtually(main())


def test_what_changes_at_the_same_time_is_looked_at_once() -> None:
    async def act(worker: Worker) -> None:
        for _ in range(20):  # an import
            worker.turns.note(ONE)
            await asyncio.sleep(1)
        await asyncio.sleep(100)

    assert play(act).did == [(ONE, 19 + DELAY)]


def test_who_never_comes_to_rest_has_turns_all_the_same() -> None:
    async def act(worker: Worker) -> None:
        for _ in range(150):
            worker.turns.note(ONE)
            await asyncio.sleep(1)

    times = [at for _, at in play(act).did]
    assert times[0] == LATEST
    assert len(times) == 2


def test_one_is_at_work_at_a_time_and_others_follow_after_a_pause() -> None:
    async def act(worker: Worker) -> None:
        worker.turns.note(ONE)
        worker.turns.note(TWO)
        worker.more.append(ONE)
        await asyncio.sleep(100)

    worker = play(act)
    first, second, again = worker.did
    assert (first, second) == ((ONE, DELAY), (TWO, DELAY + WORK + PAUSE))
    assert again == (ONE, DELAY + WORK + DELAY)


def test_who_is_waited_for_comes_first_and_is_told_of_trouble() -> None:
    async def act(worker: Worker) -> None:
        for n in range(50):
            worker.turns.note(LoginId(f"other{n}"))
        worker.trouble[ONE] = [HomeserverError("It will not.", status=403)]
        await asyncio.sleep(DELAY + 1)
        await worker.turns.take(ONE, within=2.0)
        assert worker.did[-1][0] == ONE
        assert worker.turns.trouble(ONE) == "It will not."
        await worker.turns.take(ONE, within=2.0)
        assert worker.turns.trouble(ONE) is None
        await asyncio.sleep(100)

    assert len(play(act).did) == 52


def test_whoever_waits_does_not_wait_for_ever() -> None:
    async def act(worker: Worker) -> None:
        await worker.turns.alone.acquire()
        await worker.turns.take(ONE, within=2.0)
        assert asyncio.get_running_loop().time() == 2.0

    play(act)


@pytest.mark.parametrize("error", [AWAY, ValueError("a bug")], ids=["passes", "is ours"])
def test_trouble_of_one_keeps_no_other_from_their_turn(error: Exception) -> None:
    async def act(worker: Worker) -> None:
        worker.trouble[ONE] = [error] * 3
        worker.turns.note(ONE)
        worker.turns.note(TWO)
        await asyncio.sleep(100)
        if error is not AWAY:
            assert worker.turns.trouble(ONE) == phrase("notice-our-mistake")

    worker = play(act)
    assert [login for login, _ in worker.did if login == TWO] == [TWO]
    tries = [at for login, at in worker.did if login == ONE]
    if error is not AWAY:
        assert len(tries) == 1
        return
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert len(pauses) == 3
    assert pauses == sorted(pauses)  # each at least half of twice the one before


def test_who_is_given_away_is_waited_for_and_has_no_turn_any_more() -> None:
    async def act(worker: Worker) -> None:
        worker.turns.note(ONE)
        worker.turns.note(TWO)
        await asyncio.sleep(DELAY + WORK / 2)
        worker.turns.forget(ONE)
        worker.turns.forget(TWO)
        await worker.turns.ended({ONE, TWO})
        assert asyncio.get_running_loop().time() == DELAY + WORK
        await asyncio.sleep(100)

    assert [login for login, _ in play(act).did] == [ONE]
