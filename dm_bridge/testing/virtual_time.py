"""An event loop whose clock jumps to the next moment at which something happens, and never waits.

Hours pass in milliseconds, and what happens depends on nothing outside. There is a library for it (looptime),
which patches a loop that waits for real sockets; here there are none, and without system calls a turn of the
loop costs a tenth.

The rule that must never break: time passes only when nothing is ready to run; so whoever runs the same coroutine
twice, with the same random numbers, sees the same history.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context
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


class _Hold:
    """A part of the loop that does not run, and what waits for that it does."""

    def __init__(self, which: Callable[[Context], bool]) -> None:
        self._which = which
        self.ready: list[asyncio.Handle] = []
        self.timers: list[asyncio.TimerHandle] = []

    def takes(self, handle: asyncio.Handle) -> bool:
        taken = self._which(_context(handle))
        if taken:
            self.ready.append(handle)
        return taken


def _context(handle: Any) -> Context:
    context: Context = handle._context
    return context


class VirtualLoop(asyncio.BaseEventLoop):
    """`time` begins at 0. It knows no sockets, signals and subprocesses."""

    def __init__(self, most_turns: int = MOST_TURNS) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = most_turns
        self._selector = _NoSelector(self)
        self._ready: Any  # what is to run now, and what later: asyncio's own
        self._scheduled: list[asyncio.TimerHandle]
        self._holds: list[_Hold] = []

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

    def hold(self, which: Callable[[Context], bool]) -> Callable[[], None]:
        """Run nothing in those contexts until what this returns is called; then all of it, late, in its order."""
        hold = _Hold(which)
        ready = list(self._ready)
        self._ready.clear()
        self._ready.extend(handle for handle in ready if not hold.takes(handle))
        timers = self._scheduled[:]
        self._scheduled[:] = [timer for timer in timers if not which(_context(timer))]
        heapq.heapify(self._scheduled)
        hold.timers = sorted(timer for timer in timers if which(_context(timer)))
        self._holds.append(hold)

        def release() -> None:
            self._holds.remove(hold)
            self._ready.extend(hold.ready)
            for timer in hold.timers:
                heapq.heappush(self._scheduled, timer)

        return release

    def _call_soon(self, *what: Any) -> asyncio.Handle:
        handle: asyncio.Handle = super()._call_soon(*what)  # type: ignore[misc]
        if self._holds and any(hold.takes(handle) for hold in self._holds):
            self._ready.pop()
        return handle

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
