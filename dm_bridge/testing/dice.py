"""Chance, from a seed: what happens in a simulation is drawn here and nowhere else.

The rule that must never break: the same seed draws the same; and whatever was injected has been counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random


class Dice:
    """``draw``: the numbers. ``injected``: how often each fault was. ``trace``: what happened, in order."""

    def __init__(self, seed: int | str, now: Callable[[], float] = lambda: 0.0) -> None:
        self.draw = Random(str(seed))  # noqa: S311 - a simulation, no secret
        self.injected: Counter[str] = Counter()
        self.trace: list[str] = []
        self._now = now

    def chance(self, probability: float) -> bool:
        """Whether something happens that does with this probability."""
        return probability > 0.0 and self.draw.random() < probability

    def between(self, least: float, most: float) -> float:
        """A number, most often nearer to ``least``."""
        return least + (most - least) * self.draw.random() ** 2

    def inject(self, fault: str) -> None:
        """Count a fault that is about to happen."""
        self.injected[fault] += 1
        self.say(f"fault: {fault}")

    def say(self, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self._now():10.3f} {what}")
