"""Which accounts are watched over ``/sync``: those that were active last, and no more than allowed.

A watch costs the homeserver something for every event in the account's rooms. So it is told how much happens
there, as far as we know, and watches less closely meanwhile (`dm_bridge.matrix.watch`).

The rule that must never break: never more watches at once than ``limit``, and never more started in a
second than `STARTS` — also not after a restart, when everybody is active.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.matrix.watch import POLL, SHORT_POLL

log = structlog.get_logger(__name__)

STARTS = 20
"""Watches started in a second, at most."""
HELD = 60.0
"""Seconds that a watch is left to an account before another that is more active may have its place."""
REFUSED = 600.0
"""Seconds for which an account is not tried again that the homeserver did not let us watch."""
MAX_WAITING = 10_000
MUCH, SOME = 60.0, 0.01
"""Events of late in the rooms of one account from which on much happens there, or something."""
OF_LATE = 60.0
"""Seconds in which what happened comes to count a third of what it did."""
TICK = 5.0


class Watch(Protocol):
    """One account's watch, as `dm_bridge.matrix.watch.DirectWatch`."""

    @property
    def live(self) -> bool: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Traffic:
    """How much happens in an account's rooms: events, the older the less they count."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._events = 0.0
        self._at = clock()

    def add(self, events: int) -> None:
        """So many events came."""
        self._events, self._at = self._now() + events, self._clock()

    def patience(self) -> float:
        """For how many seconds a watch may wait for a change."""
        events = self._now()
        if events >= MUCH:
            return 0.0
        return SHORT_POLL if events >= SOME else POLL

    def _now(self) -> float:
        return self._events * math.exp((self._at - self._clock()) / OF_LATE)


@dataclass(slots=True)
class _Watched:
    watch: Watch
    task: asyncio.Task[None]
    active: float
    began: float


class Watchers:
    """``open_watch`` makes the watch of an account, and is given what tells it how long it may wait.

    ``saw`` is given each version it brings.
    ``wanted``: whether an account should be watched at all, asked every few seconds. ``linger``: seconds
    that a watch lasts after the account's last activity.
    """

    def __init__(
        self,
        open_watch: Callable[[UserId, Callable[[], float]], Watch],
        saw: Callable[[UserId, bytes], None],
        wanted: Callable[[UserId], bool],
        *,
        limit: int,
        linger: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_watch = open_watch
        self._saw = saw
        self._wanted = wanted
        self._limit = limit
        self._linger = linger
        self._clock = clock
        self._watched: dict[UserId, _Watched] = {}
        self._waiting: dict[UserId, float] = {}
        self._refused: dict[UserId, float] = {}
        self._traffic: dict[UserId, Traffic] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._watched)

    def live(self, account: UserId) -> bool:
        """Whether changes of the account are noticed as they happen."""
        watched = self._watched.get(account)
        return watched is not None and watched.watch.live

    def note(self, account: UserId) -> bool:
        """The account is active. Whether it is watched, or will be at once."""
        now = self._clock()
        watched = self._watched.get(account)
        if watched is not None:
            watched.active = now
            return True
        if self._limit <= 0 or self._refused.get(account, 0.0) > now:
            return False
        self._waiting.pop(account, None)  # kept in the order of activity
        self._waiting[account] = now
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._news.set()
        return len(self._watched) + len(self._waiting) <= self._limit

    def happened(self, account: UserId, events: int) -> None:
        """So many events came, or are about to come, in rooms of the account."""
        traffic = self._traffic.get(account)
        if traffic is None:
            if len(self._traffic) >= MAX_WAITING:
                return
            traffic = self._traffic[account] = Traffic(self._clock)
        traffic.add(events)

    def start(self) -> None:
        """Begin to watch those who are noted."""
        self._task = asyncio.create_task(self._tend(), name="watchers of m.direct")

    async def stop(self) -> None:
        """End all watches."""
        tasks = [watched.task for watched in self._watched.values()] + list(self._ending)
        if self._task is not None:
            tasks.append(self._task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watched.clear()

    async def _tend(self) -> None:
        while True:
            started = False
            try:
                self._prune()
                started = self._start_one()
            except Exception:
                log.exception("watching m.direct met a fault of our own")
            if started:
                await asyncio.sleep(1 / STARTS)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK):
                    await self._news.wait()
            self._news.clear()

    def _prune(self) -> None:
        oldest = self._clock() - self._linger
        for account, watched in list(self._watched.items()):
            if watched.active < oldest or not self._wanted(account):
                self._end(account)
        for account, active in list(self._waiting.items()):
            if active < oldest:
                del self._waiting[account]
        now = self._clock()
        for account, until in list(self._refused.items()):
            if until <= now:
                del self._refused[account]
        for account, traffic in list(self._traffic.items()):
            if traffic.patience() == POLL:
                del self._traffic[account]

    def _patience(self, account: UserId) -> float:
        traffic = self._traffic.get(account)
        return POLL if traffic is None else traffic.patience()

    def _start_one(self) -> bool:
        """Start the watch of whoever was active last, if there is, or can be made, a place."""
        while self._waiting:
            account, active = self._waiting.popitem()
            if account in self._watched or not self._wanted(account):
                continue
            if len(self._watched) < self._limit or self._make_room(active):
                self._begin(account, active)
                return True
            self._waiting[account] = active
            return False
        return False

    def _make_room(self, active: float) -> bool:
        """End the watch that was active least recently, if it was before ``active`` and had its time."""
        now = self._clock()
        replaceable = [
            (watched.active, account)
            for account, watched in self._watched.items()
            if now - watched.began >= HELD and watched.active < active
        ]
        if not replaceable:
            return False
        self._end(min(replaceable)[1])
        return True

    def _begin(self, account: UserId, active: float) -> None:
        watch = self._open_watch(account, lambda: self._patience(account))
        task = asyncio.create_task(self._run(account, watch), name=f"watch of m.direct: {account}")
        self._watched[account] = _Watched(watch, task, active, self._clock())

    def _end(self, account: UserId) -> None:
        task = self._watched.pop(account).task
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    async def _run(self, account: UserId, watch: Watch) -> None:
        try:
            changes = -1  # the first content is no change
            async for content in watch:
                changes += 1
                if changes > 0 and account in self._watched:
                    self._watched[account].active = self._clock()
                self._saw(account, content)
        except HomeserverError as error:
            if self._wanted(account):
                log.warning("m.direct cannot be watched", account=account, reason=str(error))
                self._refused[account] = self._clock() + REFUSED
            # else nobody wants it any more, as after a logout: that it ends is no trouble
        except Exception:
            log.exception("watching m.direct met a fault of our own", account=account)
            self._refused[account] = self._clock() + REFUSED
        watched = self._watched.get(account)
        if watched is not None and watched.watch is watch:
            del self._watched[account]
