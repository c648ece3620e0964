"""Every scenario."""

from __future__ import annotations

from tests.faults import databases, homeserver, instances, killing, networks
from tests.faults.scenarios import Scenario, behind_pooler

_POOLED = (
    killing.SCENARIOS[0],
    killing.SCENARIOS[3],
    killing.SCENARIOS[7],
    killing.SCENARIOS[10],
    *databases.SCENARIOS[:12],
    *instances.SCENARIOS[1:2],
)

SCENARIOS: tuple[Scenario, ...] = (
    *killing.SCENARIOS,
    *homeserver.SCENARIOS,
    *databases.SCENARIOS,
    *networks.SCENARIOS,
    *instances.SCENARIOS,
    *map(behind_pooler, _POOLED),
)


def of_group(group: str) -> list[Scenario]:
    """The scenarios of one group."""
    return [scenario for scenario in SCENARIOS if scenario.group == group]


def few(group: str) -> list[Scenario]:
    """What the suite plays of a group; `make faults` plays all of it."""
    return of_group(group)[:: _EVERY[group]]


_EVERY = {"bridge": 10, "homeserver": 6, "database": 10, "network": 5, "instances": 3, "pooler": 12}
