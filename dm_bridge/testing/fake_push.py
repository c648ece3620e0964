"""Pushes events to an application service as Synapse does: in order, one transaction at a time, until it is taken.

The rule that must never break: a transaction is forgotten only after it was answered with 200.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from dm_bridge.ids import UserId
from dm_bridge.testing.dice import Dice
from dm_bridge.testing.fake_homeserver import FakeHomeserver, of_interest
from dm_bridge.testing.fake_rooms import Event, Room

Receive = Callable[[str, bytes], Awaitable[int]]
"""Gives a transaction to the bridge; the status of its answer. Raises `ConnectionError` when nobody listens."""
LONGEST_PAUSE = 64.0


@dataclass(slots=True)
class PushFaults:
    """How likely a transaction meets each of these."""

    answer_lost: float = 0.0
    concurrent: float = 0.0
    again: float = 0.0
    reused_id: float = 0.0
    out_of_order: float = 0.0


class Pusher:
    """``ours``: the users of the application service. ``down``: nothing is pushed meanwhile."""

    def __init__(
        self,
        homeserver: FakeHomeserver,
        ours: Callable[[UserId], bool],
        receive: Receive,
        dice: Dice,
    ) -> None:
        self._ours = ours
        self._receive = receive
        self._dice = dice
        self._queue: deque[Event] = deque()
        self._sent: list[Event] = []
        self._news = asyncio.Event()
        self._number = 0
        self._restored = 0
        self.faults = PushFaults()
        self.down = False
        self.delay = 0.05
        """Seconds that a transaction takes at most."""
        self.disordered = False
        """Whether events were pushed in another order than they happened."""
        homeserver.rooms.on_event.append(self._note)

    def backup(self) -> tuple[list[Event], int]:
        """What is not taken yet, and the number of the last transaction: a homeserver keeps both on disk."""
        return list(self._queue), self._number

    def restore(self, backup: tuple[list[Event], int]) -> None:
        """Be as at the time of a backup; a transaction that is under way is pushed no more."""
        events, self._number = backup
        self._queue = deque(events)
        self._restored += 1
        self._news.set()

    @property
    def idle(self) -> bool:
        """Whether everything has been taken."""
        return not self._queue

    def _note(self, room: Room, event: Event) -> None:
        if of_interest(room, event.sender, event.state_key, self._ours):
            self._queue.append(event)
            self._news.set()

    async def run(self) -> None:
        """Push until cancelled."""
        while True:
            while not self._queue:
                self._news.clear()
                await self._news.wait()
            await asyncio.sleep(self._dice.between(0.0, self.delay))
            if not self._queue:
                continue
            batch, restored = self._batch(), self._restored
            self._number += 1
            number = self._number
            if self._dice.chance(self.faults.reused_id):
                self._dice.inject("9 transaction id used again for new events")
                number = max(1, number - 1)
            await self._until_taken(str(number), batch)
            if restored != self._restored:
                continue
            for event in batch:
                self._queue.remove(event)
            self._sent += batch
            if self._dice.chance(self.faults.again):
                self._dice.inject("8 old events under a new transaction id")
                self._number += 1
                await self._until_taken(
                    str(self._number), self._sent[-self._dice.draw.randint(1, 8) :]
                )

    def _batch(self) -> list[Event]:
        size = self._dice.draw.choice((1, 2, 5, 100))
        batch = [self._queue[place] for place in range(min(size, len(self._queue)))]
        if len(batch) > 1 and self._dice.chance(self.faults.out_of_order):
            self._dice.inject("10 events out of order")
            self.disordered = True
            self._dice.draw.shuffle(batch)
        return batch

    async def _until_taken(self, transaction: str, batch: list[Event]) -> None:
        body = orjson.dumps({"events": [event.to_json() for event in batch]})
        pause, restored = 1.0, self._restored
        while restored == self._restored and not await self._taken(transaction, body):
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    async def _taken(self, transaction: str, body: bytes) -> bool:
        if self.down:
            return False
        try:
            if self._dice.chance(self.faults.concurrent):
                self._dice.inject("7 the same transaction twice at once")
                twice = (self._receive(transaction, body), self._receive(transaction, body))
                status, _ = await asyncio.gather(*twice)
            else:
                status = await self._receive(transaction, body)
        except ConnectionError:
            return False
        if status == 200 and self._dice.chance(self.faults.answer_lost):
            self._dice.inject("6 answer to a transaction lost")
            return False
        return status == 200
