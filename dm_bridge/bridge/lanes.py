"""Lanes: work that is in order within a key and concurrent between keys.

A key whose drain runs has a task; one that waits has none: neither for its turn, nor through a pause after
trouble, nor while nobody can be reached. So `AT_ONCE` bounds the memory, however many keys have something waiting.

While nobody can be reached (an *outage*: the homeserver refuses connections) every key waits for the same thing.
Then one of them tries, now and then, for all; when it gets through, all go on, in the order in which they came.

The rule that must never break: one key's trouble, however long it lasts, delays no other key, and one key's
backlog delays no other key for longer than `TURN`. The database says what is to be done; a lane is only woken, so
nothing is lost when one dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Collection
from typing import Generic, TypeVar

import structlog

from dm_bridge.errors import BridgeError, NotYet, StorageError
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

K = TypeVar("K")

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
LONGEST_OUTAGE_PAUSE = 10.0
"""Seconds between two tries, at most, while nobody can be reached."""
GRACE = 5.0
AT_ONCE = 1000
"""Keys whose drains run at once."""
TURN = 1.0
"""Seconds after which a drain makes way when others wait for their turn."""


class Lanes(Generic[K]):
    """Runs ``drain(key)``, which works until nothing is left or `ends`, whenever a key is woken.

    When ``drain`` raises, the lane pauses (``retry_after`` of the error, or exponential with jitter, at
    most a minute) and runs it again; after `NotYet`, every so many seconds as it says.
    ``on_pause(key, reason)`` is run at each other pause; it does not raise.
    ``outage``: whether an error means that nobody can be reached, so that no other key needs to try.
    """

    def __init__(
        self,
        name: str,
        drain: Callable[[K], Awaitable[None]],
        on_pause: Callable[[K, str], Awaitable[None]] | None = None,
        outage: Callable[[BridgeError], bool] = lambda error: False,
        at_once: int = AT_ONCE,
    ) -> None:
        self._name = name
        self._drain = drain
        self._on_pause = on_pause
        self._outage = outage
        self._at_once = at_once
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._began: dict[K, float] = {}
        self._woken: set[K] = set()  # of those that run: to be run once more
        self._queue: dict[K, None] = {}  # in the order in which they came
        self._paused: dict[K, tuple[asyncio.TimerHandle, float]] = {}
        self._telling: set[K] = set()
        self._failures: dict[K, int] = {}
        self._held: dict[K, None] = {}  # through an outage, in the order in which they came
        self._tries: int = 0  # since the outage began; 0: there is none
        self._next_try: asyncio.TimerHandle | None = None
        self._leaving: set[K] = set()
        self._running = False
        self.stopping = False

    def start(self) -> None:
        """From now on, a key that is woken runs; before, waking has no effect."""
        self._running = True

    def resume(self, keys: Collection[K]) -> None:
        """Those of these keys that pause after trouble, or are about to, may try again: it is over, it seems."""
        for key in keys:
            if key in self._paused:
                self._paused.pop(key)[0].cancel()
                self.wake(key)
            elif key in self._tasks:
                self._woken.add(key)

    @property
    def pausing(self) -> int:
        """How many keys pause now, or wait for the end of an outage."""
        return len(self._paused) + len(self._telling) + len(self._held)

    @property
    def keys(self) -> Collection[K]:
        """Whose ``drain`` runs, or will."""
        return [*self._tasks, *self._queue, *self._paused, *self._held]

    def ends(self, key: K) -> bool:
        """Whether ``drain(key)`` is to return after the piece of work that it is about."""
        if self.stopping or key in self._leaving:
            return True
        if (self._queue or self._held) and asyncio.get_running_loop().time() - self._began.get(
            key, 0.0
        ) > TURN:
            self._woken.add(key)  # it goes on when the others had their turn
            return True
        return False

    def wake(self, key: K) -> None:
        """Make sure that ``drain(key)`` runs from its start, soon, once more."""
        if not self._running or key in self._leaving:
            return
        if key in self._tasks:
            self._woken.add(key)
        elif key in self._paused:
            self._hurry(key)
        elif self._tries:
            self._held.setdefault(key)
        else:
            self._queue.setdefault(key)
            self._fill()

    async def stop(self) -> None:
        """Let every lane finish what it is about, `GRACE` seconds at most; then cancel it.

        ``drain`` asks `ends` between two pieces of work. What is not finished still waits in the
        database.
        """
        self._running = False
        self.stopping = True
        if self._next_try is not None:
            self._next_try.cancel()
        await self._end(self.keys)

    async def end(self, keys: Collection[K]) -> None:
        """The same for some keys, which can be woken again afterwards."""
        known = set(self.keys)
        leaving = [key for key in keys if key in known]
        self._leaving.update(leaving)
        try:
            await self._end(leaving)
        finally:
            self._leaving.difference_update(leaving)

    async def _end(self, keys: Collection[K]) -> None:
        for key in keys:
            self._queue.pop(key, None)
            self._held.pop(key, None)
            if key in self._paused:
                self._paused.pop(key)[0].cancel()
            self._failures.pop(key, None)
        tasks = [self._tasks[key] for key in keys if key in self._tasks]
        for key in self._telling.intersection(keys):
            self._tasks[key].cancel()  # it is only told that the key pauses
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- turns

    def _fill(self) -> None:
        while self._queue and len(self._tasks) < self._at_once:
            key = next(iter(self._queue))
            del self._queue[key]
            self._begin(key)

    def _begin(self, key: K) -> None:
        self._woken.discard(key)
        self._began[key] = asyncio.get_running_loop().time()
        self._tasks[key] = asyncio.create_task(self._run(key), name=f"{self._name}: {key}")

    async def _run(self, key: K) -> None:
        pause: float | None = None
        try:
            try:
                await self._drain(key)
            except NotYet as error:
                pause = error.seconds
                log.debug("a lane waits", lane=self._name, seconds=pause, reason=str(error))
            except BridgeError as error:
                if self._outage(error):
                    self._hold(key, str(error))
                    return
                if not isinstance(error, StorageError):
                    self._over()
                pause = await self._failed(key, error.retry_after, str(error))
            except Exception:
                log.exception("a lane met an error of our own", lane=self._name)
                pause = await self._failed(key, None, phrase("delivery-our-error"))
            else:
                self._failures.pop(key, None)
                self._over()
        finally:
            del self._tasks[key], self._began[key]
            again = key in self._woken
            self._woken.discard(key)
            if self.stopping or key in self._leaving:
                self._held.pop(key, None)
            elif pause is not None:
                self._pause(key, min(pause, FIRST_PAUSE) if again else pause)
            elif again:
                self.wake(key)
            self._fill()
            self._try_later()

    # -- pauses

    async def _failed(self, key: K, retry_after: float | None, reason: str) -> float:
        """Say that a key pauses; returns for how many more seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        backoff = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
        pause: float = max(retry_after or 0.0, backoff * random.uniform(0.5, 1))  # noqa: S311
        if self.stopping or key in self._leaving:
            return pause
        log.warning("a lane pauses", lane=self._name, seconds=round(pause, 1), reason=reason)
        began = asyncio.get_running_loop().time()
        await self._tell(key, reason, pause)
        return max(0.0, pause - (asyncio.get_running_loop().time() - began))

    async def _tell(self, key: K, reason: str, within: float) -> None:
        if self._on_pause is None:
            return
        self._telling.add(key)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._on_pause(key, reason)
        finally:
            self._telling.discard(key)

    def _pause(self, key: K, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._paused[key] = loop.call_later(seconds, self._go_on, key), loop.time() + seconds

    def _hurry(self, key: K) -> None:
        timer, until = self._paused[key]
        left = until - asyncio.get_running_loop().time()
        if left > FIRST_PAUSE:
            timer.cancel()
            self._pause(key, FIRST_PAUSE)

    def _go_on(self, key: K) -> None:
        del self._paused[key]
        self.wake(key)

    # -- outages

    def _hold(self, key: K, reason: str) -> None:
        """Nobody can be reached: all wait, and one of them tries."""
        if not self._tries:
            self._tries = 1
            log.warning(
                "all lanes wait until somebody can be reached", lane=self._name, reason=reason
            )
        self._held = {key: None, **self._held, **self._queue}
        self._queue.clear()
        self._woken.discard(key)

    def _try_later(self) -> None:
        if not self._tries or self._next_try is not None or self.stopping:
            return
        pause = min(LONGEST_OUTAGE_PAUSE, FIRST_PAUSE * 2.0 ** min(self._tries - 1, 10))
        self._tries += 1
        loop = asyncio.get_running_loop()
        self._next_try = loop.call_later(pause * random.uniform(0.5, 1), self._try_one)  # noqa: S311

    def _try_one(self) -> None:
        self._next_try = None
        if not self._held:
            self._tries = 0
            return
        key = next(key for key in self._held)
        del self._held[key]
        if key in self._tasks:
            self._woken.add(key)
        else:
            self._begin(key)

    def _over(self) -> None:
        """Somebody was reached."""
        if not self._tries:
            return
        log.info(
            "somebody can be reached again; all lanes go on", lane=self._name, n=len(self._held)
        )
        self._tries = 0
        if self._next_try is not None:
            self._next_try.cancel()
            self._next_try = None
        held, self._held = self._held, {}
        for key in held:
            self.wake(key)
