"""Who may write in a room, and how one user takes another's place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.ids import UserId
from dm_bridge.matrix.power import creators, may_write, with_power_of

GHOST, NEXT = UserId("@ghost:x"), UserId("@next:x")
OTHER = "@other:x"
Json = dict[str, Any]


def create(version: str, sender: str = OTHER, **content: object) -> Json:
    return {"sender": sender, "content": {"room_version": version, **content}}


def test_creators_outrank_everybody_from_version_12_on() -> None:
    assert creators(create("11", GHOST)) == frozenset()
    assert creators({"sender": GHOST, "content": {}}) == frozenset()
    assert creators(create("12", GHOST, additional_creators=[NEXT, 5])) == {GHOST, NEXT}
    assert creators(create("org.example.unknown", GHOST)) == {GHOST}


@pytest.mark.parametrize(
    ("levels", "creation", "may"),
    [
        ({}, create("11"), True),
        ({"events_default": 50}, create("11"), False),
        ({"events_default": 50}, create("12", GHOST), True),
        ({"events_default": 50, "users": {GHOST: 50}}, create("11"), True),
        ({"events_default": 50, "users_default": 50}, create("11"), True),
        ({"events": {"m.room.message": 1}}, create("11"), False),
        ({"events_default": 50, "events": {"m.room.message": 0}}, create("11"), True),
        ({"users": {GHOST: -1}}, create("11"), False),
    ],
)
def test_who_may_write(levels: Json, creation: Json, may: bool) -> None:
    assert may_write(levels, creation, GHOST) is may


@pytest.mark.parametrize(
    ("levels", "creation", "users"),
    [
        ({"users": {GHOST: 100, OTHER: 100}}, create("11"), {GHOST: 100, OTHER: 100, NEXT: 100}),
        ({"users": {GHOST: 50}}, create("11"), {GHOST: 50, NEXT: 50}),
        ({"users": {OTHER: 9}}, create("12", GHOST), {OTHER: 9, NEXT: 100}),
        ({}, create("12", OTHER, additional_creators=[GHOST]), {NEXT: 100}),
        ({"users": {GHOST: 50, NEXT: 50}}, create("11"), None),
        ({"users": {GHOST: 50}}, create("12", NEXT), None),
        ({}, create("11"), None),
    ],
)
def test_a_successor_gets_the_power_that_was_there(
    levels: Json, creation: Json, users: Json | None
) -> None:
    after = with_power_of({**levels, "ban": 60}, creation, GHOST, NEXT)
    assert after == (None if users is None else {**levels, "ban": 60, "users": users})


values = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
keys = st.sampled_from(["users", "events", "users_default", "events_default", GHOST])


@given(
    st.dictionaries(keys, values | st.dictionaries(st.sampled_from([GHOST, NEXT]), values)),
    st.fixed_dictionaries({}, optional={"sender": values, "content": values}),
)
def test_any_state_gives_an_answer(levels: Json, creation: Json) -> None:
    may_write(levels, creation, GHOST)
    with_power_of(levels, creation, GHOST, NEXT)
