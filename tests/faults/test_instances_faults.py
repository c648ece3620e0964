"""Two processes die, stand still and are restarted under load: nothing is lost, doubled or misordered."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import few
from tests.faults.load import every_message_arrives_once
from tests.faults.scenarios import Scenario, chains
from tests.faults.world import World


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", chains(few("instances"), 8), ids=lambda each: each.short)
async def test_whatever_becomes_of_two_processes_every_message_arrives_once(
    world: World, scenario: Scenario
) -> None:
    await every_message_arrives_once(world, scenario)
