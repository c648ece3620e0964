"""From the connection to the store: what was read waits here, in order, until it is committed.

The rule that must never break: nothing that was taken is dropped. When the store is down everything waits, and the
server is not read any further.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from dm_bridge.connectors.committing import commit
from dm_bridge.network.api import EventSink
from dm_bridge.network.events import RemoteEvent

CAPACITY = 1000
"""Waiting events at which reading from the server stops; it goes on at half of that."""
BATCH = 100


class Intake:
    """One login's incoming events. ``on_pressure(True)`` asks to stop reading, ``False`` to go on."""

    def __init__(self, sink: EventSink, login: str, on_pressure: Callable[[bool], None]) -> None:
        self._sink = sink
        self._login = login
        self._on_pressure = on_pressure
        self._waiting: deque[tuple[RemoteEvent | None, str | None]] = deque()
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.pressed = False

    def put(self, event: RemoteEvent | None, position: str | None = None) -> None:
        """Take an event, and where the login stands after it; or only the latter."""
        self._waiting.append((event, position))
        self._arrived.set()
        self._empty.clear()
        if len(self._waiting) >= CAPACITY and not self.pressed:
            self.pressed = True
            self._on_pressure(True)

    async def drained(self) -> None:
        """Return once everything is committed."""
        await self._empty.wait()

    async def run(self) -> None:
        """Commit what comes, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
                await self._deliver(batch)
                for _ in batch:
                    self._waiting.popleft()
                if self.pressed and len(self._waiting) <= CAPACITY // 2:
                    self.pressed = False
                    self._on_pressure(False)
            self._empty.set()

    async def _deliver(self, batch: list[tuple[RemoteEvent | None, str | None]]) -> None:
        events = [event for event, _ in batch if event is not None]
        positions = [position for _, position in batch if position is not None]
        await commit(
            self._sink,
            events,
            positions[-1] if positions else None,
            login=self._login,
            waiting=lambda: len(self._waiting),
        )
