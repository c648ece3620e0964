"""The catalogue names every fault once, and the suite leaves none out."""

from __future__ import annotations

from tests.faults.catalogue import SCENARIOS, of_group
from tests.faults.scenarios import chains


def test_no_two_scenarios_have_one_name() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)


def test_chains_leave_nothing_out() -> None:
    every = of_group("bridge")
    steps = [step for scenario in chains(every, 8) for step in scenario.steps]
    assert steps == [step for scenario in every for step in scenario.steps]


def test_only_what_is_behind_a_pooler_needs_one() -> None:
    assert {scenario.group for scenario in SCENARIOS if scenario.pooled} == {"pooler"}
