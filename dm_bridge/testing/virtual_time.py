"""An event loop whose clock jumps to the next moment at which something happens, and never waits.

Hours pass in milliseconds, and what happens depends on nothing outside. There is a library for it (looptime),
which patches a loop that waits for real sockets; here there are none, and without system calls a turn of the
loop costs a tenth.

The rule that must never break: time passes only when nothing is ready to run; so whoever runs the same coroutine
twice, with the same random numbers, sees the same history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

MOST_TURNS = 2_000_000
EPOCH = 1_750_000_000.0
"""What a `WallClock` shows when its loop begins, in seconds since the epoch."""


class Stuck(RuntimeError):
    """Nothing can happen any more, or the loop runs without time passing."""


class _NoSelector:
    """Stands in for a selector: instead of waiting, it lets the time pass."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        self._loop.turn(timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """`time` begins at 0. It knows no sockets, signals and subprocesses."""

    def __init__(self, most_turns: int = MOST_TURNS) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = most_turns
        self._selector = _NoSelector(self)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    def turn(self, timeout: float | None) -> None:
        """Let ``timeout`` seconds pass. Raises `Stuck`."""
        self._turns -= 1
        if self._turns < 0:
            raise Stuck("The loop turns and turns: something is repeated for ever.")
        if timeout is None:
            raise Stuck("Nothing can happen any more: everybody waits for somebody else.")
        self._now += timeout

    def _process_events(self, event_list: list[object]) -> None: ...

    def _write_to_self(self) -> None: ...


class WallClock:
    """A clock that people set. ``offset``: by how many seconds it is wrong."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self.offset = 0.0

    def __call__(self) -> float:
        return EPOCH + self._time() + self.offset


def run_virtually(main: Coroutine[Any, Any, T], loop: VirtualLoop | None = None) -> T:
    """What ``main`` returns, run in a loop of its own; what it left behind is cancelled. Raises `Stuck`."""
    loop = loop or VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
