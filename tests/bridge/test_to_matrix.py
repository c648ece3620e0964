"""Carrying events into Matrix: the decisions that need no server."""

from __future__ import annotations

import math

import pytest

from dm_bridge.bridge.to_matrix import plausible_time

NOW = 1_800_000_000.0


@pytest.mark.parametrize("sent_at", [0.0, 1.5, NOW - 1, NOW])
def test_a_time_in_the_past_is_kept(sent_at: float) -> None:
    assert plausible_time(sent_at, NOW) == sent_at


@pytest.mark.parametrize("sent_at", [None, -1.0, -(2.0**63), NOW + 1, 2.0**63, math.inf, math.nan])
def test_any_other_time_counts_as_unknown(sent_at: float | None) -> None:
    assert plausible_time(sent_at, NOW) is None
