"""The budget: after a 429 nobody asks too early, and then not everybody at once."""

from __future__ import annotations

import asyncio
import time

import pytest

from dm_bridge.errors import HomeserverError
from dm_bridge.matrix import budget as module
from dm_bridge.matrix.budget import Budget


def later(seconds: float) -> float:
    return time.monotonic() + seconds


async def test_without_a_limit_nobody_waits() -> None:
    budget = Budget()
    before = time.monotonic()
    for _ in range(1000):
        await budget.wait(later(60))
    assert time.monotonic() - before < 10


async def test_after_a_limit_everybody_waits_and_then_goes_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SPACING", 0.01)
    budget = Budget()
    budget.limited(0.2)
    end = later(0.2)
    went: list[float] = []

    async def go() -> None:
        await budget.wait(later(60))
        went.append(time.monotonic())

    await asyncio.gather(*(go() for _ in range(20)))
    assert min(went) >= end - 0.002
    assert max(went) - end >= 0.01 * 18


async def test_a_limit_that_is_prolonged_holds_for_those_who_wait_already() -> None:
    budget = Budget()
    budget.limited(0.05)
    waiting = asyncio.create_task(budget.wait(later(60)))
    await asyncio.sleep(0.01)
    budget.limited(0.3)
    end = later(0.29)
    await waiting
    assert time.monotonic() >= end


async def test_who_cannot_wait_is_told_for_how_long_and_asks_nothing() -> None:
    budget = Budget()
    budget.limited(100)
    with pytest.raises(HomeserverError) as error:
        await budget.wait(later(1))
    assert error.value.status == 429
    assert error.value.certain
    assert error.value.retry_after == pytest.approx(100, abs=1)
