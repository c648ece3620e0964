"""Behind PgBouncer in transaction mode: nothing is lost, doubled or misordered either."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import few
from tests.faults.load import every_message_arrives_once
from tests.faults.scenarios import Scenario, chains
from tests.faults.world import World


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", chains(few("pooler"), 8), ids=lambda each: each.short)
async def test_whatever_happens_behind_a_pooler_every_message_arrives_once(
    pooled_world: World, scenario: Scenario
) -> None:
    await every_message_arrives_once(pooled_world, scenario)
