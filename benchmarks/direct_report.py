"""``python -m benchmarks.direct_report``: what becomes of ``m.direct`` under every writer, by strategy.

Exit code 0: the engine meets its targets wherever every version is seen. 1: it misses one.

The rule that must never break: all strategies are played with the same seeds, and the targets are judged on
the very figures that are printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import direct_speed
from benchmarks.direct_strategies import ADD_AGAIN, ENGINE, STRATEGIES
from benchmarks.direct_world import CLIENTS, STEPS, SYNCED, Result, Setting, histories
from benchmarks.report import write_docs
from dm_bridge.testing.writers import WRITERS

DOCS = Path(__file__).resolve().parent.parent / "docs" / "direct-report.md"
MIXED = "all mixed"
RATES = (1.0, 0.67, 0.33)
MOST_MANAGED_LOST = 0.0005
"""Of the bridge's chats that should be marked."""
MOST_OTHERS_LOST = 0.005
"""Of what appending always loses."""
MOST_REVERTED = 0.01
"""Of the user's decisions to unmark."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one strategy made of one kind of writers."""

    writers: str
    rate: float
    strategy: str
    result: Result


def main() -> int:
    """Parse the command line and run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.direct_report", description=__doc__)
    parser.add_argument("--histories", type=int, default=300, help="per writer, rate and strategy")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first history; then one more each"
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="events in a history")
    parser.add_argument(
        "--echo", type=float, default=0.5, help="how many of its own writes the bridge sees again"
    )
    parser.add_argument(
        "--race",
        type=float,
        default=0.0,
        help="how often a client writes between its read and write",
    )
    parser.add_argument(
        "--repeats", type=float, default=0.0, help="how often users do again what was done already"
    )
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument(
        "--writers", nargs="+", choices=[*WRITERS, MIXED], default=[*WRITERS, MIXED]
    )
    parser.add_argument("--engine-only", action="store_true", help="without the baselines but one")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"put the tables into {DOCS.name}"
    )
    options = parser.parse_args()
    rows = _rows(options)
    missed = [miss for row in rows if row.strategy == ENGINE for miss in misses(row, rows)]
    if options.json:
        for row in rows:
            print(json.dumps(as_json(row)))
    else:
        text = _text(options, rows, missed)
        print(text)
        if options.write_docs:
            write_docs(DOCS, "figures", text)
    for miss in missed:
        print(f"MISSED: {miss}", file=sys.stderr)
    return 1 if missed else 0


def _rows(options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    strategies = (ENGINE, ADD_AGAIN) if options.engine_only else tuple(STRATEGIES)
    for rate in options.rates:
        for writers in options.writers:
            kinds = tuple(WRITERS) if writers == MIXED else (writers,)
            setting = Setting(
                kinds, rate, options.echo, options.race, options.repeats, options.steps
            )
            start = time.monotonic()
            for strategy in strategies:
                make = STRATEGIES[strategy]
                result = histories(options.histories, options.seed, setting, make)
                rows.append(Row(writers, rate, strategy, result))
            print(f"{writers}, {rate:.0%} seen: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return rows


def misses(row: Row, rows: Sequence[Row]) -> list[str]:
    """The targets that the engine misses in ``row``, as sentences; they hold where all is seen."""
    result = row.result
    found = [f"{row.writers}: {result.livelocks} livelocks"] if result.livelocks else []
    if row.rate < 1:
        return found
    baseline = next(
        other.result
        for other in rows
        if (other.writers, other.rate, other.strategy) == (row.writers, row.rate, ADD_AGAIN)
    )
    for what, count, whole, most in (
        ("managed entries lost", result.managed_lost, result.managed, MOST_MANAGED_LOST),
        ("others' entries lost", result.others_lost, baseline.others_lost, MOST_OTHERS_LOST),
        ("unmarks reverted", result.reverted, result.unmarks, MOST_REVERTED),
    ):
        if count > most * whole:
            found.append(
                f"{row.writers}: {count} {what} of {whole}, {count / max(1, whole):.2%}; at most {most:.2%}"
            )
    return found


def as_json(row: Row) -> dict[str, Any]:
    """A row as plain values."""
    about = {"writers": row.writers, "rate": row.rate, "strategy": row.strategy}
    return {**about, **dataclasses.asdict(row.result)}


HEADER = (
    "writers", "strategy", "managed lost", "others' lost", "unmarks reverted", "re-marks missed",
    "came back", "PUTs", "livelocks",
)  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A Markdown table that also reads well as it is."""
    lines = [HEADER, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]

    def render(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([render(HEADER), rule, *map(render, lines[1:])])


def _cells(row: Row) -> tuple[str, ...]:
    result = row.result
    return (
        row.writers,
        row.strategy,
        f"{result.managed_lost:,} / {result.managed:,}",
        f"{result.others_lost:,} / {result.others:,}",
        f"{result.reverted:,} / {result.unmarks:,}",
        f"{result.missed:,} / {result.marks:,}",
        f"{result.resurrected:,}",
        f"{result.puts:,}",
        f"{result.livelocks:,}",
    )


def _text(options: argparse.Namespace, rows: Sequence[Row], missed: Sequence[str]) -> str:
    parts = []
    for rate in options.rates:
        parts.append(f"### {rate:.0%} of the clients' writes seen")
        parts.append(table([row for row in rows if row.rate == rate]))
    speeds = [(managed, direct_speed.measure(managed)) for managed in (2_000, direct_speed.ENTRIES)]
    parts += [
        f"One decision on {direct_speed.ENTRIES:,} entries and {direct_speed.VERSIONS} versions, {managed:,} "
        f"chats managed: {speed.stale * 1000:.1f} ms for a write on an old copy, "
        f"{speed.at_rest * 1000:.1f} ms at rest."
        for managed, speed in speeds
    ]
    parts.append(
        f"{datetime.datetime.now(datetime.UTC).date()}; {options.histories} histories of {options.steps} "
        f"events for each line, seeds from {options.seed}; {CLIENTS} clients, each missing "
        f"{1 - SYNCED:.0%} of the syncs; {options.echo:.0%} of the bridge's own writes seen again; "
        f"{options.race:.0%} of them raced; {options.repeats:.0%} of users repeat themselves."
    )
    parts.append("Targets missed: " + ("; ".join(missed) + "." if missed else "none."))
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
