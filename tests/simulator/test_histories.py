"""Histories of the simulator: some every time, and those that once went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

import pytest

from dm_bridge.testing.simulator.history import play
from dm_bridge.testing.simulator.plan import MANY, ONE, RESTORED

TOGETHER = 100
EVERY_TIME = [
    *((ONE, first) for first in range(0, 100, TOGETHER)),
    *((kind, first) for kind in (MANY, RESTORED) for first in range(0, 100, TOGETHER)),
]
ONCE_WENT_WRONG = (
    1022,
    1070,
    1124,
    1180,
    1246,
    1433,
    1847,
    3740,
    4900,
    5162,
    7485,
    8802,
    24915,
    211136680,
)
"""Seeds beyond `EVERY_TIME` that found something when they were played first."""
MANY_ONCE_WENT_WRONG = (100291, 7400264, 565205907, 210367165, 211132630)
RESTORED_ONCE_WENT_WRONG = (691, 101259, 7300451, 7301268, 7301444, 454592078, 454593118)


def went_wrong(seeds: Iterable[int], kind: str = ONE) -> list[str]:
    results = (play(seed, kind) for seed in seeds)
    return [
        f"{kind} {result.seed}: {result.violations[0]}" for result in results if result.violations
    ]


@pytest.mark.parametrize(("kind", "first"), EVERY_TIME)
def test_every_history_ends_well(kind: str, first: int) -> None:
    assert went_wrong(range(first, first + TOGETHER), kind) == []


def test_what_once_went_wrong_does_not_again() -> None:
    assert went_wrong(ONCE_WENT_WRONG) == []
    assert went_wrong(MANY_ONCE_WENT_WRONG, MANY) == []
    assert went_wrong(RESTORED_ONCE_WENT_WRONG, RESTORED) == []


@pytest.mark.parametrize(("kind", "seed"), [(ONE, 17), (ONE, 19), (MANY, 30), (RESTORED, 17)])
def test_a_seed_plays_the_same_history_to_the_byte_in_every_process(kind: str, seed: int) -> None:
    traces = {played_apart(kind, seed, hash_seed) for hash_seed in ("1", "2")}
    assert len(traces) == 1
    trace = traces.pop()
    assert trace.count("\n") > 100
    assert "fault: " in trace


def played_apart(kind: str, seed: int, hash_seed: str) -> str:
    arguments = ["--kind", kind, "--seed", str(seed)]
    command = [sys.executable, "-m", "dm_bridge.testing.simulator", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout
