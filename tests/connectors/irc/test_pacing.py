"""Lines go out no faster than allowed, and in turn."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.irc.pacing import Pacer


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        await asyncio.sleep(0)


@given(
    st.floats(0.1, 50),
    st.integers(1, 10),
    st.lists(st.floats(0, 5), min_size=1, max_size=40),
)
async def test_never_more_than_a_burst_and_the_rate(
    rate: float, burst: int, pauses: list[float]
) -> None:
    clock = Clock()
    pacer = Pacer(rate, burst, clock, clock.sleep)
    times: list[float] = []
    for pause in pauses:
        clock.now += pause
        await pacer.turn()
        times.append(clock.now)
    for first in range(len(times)):
        for last in range(first, len(times)):
            sent = last - first + 1
            assert sent <= burst + (times[last] - times[first]) * rate + 1e-6


async def test_a_burst_goes_out_at_once_and_what_costs_more_takes_longer() -> None:
    clock = Clock()
    pacer = Pacer(2.0, 3, clock, clock.sleep)
    for _ in range(3):
        await pacer.turn()
    assert clock.now == 100.0
    await pacer.turn(2.0)
    assert clock.now == pytest.approx(101.0)


async def test_those_who_wait_take_turns() -> None:
    clock = Clock()
    pacer = Pacer(1.0, 1, clock, clock.sleep)
    order: list[str] = []

    async def lines(name: str) -> None:
        for _ in range(3):
            await pacer.turn()
            order.append(name)

    await asyncio.gather(lines("a"), lines("b"))
    assert order in (list("ababab"), list("aababb"))


async def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    clock = Clock()
    pacer = Pacer(1.0, 2, clock, clock.sleep)
    await pacer.turn()
    clock.now -= 3600
    await pacer.turn()
    await pacer.turn()
    assert clock.now == pytest.approx(100.0 - 3600 + 1)


async def test_what_can_be_left_out_takes_no_turn_that_a_message_needs() -> None:
    clock = Clock()
    pacer = Pacer(1.0, 3, clock, clock.sleep)
    assert [pacer.turn_if_free() for _ in range(4)] == [True, True, False, False]
    await pacer.turn()
    assert clock.now == 100.0
    clock.now += 2.0
    waiting = asyncio.create_task(pacer.turn(3.0))
    await asyncio.sleep(0)
    assert not pacer.turn_if_free()
    await waiting
    assert Pacer(1.0, 1, clock, clock.sleep).turn_if_free()
