"""``python -m benchmarks``: start everything, measure, print the table.

Exit code 0: measured, whatever the figures. 1: a message was lost, doubled or out of order, or the
run could not be completed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from benchmarks import report
from benchmarks.history import EACH, Histories
from benchmarks.logins import login_rows
from benchmarks.media import SIZE, Copies
from benchmarks.new_chats import NewChats, new_chats
from benchmarks.null.report import PARTS as NULL_PARTS
from benchmarks.null.report import null_rows
from benchmarks.report import Figures, Row
from benchmarks.tally import Disorder
from benchmarks.to_matrix import CHATS, many_chats, one_chat
from benchmarks.to_remote import added_latency
from benchmarks.world import World, running
from dm_bridge.errors import BridgeError
from dm_bridge.testing.prosody_archive import Archives
from dm_bridge.testing.xmpp_client import quiet_slixmpp

T = TypeVar("T")

DOCS = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
PARTS = ("one-chat", "many-chats", "to-remote", "new-chats", "media", "history")
LOGINS = "logins"
ALL_PARTS = (*PARTS, *NULL_PARTS, LOGINS)
_LATE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured, per round."""

    rounds: int
    messages: int
    latencies: int
    chats: int
    conversations: int

    def __str__(self) -> str:
        rounds = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        return (
            f"{rounds} of {self.messages} messages, {self.latencies} latencies, "
            f"{self.chats} new chats and {self.conversations} archived ones"
        )


FULL = Size(rounds=3, messages=500, latencies=100, chats=100, conversations=100)
QUICK = Size(rounds=1, messages=100, latencies=30, chats=20, conversations=20)


def main() -> int:
    """Parse the command line and run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"measure less: {QUICK}")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--conversations", type=int, help="how many are in an archive, up to 1000")
    parser.add_argument(
        "--archives",
        choices=("sql", "files"),
        default="sql",
        help="where Prosody keeps archives; large ones in files, its default, take a whole processor",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=ALL_PARTS,
        default=ALL_PARTS,
        help="measure these parts only",
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="put the tables into docs/performance.md"
    )
    parser.add_argument(
        "--directory", type=Path, help="keep logs and data here; by default they vanish"
    )
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    if options.rounds:
        size = replace(size, rounds=options.rounds)
    if options.conversations:
        size = replace(size, conversations=options.conversations)
    quiet_slixmpp()
    try:
        texts = asyncio.run(
            _run(size, options.only, options.directory, options.archives, quick=options.quick)
        )
        if options.write_docs:
            for name, text in texts.items():
                report.write_docs(DOCS, name, text)
    except Disorder as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    except (BridgeError, TimeoutError, OSError) as error:
        print(f"The benchmark could not be completed: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(
    size: Size, parts: tuple[str, ...], directory: Path | None, archives: Archives, *, quick: bool
) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="dm-bridge-bench-") as temporary:
        place = directory or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o711)  # PostgreSQL's own system user walks through it
        _say(f"load before the start: {os.getloadavg()[0]:.2f}; starting the servers")
        texts = {}
        if wanted := tuple(part for part in PARTS if part in parts):
            texts["figures"] = await _on_real_servers(place, wanted, size, archives)
        if wanted := tuple(part for part in NULL_PARTS if part in parts):
            rows = await null_rows(place / "null", wanted, quick, _say)
            texts["null figures"] = f"{report.table(rows)}\n\nMeasured {report.machine()}"
        if LOGINS in parts:
            rows, servers = await login_rows(place / "logins", quick, _say)
            where = report.machine(servers.prosody, ngircd=servers.ngircd)
            texts["login figures"] = f"{report.table(rows)}\n\nMeasured {where}"
    print("\n" + "\n\n".join(texts.values()) + "\n")
    print("Every message arrived exactly once, and in order within its chat.")
    return texts


async def _on_real_servers(
    place: Path, parts: tuple[str, ...], size: Size, archives: Archives
) -> str:
    async with running(place, archives) as world:
        rows = [row for part in parts for row in await _part(part, world, size)]
        await asyncio.sleep(_LATE_SECONDS)
        world.tally.audit()
        prosody = await world.stack.prosody.version()
        kept = {"sql": "SQLite", "files": "files"}[archives]
        where = report.machine(f"{prosody} (archives in {kept})", str(size), synapse=True)
    return f"{report.table(rows)}\n\nMeasured {where}"


async def _part(part: str, world: World, size: Size) -> list[Row]:
    if part == "one-chat":
        rounds = await _rounds("one chat", one_chat(world, size.messages, size.rounds))
        what = f"XMPP to Matrix, {size.messages} messages in one chat"
        return [report.rate_row(what, rounds, target=0.95)]
    if part == "many-chats":
        rounds = await _rounds("many chats", many_chats(world, size.messages, size.rounds))
        what = f"XMPP to Matrix, {size.messages} messages over {CHATS} chats"
        return [report.rate_row(what, rounds, target=0.9)]
    if part == "to-remote":
        pairs: list[Figures] = []
        for number in range(size.rounds):
            pairs += await added_latency(world, size.latencies, f"b-{number}")
        row = report.latency_row("Matrix to XMPP, against the push alone", pairs, target=10)
        _say(f"latency: {row.result}")
        return [row]
    if part == "media":
        return await _media_rows(world, size)
    if part == "history":
        histories = Histories(world, size.conversations)
        brought = await _rounds("history", histories.rounds(size.rounds))
        what = f"a first login, {size.conversations} chats with {EACH} messages each"
        return [
            report.rate_row(what, brought, target=0.85),
            histories.speed_row(brought),
            histories.memory_row(),
        ]
    return _new_chats_rows(
        size, await _rounds("new chats", new_chats(world, size.chats, size.rounds))
    )


async def _media_rows(world: World, size: Size) -> list[Row]:
    copies, what = Copies(world), f"a file of {SIZE // 10**6} MB"
    inward = await _rounds("files to Matrix", copies.to_matrix(size.rounds))
    outward = await _rounds("files to XMPP", copies.to_remote(size.rounds))
    return [
        report.rate_row(f"XMPP to Matrix, {what}", inward, target=0.8, unit=" MB/s"),
        report.rate_row(f"Matrix to XMPP, {what}", outward, target=0.8, unit=" MB/s"),
        copies.memory_row(),
    ]


def _new_chats_rows(size: Size, rounds: list[NewChats]) -> list[Row]:
    one_at_a_time = [Figures(each.one_at_a_time, each.bridge) for each in rounds]
    in_flight = [Figures(each.in_flight, each.bridge) for each in rounds]
    same_calls = [Figures(each.same_calls, each.bridge) for each in rounds]
    what = f"{size.chats} new chats, against"
    return [
        report.rate_row(f"{what} createRoom one at a time", one_at_a_time, target=0.85),
        report.rate_row(f"{what} createRoom all in flight", in_flight, target=0.85),
        report.rate_row(f"{what} all the calls they need", same_calls),
    ]


async def _rounds(what: str, figures: AsyncIterator[T]) -> list[T]:
    rounds = []
    start = time.monotonic()
    async for each in figures:
        rounds.append(each)
        _say(f"{what}: {each} after {time.monotonic() - start:.0f} s")
    return rounds


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
