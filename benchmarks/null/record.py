"""What arrived: how much, in which order, and how long it took.

A message's text is ``<portal> <number> <when it was made>``; times are `time.monotonic`, common to all processes.
Numbers begin at 0 in each portal and run.

The rule that must never break: a message that is lost, doubled or out of order is counted as that.
"""

from __future__ import annotations

import time
from array import array
from typing import Any


def text(portal: int, number: int, at: float) -> str:
    """A message's text."""
    return f"{portal} {number} {at:.6f}"


class Record:
    """Counts what arrives."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._latencies = array("d")
        self._finished: dict[int, float] = {}
        self.disorder = 0
        self.first = self.last = 0.0

    def note(self, body: str) -> None:
        """A message arrived."""
        now = time.monotonic()
        portal, number, at = body.split(" ")
        key = int(portal)
        if int(number) != self._next.get(key, 0):
            self.disorder += 1
        self._next[key] = int(number) + 1
        self._latencies.append(now - float(at))
        self._finished[key] = now
        self.first = self.first or now
        self.last = now

    def summary(self) -> dict[str, Any]:
        """What `Arrived` is made of."""
        ordered = sorted(self._latencies)
        count = len(ordered)

        def percentile(part: float) -> float:
            return ordered[min(count - 1, int(count * part))] if count else 0.0

        return {
            "count": count,
            "disorder": self.disorder,
            "first": self.first,
            "last": self.last,
            "p50": percentile(0.5),
            "p95": percentile(0.95),
            "p99": percentile(0.99),
            "longest": percentile(1.0),
        }

    def finished(self, portal: int) -> float:
        """When the last message of a portal arrived; 0 when none did."""
        return self._finished.get(portal, 0.0)
