"""The bridge is killed, frozen and restarted under load: nothing is lost, doubled or misordered."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import every_second
from tests.faults.load import Run
from tests.faults.scenarios import Scenario, chains
from tests.faults.world import World


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", chains(every_second("bridge"), 8), ids=lambda each: each.short)
async def test_whatever_becomes_of_the_bridge_every_message_arrives_once(
    world: World, scenario: Scenario
) -> None:
    result = await Run(world, scenario.name, 0).play(scenario)
    assert result.complaints == [], "\n".join(result.complaints)
    assert result.injected >= len(scenario.steps)
    assert result.to_matrix.accepted
    assert result.to_network.accepted
