"""A simulated process that stands still does nothing; when it goes on, it knows nothing of that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from dm_bridge.testing.life import Life, task_factory
from dm_bridge.testing.virtual_time import VirtualLoop, run_virtually


def play(story: Callable[[VirtualLoop], Coroutine[Any, Any, Any]]) -> Any:
    loop = VirtualLoop()
    loop.set_task_factory(cast(Any, task_factory))
    return run_virtually(story(loop), loop)


def counting(loop: VirtualLoop, at: list[float]) -> Coroutine[Any, Any, None]:
    async def count() -> None:
        while True:
            await asyncio.sleep(1.0)
            at.append(loop.time())

    return count()


def test_a_process_that_stands_still_does_nothing_and_goes_on() -> None:
    async def story(loop: VirtualLoop) -> tuple[list[float], list[float]]:
        frozen, other = Life(), Life()
        mine: list[float] = []
        theirs: list[float] = []
        frozen.start(counting(loop, mine))
        other.start(counting(loop, theirs))
        await asyncio.sleep(2.5)
        frozen.freeze(loop)
        begun = frozen.start(asyncio.sleep(0.1))
        await asyncio.sleep(5.0)
        assert not begun.done()
        frozen.thaw()
        await asyncio.sleep(1.8)
        assert begun.done()
        return mine, theirs

    mine, theirs = play(story)
    assert mine == [1.0, 2.0, 7.5, 8.5]
    assert theirs == [float(second) for second in range(1, 10)]


def test_a_process_that_stands_still_can_be_killed() -> None:
    async def story(loop: VirtualLoop) -> list[float]:
        life = Life()
        at: list[float] = []
        task = life.start(counting(loop, at))
        await asyncio.sleep(1.5)
        life.freeze(loop)
        await asyncio.sleep(3.0)
        life.kill()
        await asyncio.wait([task])
        assert task.cancelled()
        life.thaw()
        await asyncio.sleep(3.0)
        return at

    assert play(story) == [1.0]
