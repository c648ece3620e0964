"""Every scenario."""

from __future__ import annotations

from tests.faults import databases, homeserver, instances, killing, networks
from tests.faults.scenarios import Scenario

SCENARIOS: tuple[Scenario, ...] = (
    *killing.SCENARIOS,
    *homeserver.SCENARIOS,
    *databases.SCENARIOS,
    *networks.SCENARIOS,
    *instances.SCENARIOS,
)


def of_group(group: str) -> list[Scenario]:
    """The scenarios of one group."""
    return [scenario for scenario in SCENARIOS if scenario.group == group]
