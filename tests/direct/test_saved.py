"""A mind that was saved as JSON goes on as if nothing had been."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.direct import (
    DirectDocument,
    Ledger,
    Malformed,
    Mind,
    NotSet,
    activate,
    dump,
    load,
    manage,
    observe,
    retire,
)
from dm_bridge.ids import RoomId, UserId

ME, BOT = UserId("@me:example.org"), UserId("@bot:example.org")
GHOSTS = [UserId(f"@_dm_{name}:example.org") for name in "ab"]
ROOMS = [RoomId(f"!{number}:example.org") for number in range(4)]

contents = st.dictionaries(
    st.sampled_from([*GHOSTS, BOT, "@friend:example.org", "mail@example.org"]),
    st.lists(st.sampled_from([*ROOMS, "!other:example.org"]), max_size=3)
    | st.sampled_from(["junk", 2**70, 1.5, None]),
    max_size=3,
)
steps = st.lists(
    st.tuples(st.just("observe"), st.none() | contents, st.integers(0, 4000))
    | st.tuples(st.sampled_from(["manage", "retire"]), st.sampled_from(ROOMS), st.integers(0, 1)),
    max_size=20,
)


def step(mind: Mind, what: str, about: Any, number: int, at: float) -> tuple[Mind, object]:
    if what == "observe":
        document = NotSet() if about is None else DirectDocument.parse(about)
        assert not isinstance(document, Malformed)
        outcome = observe(mind, document, at=at)
        decision = outcome.decision
        said = getattr(decision, "document", None)
        return outcome.mind, (type(decision), decision, said and said.to_json())
    known = mind.ledger.managed.get(about)
    ledger = mind.ledger
    if what == "retire" and known is not None:
        ledger = retire(ledger, about)
    if what == "manage" and (known is None or known.state.value == "retired"):
        ledger = activate(manage(ledger, about, GHOSTS[number]), about)
    return replace(mind, ledger=ledger), None


def again(mind: Mind) -> Mind:
    return load(json.loads(json.dumps(dump(mind))))


@given(steps)
def test_it_decides_as_it_would_have_decided(steps: list[tuple[str, Any, int]]) -> None:
    live = saved = Mind(Ledger.of(ME, never_keys=[BOT]))
    at = 0.0
    for what, about, number in steps:
        at += number
        live, decided = step(live, what, about, number, at)
        saved, decided_too = step(again(saved), what, about, number, at)
        assert _plain(decided) == _plain(decided_too)
        assert dump(saved) == dump(live)


def _plain(decided: object) -> object:
    """A decision without the document, which compares by identity; its text is beside it."""
    if not isinstance(decided, tuple):
        return decided
    kind, decision, text = decided
    return kind, getattr(decision, "reasons", decision), text


def a_dump() -> dict[str, Any]:
    ledger = activate(manage(Ledger.of(ME), ROOMS[0], GHOSTS[0]), ROOMS[0])
    return dump(observe(Mind(ledger), NotSet(), at=1.0).mind)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {**a_dump(), "format": 2},
        {key: value for key, value in a_dump().items() if key != "managed"},
        {**a_dump(), "managed": [{"room": ROOMS[0]}]},
        {**a_dump(), "managed": a_dump()["managed"] * 2},
        {**a_dump(), "head": "[]"},
        {**a_dump(), "versions": [{**a_dump()["versions"][0], "source": "dreamt"}]},
        [],
        None,
    ],
)
def test_what_is_not_understood_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        load(wrong)
