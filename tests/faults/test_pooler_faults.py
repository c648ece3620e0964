"""Behind PgBouncer in transaction mode: nothing is lost, doubled or misordered either."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import of_group
from tests.faults.load import every_message_arrives_once
from tests.faults.scenarios import Scenario, chains
from tests.faults.world import World

FEW = of_group("pooler")[::4]
"""Each is played without a pooler too; `make faults` plays all of them behind one."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", chains(FEW, 8), ids=lambda each: each.short)
async def test_whatever_happens_behind_a_pooler_every_message_arrives_once(
    pooled_world: World, scenario: Scenario
) -> None:
    await every_message_arrives_once(pooled_world, scenario)
