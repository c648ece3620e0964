"""The table of faults: what was done, how often, and what became of the messages.

The rule that must never break: a run that went wrong is in the table and in the list below it, whatever came
after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.load import Result
from tests.faults.tally import Count

HEADER = (
    "fault", "runs", "faults", "to Matrix", "to XMPP", "unpushed", "lost", "doubled", "misordered",
    "told failed", "told uncertain", "other",
)  # fmt: skip


@dataclass(slots=True)
class Row:
    """All runs of one scenario. ``other``: runs with something wrong that is no message's fate."""

    name: str
    group: str
    runs: int = 0
    injected: int = 0
    unpushed: int = 0
    to_matrix: Count = field(default_factory=Count)
    to_network: Count = field(default_factory=Count)
    other: int = 0
    complaints: list[str] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """One more run."""
        self.runs += 1
        self.injected += result.injected
        self.unpushed += result.unpushed
        self.to_matrix += result.to_matrix
        self.to_network += result.to_network
        self.other += len(result.wrong) > 0
        self.complaints += result.complaints

    @property
    def count(self) -> Count:
        """Both directions."""
        return self.to_matrix + self.to_network


def total(rows: Sequence[Row]) -> Row:
    """The sum of all rows."""
    whole = Row("all", "all")
    for row in rows:
        whole.runs += row.runs
        whole.injected += row.injected
        whole.unpushed += row.unpushed
        whole.to_matrix += row.to_matrix
        whole.to_network += row.to_network
        whole.other += row.other
        whole.complaints += row.complaints
    return whole


def table(rows: Sequence[Row]) -> str:
    """A Markdown table that also reads well as it is."""
    lines = [HEADER, *map(_cells, [*rows, total(rows)])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]

    def render(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([render(HEADER), rule, *map(render, lines[1:])])


def _cells(row: Row) -> tuple[str, ...]:
    count = row.count
    return (
        row.name,
        f"{row.runs:,}",
        f"{row.injected:,}",
        f"{row.to_matrix.accepted:,}",
        f"{row.to_network.accepted:,}",
        f"{row.unpushed:,}",
        f"{count.lost + count.invented:,}",
        f"{count.doubled:,}",
        f"{count.misordered:,}",
        f"{count.failed:,}",
        f"{count.uncertain:,}",
        f"{row.other + count.told_wrong:,}",
    )
