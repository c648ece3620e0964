"""Looks at the queues from time to time: for what was put back, for notices that were left behind, and to count.

The rule that must never break: looking stays cheap. What was put back is found in an index that is as good as
always empty, and counting takes at most a twentieth of the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import structlog

from dm_bridge.errors import BridgeError, StorageError
from dm_bridge.ids import PortalKey, RoomId
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.queue import Direction, QueueStore

log = structlog.get_logger(__name__)

LOOK_EVERY = 3.0
COUNT_EVERY = 10.0
SHARE = 20
"""After a count, at least this many times as long as it took passes until the next."""

K = TypeVar("K")


class QueueWatch:
    """``wake_chats`` and ``wake_rooms`` are told where something was put back; once each time.

    ``settle`` looks for what users are told of their messages and is not true any more, and puts it right.
    """

    def __init__(
        self,
        store: QueueStore,
        metrics: Metrics,
        wake_chats: Callable[[set[PortalKey]], None],
        wake_rooms: Callable[[set[RoomId]], Awaitable[None]],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._wake_chats = wake_chats
        self._wake_rooms = wake_rooms
        self._settle = settle
        self._chats: dict[PortalKey, float] = {}
        self._rooms: dict[RoomId, float] = {}

    async def look_for_requeued(self) -> None:
        """Until cancelled, notice what was put back, within `LOOK_EVERY` seconds."""
        await _for_ever(self.look, lambda _took: LOOK_EVERY)

    async def settle_notices(self) -> None:
        """Until cancelled, notice within `LOOK_EVERY` seconds what users are told and is not true any more."""
        await _for_ever(self._settle, lambda _took: LOOK_EVERY)

    async def count_waiting(self) -> None:
        """Until cancelled, keep the figures of the queues."""
        await _for_ever(self.count, until_next_count)

    async def paused_chat(self, key: PortalKey, reason: str) -> None:
        """Count that a chat pauses, and note why, for ``dm-bridge queue`` to tell."""
        self._metrics.pauses.labels(Direction.TO_MATRIX.value).inc()
        with contextlib.suppress(StorageError):  # then it is only in the log
            await self._store.note_chat(key, reason)

    async def paused_room(self, room: RoomId, reason: str) -> None:
        """As `paused_chat`, for a room."""
        self._metrics.pauses.labels(Direction.TO_REMOTE.value).inc()
        with contextlib.suppress(StorageError):
            await self._store.note_room(room, reason)

    async def look(self) -> None:
        """Look once. Raises `StorageError`."""
        chats = await self._store.requeued_chats()
        if new := _new(chats, self._chats):
            self._wake_chats(new)
        self._chats = _latest(chats, self._chats)
        rooms = await self._store.requeued_rooms()
        if new_rooms := _new(rooms, self._rooms):
            await self._wake_rooms(new_rooms)
        self._rooms = _latest(rooms, self._rooms)

    async def count(self) -> None:
        """Count once. Raises `StorageError`."""
        metrics = self._metrics
        try:
            depths = await self._store.depths()
        except BridgeError:
            metrics.ready.labels("database").set(0)
            raise
        metrics.ready.labels("database").set(1)
        for depth in depths:
            metrics.queue_rows.labels(depth.direction.value, depth.state).set(depth.rows)
            metrics.queue_oldest.labels(depth.direction.value, depth.state).set(depth.oldest)
        metrics.queue_counted.set(time.time())


def until_next_count(took: float) -> float:
    """How long to wait after a count that took ``took`` seconds."""
    return max(COUNT_EVERY, SHARE * took)


def _new(found: Mapping[K, float], before: Mapping[K, float]) -> set[K]:
    return {key for key, at in found.items() if at > before.get(key, 0.0)}


def _latest(found: Mapping[K, float], before: Mapping[K, float]) -> dict[K, float]:
    """What is still there, and what it was known by: a lane is not woken because half of it is done."""
    return {key: max(at, before.get(key, 0.0)) for key, at in found.items()}


async def _for_ever(work: Callable[[], Awaitable[None]], pause: Callable[[float], float]) -> None:
    failing = False
    while True:
        began = time.monotonic()
        try:
            await work()
            failing = False
        except BridgeError as error:
            if not failing:  # once for each outage
                log.warning("the queues cannot be looked at", reason=str(error))
            failing = True
        except Exception:
            log.exception("the queues could not be looked at for a reason of our own")
        await asyncio.sleep(pause(time.monotonic() - began))
