"""The bridge is killed, frozen and restarted under load: nothing is lost, doubled or misordered."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import of_group
from tests.faults.load import Run
from tests.faults.scenarios import Scenario
from tests.faults.world import World


@pytest.mark.parametrize("scenario", of_group("process"), ids=lambda scenario: scenario.name)
async def test_nothing_is_lost_or_doubled_when_the_bridge_is(
    world: World, scenario: Scenario
) -> None:
    result = await Run(world, scenario.name, 0).play(scenario)
    assert result.complaints == [], "\n".join(result.complaints)
    assert result.injected
    assert result.to_matrix.accepted
    assert result.to_network.accepted
