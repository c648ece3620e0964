"""What a scenario is: a name, a group, and what is done to a bridge under load.

The rule that must never break: a scenario counts in `Run.injected` only what has really happened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.load import Run

Inject = Callable[["Run"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """``name``: as in the table. ``group``: what is harmed. ``inject``: does it; the load goes on meanwhile."""

    name: str
    group: str
    inject: Inject
    people: int = 2
