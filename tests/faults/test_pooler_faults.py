"""Behind PgBouncer in transaction mode: nothing is lost, doubled or misordered either."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import of_group
from tests.faults.load import Run
from tests.faults.scenarios import Scenario, chains
from tests.faults.world import World

FEW = of_group("pooler")[::4]
"""Each is played without a pooler too; `make faults` plays all of them behind one."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", chains(FEW, 8), ids=lambda each: each.short)
async def test_whatever_happens_behind_a_pooler_every_message_arrives_once(
    pooled_world: World, scenario: Scenario
) -> None:
    result = await Run(pooled_world, scenario.name, 0).play(scenario)
    assert result.complaints == [], "\n".join(result.complaints)
    assert result.injected >= len(scenario.steps)
    assert result.to_matrix.accepted
    assert result.to_network.accepted
