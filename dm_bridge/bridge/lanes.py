"""Lanes: work that is in order within a key and concurrent between keys.

The rule that must never break: one key's trouble, however long it lasts, delays no other key. The
database says what is to be done; a lane is only woken, so nothing is lost when one dies.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Generic, TypeVar

import structlog

from dm_bridge.errors import BridgeError

log = structlog.get_logger(__name__)

K = TypeVar("K")

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
GRACE = 5.0


class Lanes(Generic[K]):
    """Runs ``drain(key)``, which works until nothing is left, whenever a key is woken.

    When ``drain`` raises, the lane pauses (``retry_after`` of the error, or exponential with jitter, at
    most a minute) and runs it again. ``on_pause(key, reason)`` is run at each pause; it does not raise.
    """

    def __init__(
        self,
        name: str,
        drain: Callable[[K], Awaitable[None]],
        on_pause: Callable[[K, str], Awaitable[None]] | None = None,
    ) -> None:
        self._name = name
        self._drain = drain
        self._on_pause = on_pause
        self.pausing = 0
        """How many lanes pause now."""
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._woken: dict[K, asyncio.Event] = {}
        self._leaving: set[K] = set()
        self._running = False
        self.stopping = False

    def start(self) -> None:
        """From now on, a key that is woken runs; before, waking has no effect."""
        self._running = True

    def nudge(self) -> None:
        """Whoever pauses after trouble may try again: the trouble may be over."""
        for woken in self._woken.values():
            woken.set()

    @property
    def keys(self) -> Collection[K]:
        """Whose ``drain`` runs, or pauses."""
        return self._tasks.keys()

    def ends(self, key: K) -> bool:
        """Whether ``drain(key)`` is to return after the piece of work that it is about."""
        return self.stopping or key in self._leaving

    def wake(self, key: K) -> None:
        """Make sure that ``drain(key)`` runs from its start, soon, once more."""
        if not self._running or key in self._leaving:
            return
        if key in self._tasks:
            self._woken[key].set()
            return
        self._woken[key] = asyncio.Event()
        task = asyncio.create_task(self._run(key), name=f"{self._name}: {key}")
        self._tasks[key] = task

    async def stop(self) -> None:
        """Let every lane finish what it is about, `GRACE` seconds at most; then cancel it.

        ``drain`` asks `ends` between two pieces of work. What is not finished still waits in the
        database.
        """
        self._running = False
        self.stopping = True
        await self._end(list(self._tasks))

    async def end(self, keys: Collection[K]) -> None:
        """The same for some keys, which can be woken again afterwards."""
        leaving = [key for key in keys if key in self._tasks]
        self._leaving.update(leaving)
        try:
            await self._end(leaving)
        finally:
            self._leaving.difference_update(leaving)

    async def _end(self, keys: Collection[K]) -> None:
        for key in keys:
            self._woken[key].set()
        tasks = [self._tasks[key] for key in keys]
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: K) -> None:
        woken = self._woken[key]
        failures = 0
        try:
            while not self.ends(key):
                woken.clear()
                try:
                    await self._drain(key)
                    failures = 0
                except BridgeError as error:
                    failures += 1
                    await self._pause(key, error.retry_after, failures, str(error))
                    continue
                except Exception:
                    failures += 1
                    log.exception("a lane met an error of our own", lane=self._name)
                    await self._pause(key, None, failures, "an error of our own")
                    continue
                if not woken.is_set():
                    return
        finally:
            del self._tasks[key]
            del self._woken[key]

    async def _pause(self, key: K, retry_after: float | None, failures: int, reason: str) -> None:
        backoff = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
        pause = max(retry_after or 0.0, backoff * random.uniform(0.5, 1))  # noqa: S311
        if self.ends(key):
            return
        log.warning("a lane pauses", lane=self._name, seconds=round(pause, 1), reason=reason)
        woken = self._woken[key]
        woken.clear()
        self.pausing += 1
        try:
            async with asyncio.timeout(pause):
                if self._on_pause is not None:
                    await self._on_pause(key, reason)
                await woken.wait()
                if not self.ends(key):
                    await asyncio.sleep(min(pause, FIRST_PAUSE))
        except TimeoutError:
            pass
        finally:
            self.pausing -= 1
