"""What a scenario is: a name, a group, and what is done to a bridge under load.

The rule that must never break: a scenario counts in `Run.injected` only what has really happened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.load import Run

Inject = Callable[["Run"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """``name``: as in the table. ``group``: what is harmed. ``steps``: do it, one after the other, while people
    write; after each, all is mended. ``people``: how many have a login. ``pooled``: behind PgBouncer.
    """

    name: str
    group: str
    steps: tuple[Inject, ...]
    people: int = 2
    pooled: bool = False

    @property
    def short(self) -> str:
        """A name for a test."""
        return f"{self.name.partition(';')[0]}, {len(self.steps)} faults"


def one(name: str, group: str, inject: Inject) -> Scenario:
    """A scenario of one step."""
    return Scenario(name, group, (inject,))


def behind_pooler(scenario: Scenario) -> Scenario:
    """The same behind PgBouncer."""
    name = f"behind PgBouncer: {scenario.name}"
    return dataclasses.replace(scenario, name=name, group="pooler", pooled=True)


def chains(scenarios: Sequence[Scenario], length: int) -> list[Scenario]:
    """The same steps in fewer runs: ``length`` scenarios, one after the other, are one."""
    parts = [scenarios[at : at + length] for at in range(0, len(scenarios), length)]
    return [
        Scenario(
            "; ".join(each.name for each in part),
            part[0].group,
            tuple(step for each in part for step in each.steps),
            max(each.people for each in part),
            pooled=part[0].pooled,
        )
        for part in parts
    ]
