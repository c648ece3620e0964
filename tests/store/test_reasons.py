"""Reasons that are recorded: what PostgreSQL takes, and not too much of it."""

from __future__ import annotations

import pytest

from dm_bridge.ids import RemoteId
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.queue import Direction, QueueStore
from dm_bridge.store.reasons import LONGEST, storable

from .stored import a_login, key_of, message


def test_a_reason_stays_as_it_is() -> None:
    assert storable("The contact's server does not answer. ☂") == (
        "The contact's server does not answer. ☂"
    )


def test_a_long_reason_is_cut() -> None:
    assert storable("x" * LONGEST) == "x" * LONGEST
    assert storable("x" * (LONGEST + 1)) == "x" * (LONGEST - 1) + "…"


@pytest.mark.parametrize("reason", ["with\0in", "half \ud800 of it", "\0" * 5, "y" * 100_000])
async def test_whatever_an_error_says_the_queue_goes_on(database: Database, reason: str) -> None:
    login = await a_login(database)
    inbox = InboxStore(database)
    await inbox.add([(login, message(1))])
    await inbox.finish(key_of(login), [InboxOutcome(RemoteId("id-1"), "parked", reason=reason)])
    (row,) = await QueueStore(database).rows(Direction.TO_MATRIX, "parked", 10)
    assert row.reason == storable(reason)
