"""The sweep's turns: even, bounded, and at peace with restarts."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from statistics import mean

import pytest

from dm_bridge.bridge.sweep import CATCHING_UP, Sweep
from dm_bridge.ids import UserId

DAY = 86_400.0
NOON = 1_800_000_000.0


def accounts(count: int) -> list[UserId]:
    return [UserId(f"@user{number}:example.org") for number in range(count)]


def turns(sweep: Sweep, begin: float, end: float) -> list[tuple[float, UserId]]:
    """Every turn from ``begin`` to ``end``, with a clock that jumps to the next."""
    found = []
    now = begin
    while now < end:
        turn = sweep.pop(now)
        if turn is not None:
            found.append((now, turn[0]))
            continue
        wait = sweep.wait(now)
        assert wait is not None
        now += max(wait, 1e-3)
    return found


def test_ten_thousand_accounts_have_one_turn_a_day_each_and_the_load_is_even() -> None:
    sweep = Sweep(DAY, 5)
    everybody = accounts(10_000)
    sweep.replace(everybody, NOON, lambda _: NOON - 1)
    found = turns(sweep, NOON, NOON + DAY)
    assert Counter(account for _, account in found) == Counter(everybody)
    for minutes, spread in ((10, 2.0), (60, 1.25)):
        load = Counter(int((at - NOON) // (60 * minutes)) for at, _ in found)
        assert len(load) == 24 * 60 / minutes
        assert mean(load.values()) / spread < min(load.values())
        assert max(load.values()) < mean(load.values()) * spread


def test_after_a_long_stop_everybody_has_a_turn_soon_at_the_allowed_rate() -> None:
    sweep = Sweep(DAY, 5)
    sweep.replace(accounts(10_000), NOON, lambda _: NOON - 3 * DAY)
    found = turns(sweep, NOON, NOON + 2 * 10_000 / 5 + 60)
    assert len({account for _, account in found}) == 10_000
    gaps = [after - before for (before, _), (after, _) in pairwise(found)]
    assert min(gaps) >= 0.2 - 1e-3
    minutes = Counter(int((at - NOON) // 60) for at, _ in found)
    assert max(minutes.values()) <= 300
    caught_up = NOON + 2 * 10_000 / 5 + 60
    later = turns(sweep, caught_up, caught_up + DAY)
    load = Counter(int((at - caught_up) // 3600) for at, _ in later)
    assert max(load.values()) < 10_000 / 24 * 1.25


def test_a_restart_neither_repeats_nor_forgets_turns() -> None:
    everybody = accounts(500)
    last = dict.fromkeys(everybody, NOON - 1)
    sweep = Sweep(DAY, 5)
    sweep.replace(everybody, NOON, last.get)
    now = NOON
    swept: Counter[UserId] = Counter()
    for _ in range(24):  # a restart every hour, for a day
        for at, account in turns(sweep, now, now + 3600):
            last[account] = at
            swept[account] += 1
        now += 3600
        sweep = Sweep(DAY, 5)
        sweep.replace(everybody, now, last.get)
    assert swept == Counter(everybody)


def test_a_few_accounts_that_nobody_has_seen_need_not_wait_for_a_day() -> None:
    sweep = Sweep(DAY, 5)
    sweep.replace(accounts(3), NOON, lambda _: None)
    assert len({account for _, account in turns(sweep, NOON, NOON + CATCHING_UP)}) == 3


def test_accounts_that_stay_keep_their_turns_and_those_that_go_have_none() -> None:
    sweep = Sweep(DAY, 5)
    sweep.replace(accounts(10), NOON, lambda _: NOON)
    before = sweep.wait(NOON)
    for _ in range(200):
        sweep.replace(accounts(10), NOON, lambda _: None)
    assert sweep.wait(NOON) == before
    sweep.replace(accounts(1), NOON, lambda _: None)
    assert {account for _, account in turns(sweep, NOON, NOON + DAY)} == set(accounts(1))
    sweep.replace([], NOON, lambda _: None)
    assert (len(sweep), sweep.wait(NOON), sweep.pop(NOON + DAY)) == (0, None, None)


def test_after_a_gap_those_who_may_have_changed_have_a_turn_soon_once() -> None:
    sweep = Sweep(DAY, 5)
    everybody = accounts(100)
    sweep.replace(everybody, NOON, lambda _: NOON)
    some = set(everybody[:40])
    for _ in range(3):
        sweep.hurry(NOON, lambda account: account in some)
    hurried = []
    now = NOON
    while now < NOON + CATCHING_UP:
        turn = sweep.pop(now)
        if turn is not None and turn[1]:
            hurried.append(turn[0])
        now += 0.25
    assert sorted(hurried) == sorted(some)


@pytest.mark.parametrize("jump", [-10 * DAY, 10 * DAY])
def test_a_clock_that_is_set_stops_nothing(jump: float) -> None:
    sweep = Sweep(DAY, 5)
    everybody = accounts(50)
    sweep.replace(everybody, NOON, lambda _: None)
    turns(sweep, NOON, NOON + 60)
    sweep.replace([], NOON + jump, lambda _: None)
    sweep.replace(everybody, NOON + jump, lambda _: None)
    found = turns(sweep, NOON + jump, NOON + jump + CATCHING_UP)
    assert len({account for _, account in found}) == 50
