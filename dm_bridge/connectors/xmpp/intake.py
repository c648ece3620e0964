"""From the stream to the store: what was read waits here, in order, until it is committed.

While the archive is being read, what the stream brings is held back, so that older messages come
first. Such a copy of what the archive brought as well is then dropped.

The rule that must never break: an event leaves only after the sink has committed it, and its
stanza is acknowledged only then. When the store is down everything waits, and the stream is not
read any further.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from dm_bridge.connectors.committing import commit
from dm_bridge.connectors.xmpp.acks import Ledger
from dm_bridge.ids import RemoteId
from dm_bridge.network.api import EventSink
from dm_bridge.network.events import RemoteEvent, Written

_log = structlog.get_logger(__name__)

CAPACITY = 1000
"""Waiting events at which reading from the server stops; it goes on at half of that."""
MAX_HELD = 10_000
"""Messages that are held back at most; when there are more, order has to yield."""
BATCH = 100


@dataclass(frozen=True, slots=True)
class _Waiting:
    """``event``: None where only the acknowledgement or the position is left to do.

    ``ledger``: of the stream that brought it; None for the archive.
    """

    event: RemoteEvent | None
    ledger: Ledger | None = None
    position: str | None = None


class Intake:
    """One login's incoming events. ``on_pressure(True)`` asks to stop reading, ``False`` to go on.

    ``committed``: told of events that are committed now. ``skipped``: while holding, a message was too many to be
    kept; the archive must bring it.
    """

    def __init__(
        self,
        sink: EventSink,
        login: str,
        on_pressure: Callable[[bool], None],
        committed: Callable[[Sequence[RemoteEvent]], None] = lambda events: None,
    ) -> None:
        self._on_committed = committed
        self._sink = sink
        self._login = login
        self._on_pressure = on_pressure
        self._waiting: deque[_Waiting] = deque()
        self._held: list[_Waiting] | None = None
        self._kept = 0
        self._others: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.pressed = False
        self.skipped = False

    def put(self, event: RemoteEvent, ledger: Ledger, position: str | None = None) -> None:
        """Take an event of the stanza just received on the stream that ``ledger`` counts.

        ``position``: where the login stands after it; ignored while holding.
        """
        ledger.expect_commit()
        if self._held is None:
            self._append(_Waiting(event, ledger, position))
        elif len(self._held) >= CAPACITY and _is_archived(event):
            self._held.append(_Waiting(None, ledger))
            self.skipped = True
        else:
            self._held.append(_Waiting(event, ledger))
            self._kept += 1
            if self._kept >= MAX_HELD:
                _log.warning("messages overtake older ones of the archive", login=self._login)
                self.release()

    def put_unacknowledged(self, events: Sequence[RemoteEvent]) -> None:
        """Take events that no stanza of the stream has to be acknowledged for."""
        for event in events:
            if self._held is None:
                self._append(_Waiting(event))
            elif len(self._held) < MAX_HELD:
                self._held.append(_Waiting(event))

    def hold(self) -> None:
        """Keep back what `put` takes, until `release`."""
        if self._held is None:
            self._held = []
            self._kept = 0

    def archived_ids(self) -> set[RemoteId]:
        """Of what is held back and is in the archive, too."""
        events = (item.event for item in self._held or ())
        return {event.id for event in events if isinstance(event, Written) and _is_archived(event)}

    def put_archived(self, events: Sequence[RemoteEvent], position: str | None) -> None:
        """Take, in order, what the archive has up to ``position``."""
        last = len(events) - 1
        for index, event in enumerate(events):
            self._append(_Waiting(event, position=position if index == last else None))
            if self._held is not None and isinstance(event, Written) and event.other_id:
                self._others[event.chat, event.other_id] = None
                if len(self._others) > CAPACITY:
                    self._others.popitem(last=False)
        if not events and position is not None:
            self._append(_Waiting(None, position=position))

    def release(self) -> None:
        """Let what was held follow."""
        held, self._held = self._held or [], None
        for item in held:
            known = isinstance(item.event, Written) and (
                (item.event.chat, item.event.id) in self._others
            )
            self._append(_Waiting(None, item.ledger) if known else item)
        self._others.clear()

    async def drained(self) -> None:
        """Return once everything that is not held is committed."""
        await self._empty.wait()

    async def run(self) -> None:
        """Commit what comes, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                batch = [self._waiting[index] for index in range(min(BATCH, len(self._waiting)))]
                await self._deliver(batch)
                self._committed(len(batch))
            self._empty.set()

    def _append(self, item: _Waiting) -> None:
        self._waiting.append(item)
        self._arrived.set()
        self._empty.clear()
        if len(self._waiting) >= CAPACITY and not self.pressed:
            self.pressed = True
            self._on_pressure(True)

    async def _deliver(self, batch: list[_Waiting]) -> None:
        events = [item.event for item in batch if item.event is not None]
        positions = [item.position for item in batch if item.position is not None]
        if not events and not positions:
            return
        await commit(
            self._sink,
            events,
            positions[-1] if positions else None,
            login=self._login,
            waiting=lambda: len(self._waiting),
        )
        self._on_committed(events)

    def _committed(self, count: int) -> None:
        counts: dict[int, tuple[Ledger, int]] = {}
        for _ in range(count):
            ledger = self._waiting.popleft().ledger
            if ledger is not None:
                counts[id(ledger)] = (ledger, counts.get(id(ledger), (ledger, 0))[1] + 1)
        for ledger, committed in counts.values():
            ledger.commit(committed)
        if self.pressed and len(self._waiting) <= CAPACITY // 2:
            self.pressed = False
            self._on_pressure(False)


def _is_archived(event: RemoteEvent) -> bool:
    """Whether the archive has it, so that it need not be kept."""
    return isinstance(event, Written) and event.id.startswith("sid:")
