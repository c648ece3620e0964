"""The parts of ``make bench`` on null servers, and the rows they give."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.null import speed
from benchmarks.null.growth import SIZES, growth
from benchmarks.null.outage import limited, outage
from benchmarks.null.speed import Speed
from benchmarks.null.world import NullWorld, null_world
from benchmarks.report import Row

CHATS, LOGINS = 200, 20
TARGET = 1500.0
PACE = 500.0
PARTS = ("null-speed", "null-growth", "null-outage")
MOST_MEMORY, READY_WITHIN = 400.0, 10.0

Say = Callable[[str], None]


async def null_rows(directory: Path, parts: tuple[str, ...], quick: bool, say: Say) -> list[Row]:
    """Measure ``parts`` in ``directory``."""
    rows: list[Row] = []
    async with null_world(directory) as world:
        if "null-speed" in parts:
            rows += await _speed(world, 2_000 if quick else 10_000, 1 if quick else 3, say)
        if "null-growth" in parts:
            rows += await _growth(world, 2_000 if quick else 10_000, say)
        if "null-outage" in parts:
            rows += (
                await _outage(world, 1_000, 5_000, say)
                if quick
                else await _outage(world, 10_000, 60_000, say)
            )
    return rows


async def _growth(world: NullWorld, messages: int, say: Say) -> list[Row]:
    rows = []
    for portals, logins in SIZES:
        each = await growth(world, portals, logins, messages)
        say(f"{portals} portals: {each}")
        name = f"{portals:,} portals, {logins:,} logins"
        last = portals == SIZES[-1][0]
        met = each.start <= READY_WITHIN and each.rss_after < MOST_MEMORY
        rows.append(
            Row(
                name,
                f"{each.start:.1f} s ({each.start_cpu:.1f} s of CPU)",
                f"{each.rss:.0f} MB, {each.rss_after:.0f} MB after messages",
                f"{each.to_matrix.rate:.0f}/s and {each.to_remote.rate:.0f}/s, "
                f"p50 {each.paced.arrived.p50 * 1000:.0f} ms, loop blocked {each.lag * 1000:.0f} ms",
                f"{READY_WITHIN:.0f} s, {MOST_MEMORY:.0f} MB" if last else "",
                met if last else None,
            )
        )
    return rows


async def _outage(world: NullWorld, chats: int, in_big: int, say: Say) -> list[Row]:
    await world.populate(chats, 100)
    await world.start_bridge()
    limit = await limited(world, 200, 1_000, 3.0)
    say(f"429: {limit}")
    away = await outage(world, chats, in_big)
    say(f"homeserver away: {away}")
    return [
        Row(
            f"homeserver away, {away.messages:,} messages in {away.chats:,} chats",
            f"{away.rss_before:.0f} MB before",
            f"{away.rss_most:.0f} MB at most",
            f"{away.tasks} tasks at most; first message {away.back:.1f} s after its return",
        ),
        Row(
            "afterwards, all chats with one message / the one with many",
            "",
            f"{away.last_small:.1f} s / {away.last_big:.1f} s",
            f"{away.messages / max(away.last_small, away.last_big):.0f}/s",
        ),
        Row(
            "429 for 3 s, 200 chats",
            "",
            f"{limit.refused} requests met it",
            f"{limit.late} of them late; {limit.at_its_end} in the first 0.1 s after it",
            "none late",
            limit.late == 0,
        ),
    ]


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
