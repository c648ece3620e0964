"""The simulator finds what is planted: a check that cannot fail is none."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from dm_bridge.bridge import vital_signs
from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.live_logins import Sink
from dm_bridge.bridge.portal import Portals
from dm_bridge.bridge.sent_before import SentBefore
from dm_bridge.bridge.shares import Shares
from dm_bridge.bridge.to_matrix import ToMatrix
from dm_bridge.errors import BridgeError, StorageError
from dm_bridge.store.inbox import InboxOutcome
from dm_bridge.store.instances import Errand
from dm_bridge.testing.memory import (
    MemoryDatabase,
    MemoryInboxStore,
    MemoryInstanceStore,
    MemoryOutboxStore,
)
from dm_bridge.testing.simulator.bridge import SimulatedBridge
from dm_bridge.testing.simulator.history import play
from dm_bridge.testing.simulator.plan import MANY, ONE, RESTORED

PATIENCE = 1_500
"""Histories within which a planted fault is found."""


def found(what: str, kind: str = ONE, *, once: int) -> bool:
    """Whether one of many histories ends with a violation that says ``what``.

    ``once``: a seed that did when this was written, played first: only when something changed are all the others.
    """
    return any(
        any(what in violation for violation in play(seed, kind).violations)
        for seed in (once, *range(PATIENCE))
    )


def test_nobody_looks_whether_a_message_is_there_before_it_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def find(*_: Any) -> dict[Any, Any]:
        return {}

    monkeypatch.setattr(SentBefore, "find", find)
    assert found("became two Matrix events", once=1)


def test_a_row_is_finished_before_its_message_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    carry = ToMatrix._carry

    async def finish_first(self: ToMatrix, row: Any, portal: Any) -> Any:
        await self._inbox.finish(row.key, [InboxOutcome(row.id, "delivered")])
        return await carry(self, row, portal)

    monkeypatch.setattr(ToMatrix, "_carry", finish_first)
    assert found("never came into a room", once=3)


def test_attempts_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def attempt(*_: Any) -> None: ...

    monkeypatch.setattr(MemoryOutboxStore, "attempt", attempt)
    assert found("was sent to the network twice", once=71)


def test_rooms_are_not_looked_for_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    async def find_room(*_: Any) -> None:
        return None

    monkeypatch.setattr(Portals, "_find_room", find_room)
    assert found("was made although", once=66)


def test_the_network_is_acknowledged_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    deliver = Sink.deliver

    async def careless(self: Sink, *what: Any) -> None:
        with contextlib.suppress(StorageError):
            await deliver(self, *what)

    monkeypatch.setattr(Sink, "deliver", careless)
    assert found("not accepted", once=1)


def test_the_homeserver_is_answered_before_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    take = SimulatedBridge._take

    async def careless(self: SimulatedBridge[Any], body: bytes) -> int:
        await take(self, body)
        return 200

    monkeypatch.setattr(SimulatedBridge, "_take", careless)
    assert found("was never accepted", once=107)


def test_one_lane_waits_for_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    drain, lock = ToMatrix.drain, asyncio.Lock

    async def one_at_a_time(self: ToMatrix, key: Any) -> None:
        gate = self.__dict__.setdefault("gate", lock())
        async with gate:
            while True:
                try:
                    return await drain(self, key)
                except BridgeError:
                    await asyncio.sleep(1.0)

    monkeypatch.setattr(ToMatrix, "drain", one_at_a_time)
    assert found("seconds", once=138)


def test_events_of_the_network_come_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = MemoryInboxStore.waiting

    async def newest_first(self: MemoryInboxStore, *what: Any) -> Any:
        return list(reversed(await waiting(self, *what)))

    monkeypatch.setattr(MemoryInboxStore, "waiting", newest_first)
    assert found("after what was written later", once=3)


# -- several processes


def test_who_was_taken_for_dead_goes_on_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it brings late its successor has read; that such a copy is known is undone as well."""
    monkeypatch.setattr(MemoryDatabase, "fence", lambda self: None)
    monkeypatch.setattr(MemoryInboxStore, "_is_late_copy", lambda *_: False)
    assert found("became two Matrix events", MANY, once=43)


def test_a_process_is_taken_for_dead_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vital_signs, "DEAD", 0.2)
    assert found("is had by processes", MANY, once=6)


def test_a_process_acts_although_others_may_take_it_for_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Shares, "refusal", lambda self: None)
    assert found("is had by processes", MANY, once=6)


def test_errands_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    take = MemoryInstanceStore.take_errands

    async def lose(self: MemoryInstanceStore) -> list[Errand]:
        await take(self)
        return []

    monkeypatch.setattr(MemoryInstanceStore, "take_errands", lose)
    assert found("seconds", MANY, once=53)


# -- a homeserver that was restored


def test_a_ghost_that_was_forgotten_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no(self: Ghosts, user: Any) -> bool:
        return False

    monkeypatch.setattr(Ghosts, "revived", no)
    assert found("never came into a room", RESTORED, once=0)


def test_a_room_that_was_forgotten_stays_the_room_of_its_chat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def no(self: Portals, portal: Any) -> None: ...

    monkeypatch.setattr(Portals, "look_again", no)
    assert found("never came into a room", RESTORED, once=0)
