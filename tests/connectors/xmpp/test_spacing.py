"""Spacing: clients are built one after the other, and other work gets its turn in between."""

from __future__ import annotations

import asyncio
import itertools
import time

from dm_bridge.connectors.xmpp.spacing import BETWEEN, Spacing


async def test_between_two_clients_the_loop_does_other_work() -> None:
    spacing, order = Spacing(), list[str]()

    async def build(number: int) -> None:
        await spacing.turn()
        order.append("client")
        time.sleep(0.02)  # noqa: ASYNC251 - as building one does

    async def other_work() -> None:
        while True:
            order.append("other")
            await asyncio.sleep(0)

    other = asyncio.create_task(other_work())
    await asyncio.gather(*(build(number) for number in range(5)))
    other.cancel()
    places = [index for index, what in enumerate(order) if what == "client"]
    assert len(places) == 5
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(places))


async def test_one_alone_waits_for_a_moment_only() -> None:
    before = time.monotonic()
    await Spacing().turn()
    assert time.monotonic() - before < BETWEEN + 1
