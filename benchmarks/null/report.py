"""The parts of ``make bench`` on null servers, and the rows they give."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.null import speed
from benchmarks.null.speed import Speed
from benchmarks.null.world import NullWorld, null_world
from benchmarks.report import Row

CHATS, LOGINS = 200, 20
TARGET = 1500.0
PACE = 500.0
PARTS = ("null-speed",)

Say = Callable[[str], None]


async def null_rows(directory: Path, parts: tuple[str, ...], quick: bool, say: Say) -> list[Row]:
    """Measure ``parts`` in ``directory``."""
    rows: list[Row] = []
    async with null_world(directory) as world:
        if "null-speed" in parts:
            rows += await _speed(world, 2_000 if quick else 10_000, 1 if quick else 3, say)
    return rows


async def _speed(world: NullWorld, messages: int, rounds: int, say: Say) -> list[Row]:
    await world.populate(CHATS, LOGINS)
    await world.start_bridge()
    many, one = range(CHATS), range(1)
    figures: dict[str, list[Speed]] = {}
    bare: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, rate in (
            ("Matrix, 200 chats", await speed.bare_puts(world, many, messages)),
            ("Matrix, one chat", await speed.bare_puts(world, one, messages // 5)),
            ("the network, 200 chats", await speed.bare_commits(world, 10)),
            ("the network, one chat", await speed.bare_commits(world, 1)),
        ):
            bare.setdefault(name, []).append(rate)
            say(f"bare, to {name}: {rate:.0f}/s")
        for name, measure in (("Matrix", speed.to_matrix), ("the network", speed.to_remote)):
            for load, portals, share, pace in (
                ("200 chats", many, 1, 0.0),
                ("one chat", one, 5, 0.0),
                ("paced", many, 2, PACE),
            ):
                result = await measure(world, portals, messages // share, pace)
                figures.setdefault(f"{name}, {load}", []).append(result)
                say(f"to {name}, {load}: {result}")
                await asyncio.sleep(0.5)
    rows = []
    for name, results in figures.items():
        rate = median(each.rate for each in results)
        if name.endswith("paced"):
            p50, p99 = (
                median(getattr(each.arrived, p) for each in results) for p in ("p50", "p99")
            )
            rows.append(
                Row(
                    f"null to {name} at {PACE:.0f}/s",
                    "",
                    f"{rate:.0f}/s",
                    f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms",
                )
            )
            continue
        limit = median(bare[name])
        unit = "PUTs/s" if name.startswith("Matrix") else "commits/s"
        many_chats = name.endswith("200 chats")
        rows.append(
            Row(
                f"null to {name}",
                f"{limit:.0f} {unit}",
                f"{rate:.0f}/s",
                f"× {rate / limit:.2f}",
                f"at least {TARGET:.0f}/s" if many_chats else "",
                rate >= TARGET if many_chats else None,
            )
        )
    return rows
