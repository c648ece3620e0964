"""How many users each process has: even, the same answer for all, and little that moves."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.bridge.balance import fair_load, surplus
from dm_bridge.ids import UserId

NAMES = ["a", "b", "c", "d", "e"]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=5), st.integers(0, 200))
def test_the_fair_loads_add_up_and_differ_by_one_at_most(loads: list[int], free: int) -> None:
    names = NAMES[: len(loads)]
    have = dict(zip(names, loads, strict=True))
    fair = [fair_load(name, names, have, free) for name in names]
    assert sum(fair) == sum(loads) + free
    assert max(fair) - min(fair) <= 1


def test_one_more_is_for_who_has_most_so_that_little_moves() -> None:
    assert fair_load("b", ["a", "b"], {"a": 1, "b": 2}, 0) == 2
    assert fair_load("a", ["a", "b"], {"a": 1, "b": 2}, 0) == 1


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 4), max_size=30), st.integers(0, 60))
def test_who_gives_stays_at_the_fair_load_or_above(held: dict[str, int], target: int) -> None:
    users = {UserId(user): logins for user, logins in held.items()}
    given_away = surplus(users, target)
    rest = sum(users.values()) - sum(users[user] for user in given_away)
    assert rest >= min(target, sum(users.values()))
    assert all(users[user] for user in given_away)
    kept = [users[u] for u in users if u not in given_away and users[u]]
    assert not kept or min(kept) > rest - target  # nothing more could have been given


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_and_goes_all_come_to_rest_with_an_even_split(seed: int) -> None:
    chance = random.Random(seed)
    holder: dict[UserId, str | None] = {UserId(f"@u{n}"): None for n in range(100)}
    alive = ["a"]
    names = (f"p{n}" for n in itertools.count())
    for _ in range(6):
        if len(alive) > 1 and chance.random() < 0.4:
            gone = alive.pop(chance.randrange(len(alive)))
            holder = {user: None if who == gone else who for user, who in holder.items()}
        else:
            alive.append(next(names))
        moved = 0
        for _ in range(4):  # rounds; within one, each sees what those before it did
            for me in chance.sample(alive, len(alive)):
                moved += _round(me, alive, holder)
        loads = [sum(who == name for who in holder.values()) for name in alive]
        assert sum(loads) == 100
        assert max(loads) - min(loads) <= 1
        assert moved <= 101


def _round(me: str, alive: list[str], holder: dict[UserId, str | None]) -> int:
    loads = {name: sum(who == name for who in holder.values()) for name in alive}
    free = [user for user, who in holder.items() if who is None]
    target = fair_load(me, alive, loads, len(free))
    taken = free[: max(0, target - loads[me])]
    for user in taken:
        holder[user] = me
    for user in surplus({user: 1 for user, who in holder.items() if who == me}, target):
        holder[user] = None
    return len(taken)
