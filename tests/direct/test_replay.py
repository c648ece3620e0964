"""A trace is played operation by operation, always to the same answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.replay import Replay
from dm_bridge.errors import UserError

GHOST, NEW = "@ghost:example.org", "@new:example.org"
rooms = st.sampled_from(["!a", "!b", "!c"])
ghosts = st.sampled_from([GHOST, NEW, "@third:example.org"])
contents = st.none() | st.dictionaries(
    ghosts | st.just("@friend:x"), st.lists(rooms, max_size=3) | st.none(), max_size=3
)
operations = st.one_of(
    st.fixed_dictionaries({"op": st.just("manage"), "room": rooms, "ghost": ghosts}),
    st.fixed_dictionaries({"op": st.sampled_from(["retire", "opt_in", "opt_out"]), "room": rooms}),
    st.fixed_dictionaries({"op": st.just("rename"), "ghost": ghosts, "to": ghosts}),
    st.fixed_dictionaries({"op": st.just("replace"), "room": rooms, "to": rooms}),
    st.fixed_dictionaries(
        {"op": st.just("observe"), "content": contents, "at": st.integers(0, 10**6)}
    ),
)


def played(*trace: dict[str, Any]) -> list[dict[str, Any]]:
    replay = Replay()
    return [answer for one in trace if (answer := replay.play(one)) is not None]


def manage(room: str = "!a", ghost: str = GHOST) -> dict[str, Any]:
    return {"op": "manage", "room": room, "ghost": ghost}


def see(content: Any, **more: Any) -> dict[str, Any]:
    return {"op": "observe", "content": content, **more}


@given(st.lists(operations, max_size=15))
def test_every_trace_of_known_operations_is_played_and_alike(trace: list[dict[str, Any]]) -> None:
    answers = played(*trace)
    assert answers == played(*trace)
    assert len(answers) == sum(one["op"] == "observe" for one in trace)
    for answer in answers:
        assert answer["action"] in ("keep", "put")
        assert ("content" in answer) == (answer["action"] == "put")
        assert answer["opted_out"] == sorted(answer["opted_out"])
        assert all(reason["kind"] and reason["sentence"] for reason in answer["reasons"])
        json.dumps(answer, allow_nan=False)


@given(st.lists(operations, max_size=10))
def test_a_put_that_is_seen_is_kept(trace: list[dict[str, Any]]) -> None:
    replay = Replay()
    for one in trace:
        answer = replay.play(one)
        if answer is not None and answer["action"] == "put":
            again = replay.play(see(answer["content"]))
            assert again is not None
            assert again["action"] == "keep"


def test_a_managed_room_is_marked_under_its_newest_ghost() -> None:
    (answer,) = played(manage(), manage(ghost=NEW), see({GHOST: ["!a"]}))
    assert answer["content"] == {NEW: ["!a"]}


def test_managing_again_changes_nothing() -> None:
    assert played(manage(), manage(), see({GHOST: ["!a"]}))[0]["action"] == "keep"


def test_a_retired_room_that_is_managed_again_keeps_the_users_decision() -> None:
    trace = [manage(), {"op": "opt_out", "room": "!a"}, {"op": "retire", "room": "!a"}]
    first, second = played(*trace, see({}), manage(), see({}))
    assert first["opted_out"] == []
    assert second["opted_out"] == ["!a"]
    assert second["action"] == "keep"


def test_an_opt_in_marks_the_room_again() -> None:
    (answer,) = played(
        manage(), {"op": "opt_out", "room": "!a"}, {"op": "opt_in", "room": "!a"}, see({})
    )
    assert answer["content"] == {GHOST: ["!a"]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "retire", "room": "!absent"},
        {"op": "rename", "ghost": "@absent:x", "to": NEW},
        {"op": "rename", "ghost": GHOST, "to": GHOST},
        {"op": "replace", "room": "!absent", "to": "!b"},
        {"op": "opt_out", "room": "!absent"},
        {"op": "opt_in", "room": "!absent"},
    ],
)
def test_an_operation_about_something_that_is_not_managed_changes_nothing(
    operation: dict[str, Any],
) -> None:
    replay = Replay()
    replay.play(manage())
    before = replay.mind
    assert replay.play(operation) is None
    assert replay.mind == before


def test_a_look_without_a_time_is_a_second_after_the_last() -> None:
    replay = Replay()
    replay.play(see({}, at=5))
    replay.play(see({"@a:x": ["!z"]}))
    assert [version.at for version in replay.mind.journal.versions] == [5.0, 6.0]


@pytest.mark.parametrize("content", [[], 5, True, 1.5])
def test_content_that_is_no_object_is_refused(content: Any) -> None:
    (answer,) = played(manage(), see(content))
    assert answer["action"] == "refuse"
    assert answer["reasons"][0]["kind"] == "not_an_object"


@pytest.mark.parametrize(
    "operation",
    [
        None,
        [],
        {},
        {"op": None},
        {"op": "nonsense"},
        {"op": "manage"},
        {"op": "manage", "room": "!a"},
        {"op": "manage", "room": "a", "ghost": GHOST},
        {"op": "manage", "room": "!a", "ghost": "ghost"},
        {"op": "observe"},
        {"op": "observe", "content": {}, "at": "1"},
        {"op": "observe", "content": {}, "at": float("inf")},
    ],
)
def test_an_operation_that_makes_no_sense_is_refused_and_changes_nothing(operation: Any) -> None:
    replay = Replay()
    replay.play(manage())
    before = replay.mind
    with pytest.raises(UserError) as error:
        replay.play(operation)
    assert error.value.message.endswith(".")
    assert replay.mind == before


def test_an_unknown_source_is_a_read() -> None:
    replay = Replay()
    replay.play(see({}, source="elsewhere"))
    replay.play(see({"@a:x": ["!z"]}, source="pushed"))
    assert [version.source.value for version in replay.mind.journal.versions] == ["read", "pushed"]


def test_what_was_answered_can_be_parsed_and_written() -> None:
    (answer,) = played(manage(), see({"junk": {"deep": [None]}}))
    document = DirectDocument.parse(json.dumps(answer["content"]))
    assert isinstance(document, DirectDocument)
    assert document.content()["junk"] == {"deep": [None]}
