"""Histories of the simulator: some every time, and those that once went wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dm_bridge.testing.simulator.history import play

TOGETHER = 100
EVERY_TIME = range(0, 600, TOGETHER)
ONCE_WENT_WRONG = (1022, 1070, 1124, 1180, 1246, 1433, 1847, 3740, 4900, 5162, 7485, 8802, 24915)
"""Seeds beyond `EVERY_TIME` that found something when they were played first."""


def went_wrong(*seeds: int) -> list[str]:
    results = map(play, seeds)
    return [
        f"seed {result.seed}: {result.violations[0]}" for result in results if result.violations
    ]


@pytest.mark.parametrize("first", EVERY_TIME)
def test_every_history_ends_well(first: int) -> None:
    assert went_wrong(*range(first, first + TOGETHER)) == []


def test_what_once_went_wrong_does_not_again() -> None:
    assert went_wrong(*ONCE_WENT_WRONG) == []


@pytest.mark.parametrize("seed", [17, 19])
def test_a_seed_plays_the_same_history_to_the_byte_in_every_process(seed: int) -> None:
    traces = {played_apart(seed, hash_seed) for hash_seed in ("1", "2")}
    assert len(traces) == 1
    trace = traces.pop()
    assert trace.count("\n") > 100
    assert "fault: " in trace


def played_apart(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "dm_bridge.testing.simulator", "--seed", str(seed)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout
