"""An m.direct document keeps what it does not own, and refuses what it could not keep."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dm_bridge.direct.document import (
    MAX_DEPTH,
    DirectDocument,
    Malformed,
    MalformedReason,
    is_room_id,
    is_user_id,
)
from dm_bridge.ids import RoomId, UserId

ANNA, BERT = UserId("@anna:example.org"), UserId("@bert:example.org")
ONE, TWO, THREE = RoomId("!one:example.org"), RoomId("!two"), RoomId("!three:[::1]:8448")

USERS = [ANNA, BERT, UserId("@Carl Smith:example.org"), UserId("@d:1.2.3.4:8448")]
ROOMS = [ONE, TWO, THREE]

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text() | st.sampled_from([*ROOMS, *USERS]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
keys = st.sampled_from([*USERS, "mail@example.org", "", "@", "x"]) | st.text()
lists_of_rooms = st.lists(st.sampled_from(ROOMS), max_size=6)
contents = st.dictionaries(keys, lists_of_rooms | json_values, max_size=6)

JUNK: dict[str, Any] = {
    "@string:example.org": "!one:example.org",
    "@null:example.org": None,
    "@number:example.org": 10**400,
    "@float:example.org": -0.1e-7,
    "@true:example.org": True,
    "@nested:example.org": {"b": [[], {"a": [None, "!one:example.org"]}], "a": 1.0},
    "@mixed:example.org": ["!two", 5, "!two", None, ["!one:example.org"], "!local.x", "junk"],
    "@empty:example.org": [],
    "mail@example.org": ["!one:example.org"],
    "": ["!one:example.org"],
    "surrogate \ud800": "\udfff",
    "z": {},
    "a": [],
}


def parse(content: Mapping[str, Any] | str | bytes) -> DirectDocument:
    document = DirectDocument.parse(content)
    assert isinstance(document, DirectDocument)
    return document


def exact(content: object) -> str:
    """The JSON text of a value: unlike ``==`` it tells order, and 1 from 1.0 from true."""
    return json.dumps(content)


@given(contents)
@example(JUNK)
def test_what_was_parsed_comes_out_as_it_went_in(content: dict[str, Any]) -> None:
    text = exact(content)
    for raw in (content, text, text.encode(), json.dumps(content, indent=3)):
        document = parse(raw)
        assert exact(document.content()) == text
        assert exact(json.loads(document.to_json())) == text


@given(contents, st.sampled_from(USERS), st.sampled_from(ROOMS))
@example(JUNK, ANNA, ONE)
def test_an_edit_leaves_every_other_key_as_it_was(
    content: dict[str, Any], key: UserId, room: RoomId
) -> None:
    before = parse(content)
    for after in (before.edit(ensure=[(key, room)]), before.edit(drop=[(key, room)])):
        others_before = [(k, exact(v)) for k, v in before.content().items() if k != key]
        others_after = [(k, exact(v)) for k, v in after.content().items() if k != key]
        assert others_before == others_after


@given(contents, st.sampled_from(USERS), st.sampled_from(ROOMS))
def test_adding_then_reading_finds_the_entry_and_all_earlier_ones(
    content: dict[str, Any], key: UserId, room: RoomId
) -> None:
    before = parse(content)
    after = before.edit(ensure=[(key, room)])
    assert after.entries() == before.entries() | {(key, room)}
    assert key not in after.unsound()
    value = after.content()[key]
    assert len(set(value)) == len(value)


@given(contents, st.sampled_from(USERS), st.sampled_from(ROOMS))
def test_removing_takes_one_entry_and_no_other(
    content: dict[str, Any], key: UserId, room: RoomId
) -> None:
    before = parse(content)
    assert before.edit(drop=[(key, room)]).entries() == before.entries() - {(key, room)}


@given(contents, st.sampled_from(USERS), st.sampled_from(ROOMS))
def test_editing_twice_is_editing_once(content: dict[str, Any], key: UserId, room: RoomId) -> None:
    document = parse(content)
    added, removed = document.edit(ensure=[(key, room)]), document.edit(drop=[(key, room)])
    assert added.edit(ensure=[(key, room)]).to_json() == added.to_json()
    assert removed.edit(drop=[(key, room)]).to_json() == removed.to_json()


def test_a_new_room_is_appended_to_a_list_that_keeps_its_order() -> None:
    document = parse({BERT: ["!x"], ANNA: ["!b", "!a", "!c"]}).edit(ensure=[(ANNA, ONE)])
    assert exact(document.content()) == exact({BERT: ["!x"], ANNA: ["!b", "!a", "!c", ONE]})


def test_a_new_key_is_appended_after_all_others() -> None:
    assert list(parse({BERT: ["!x"], "z": 1}).edit(ensure=[(ANNA, ONE)]).content()) == [
        BERT,
        "z",
        ANNA,
    ]


def test_duplicates_collapse_in_a_key_that_is_edited_and_stay_in_the_others() -> None:
    document = parse({ANNA: [ONE, TWO, ONE], BERT: [ONE, ONE]}).edit(ensure=[(ANNA, ONE)])
    assert document.content() == {ANNA: [ONE, TWO], BERT: [ONE, ONE]}


def test_a_duplicate_is_removed_as_often_as_it_stands_there() -> None:
    assert parse({ANNA: [ONE, TWO, ONE]}).edit(drop=[(ANNA, ONE)]).content() == {ANNA: [TWO]}


def test_a_key_goes_only_with_the_last_thing_in_it() -> None:
    assert parse({ANNA: [ONE, ONE]}).edit(drop=[(ANNA, ONE)]).content() == {}
    assert parse({ANNA: [ONE, 5]}).edit(drop=[(ANNA, ONE)]).content() == {ANNA: [5]}


def test_a_key_that_somebody_else_left_empty_stays() -> None:
    assert parse({ANNA: []}).edit(drop=[(ANNA, ONE)]).content() == {ANNA: []}


@pytest.mark.parametrize("value", ["!one:example.org", None, 5, True, {"!one": 1}, 1.5])
def test_adding_to_a_value_that_is_no_list_repairs_that_key_alone(value: object) -> None:
    document = parse({ANNA: value, BERT: value})
    assert document.unsound() == [ANNA, BERT]
    assert exact(document.edit(ensure=[(ANNA, ONE)]).content()) == exact({ANNA: [ONE], BERT: value})


def test_adding_to_a_list_with_junk_keeps_its_rooms_and_drops_the_junk() -> None:
    document = parse({ANNA: ["!b", 5, None, ["!c"], "junk", "!a"]}).edit(ensure=[(ANNA, ONE)])
    assert document.content() == {ANNA: ["!b", "!a", ONE]}


@pytest.mark.parametrize("value", ["!one:example.org", None, {"!one:example.org": []}])
def test_removing_from_a_value_that_is_no_list_changes_nothing(value: object) -> None:
    assert parse({ANNA: value}).edit(drop=[(ANNA, ONE)]).content() == {ANNA: value}


def test_a_move_within_one_edit_keeps_the_key_in_its_place() -> None:
    document = parse({ANNA: [ONE], BERT: [TWO]}).edit(ensure=[(ANNA, TWO)], drop=[(ANNA, ONE)])
    assert exact(document.content()) == exact({ANNA: [TWO], BERT: [TWO]})


@pytest.mark.parametrize(
    "entry", [("mail@example.org", ONE), (ANNA, ""), (ANNA, "one"), ("", ONE), (ANNA, 5)]
)
def test_an_ill_formed_entry_is_never_written(entry: Any) -> None:
    with pytest.raises(ValueError, match="not an entry"):
        DirectDocument().edit(ensure=[entry])


def test_an_entry_cannot_be_asked_for_and_dropped_at_once() -> None:
    with pytest.raises(ValueError, match="both"):
        DirectDocument().edit(ensure=[(ANNA, ONE)], drop=[(ANNA, ONE)])


@given(contents)
@example(JUNK)
def test_nothing_mutable_is_shared_with_the_input_or_between_outputs(
    content: dict[str, Any],
) -> None:
    source = copy.deepcopy(content)
    document = parse(source)
    text = document.to_json()
    for mine in (source, document.content(), document.edit(ensure=[(ANNA, ONE)]).content()):
        _spoil(mine)
    assert document.to_json() == text


def _spoil(value: Any) -> None:
    if isinstance(value, dict):
        for inner in list(value.values()):
            _spoil(inner)
        value.clear()
        value["spoiled"] = True
    elif isinstance(value, list):
        for inner in value:
            _spoil(inner)
        value.append("spoiled")


@given(contents)
def test_an_edit_leaves_the_document_and_its_source_as_they_were(content: dict[str, Any]) -> None:
    source = copy.deepcopy(content)
    document = parse(content)
    text = document.to_json()
    document.edit(ensure=[(ANNA, ONE), (BERT, TWO)], drop=[(ANNA, TWO)])
    assert document.to_json() == text
    assert exact(content) == exact(source)


def test_a_document_does_not_show_whom_it_names_when_it_is_printed() -> None:
    assert "anna" not in repr(parse({ANNA: [ONE]}))


@given(contents, st.randoms(use_true_random=False))
def test_order_and_duplicates_and_empty_lists_carry_no_meaning(
    content: dict[str, Any], random: Any
) -> None:
    shuffled = {
        key: random.sample([*value, *value[:1]], len(value) + len(value[:1]))
        if is_user_id(key) and isinstance(value, list) and all(map(is_room_id, value))
        else value
        for key, value in random.sample(list(content.items()), len(content))
    }
    shuffled.setdefault("@nobody:example.org", [])
    assert parse(content).same_meaning(parse(shuffled))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({ANNA: [ONE]}, {}),
        ({ANNA: [ONE]}, {BERT: [ONE]}),
        ({ANNA: [ONE]}, {ANNA: [ONE, TWO]}),
        ({"x": 1}, {"x": True}),
        ({"x": 1}, {"x": 1.0}),
        ({"x": [1, 2]}, {"x": [2, 1]}),
        ({"mail@example.org": []}, {}),
        ({ANNA: [ONE, 5]}, {ANNA: [ONE]}),
        ({ANNA: {}}, {ANNA: []}),
        ({ANNA: None}, {}),
    ],
)
def test_any_other_difference_is_one(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert not parse(left).same_meaning(parse(right))
    assert not parse(right).same_meaning(parse(left))


def test_only_well_formed_entries_are_entries() -> None:
    assert parse(JUNK).entries() == {
        ("@mixed:example.org", "!two"),
        ("@mixed:example.org", "!local.x"),
    }


def test_the_keys_of_a_room_are_told_in_order_and_once() -> None:
    document = parse({BERT: [TWO, ONE, ONE], "mail@example.org": [ONE], ANNA: [ONE], "@": [ONE]})
    assert document.keys_of({ONE, THREE}) == {ONE: (BERT, "mail@example.org", ANNA, "@")}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", MalformedReason.NOT_JSON),
        ("<html><body>502 Bad Gateway</body></html>", MalformedReason.NOT_JSON),
        ('{"@a:b": ["!c"]', MalformedReason.NOT_JSON),
        (b"\xff{}", MalformedReason.NOT_JSON),
        ('{"x": ' + "9" * 5000 + "}", MalformedReason.NOT_JSON),
        ("[]", MalformedReason.NOT_AN_OBJECT),
        ("null", MalformedReason.NOT_AN_OBJECT),
        ('"@a:b"', MalformedReason.NOT_AN_OBJECT),
        ("5", MalformedReason.NOT_AN_OBJECT),
        ('{"x": 1e999}', MalformedReason.NUMBER_OUT_OF_RANGE),
        ('{"x": [NaN]}', MalformedReason.NUMBER_OUT_OF_RANGE),
        ('{"x": {"y": -Infinity}}', MalformedReason.NUMBER_OUT_OF_RANGE),
        ('{"@a:b": ["!c"], "@a:b": ["!d"]}', MalformedReason.DUPLICATE_KEY),
        ('{"x": [{"y": 1, "y": 1}]}', MalformedReason.DUPLICATE_KEY),
        ('{"x": ' + "[" * 5000 + "]" * 5000 + "}", MalformedReason.TOO_DEEP),
        ('{"x":' * MAX_DEPTH + "{}" + "}" * MAX_DEPTH, MalformedReason.TOO_DEEP),
    ],
)
def test_what_could_not_be_written_back_is_malformed(
    raw: str | bytes, reason: MalformedReason
) -> None:
    assert DirectDocument.parse(raw) == Malformed(reason)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"x": float("inf")}, MalformedReason.NUMBER_OUT_OF_RANGE),
        ({"x": float("nan")}, MalformedReason.NUMBER_OUT_OF_RANGE),
        ({"x": b"bytes"}, MalformedReason.NOT_JSON),
        ({"x": {1: 2}}, MalformedReason.NOT_JSON),
        ({"x": {"set"}}, MalformedReason.NOT_JSON),
        ([], MalformedReason.NOT_AN_OBJECT),
        (None, MalformedReason.NOT_AN_OBJECT),
    ],
)
def test_values_that_are_no_json_object_are_malformed(raw: Any, reason: MalformedReason) -> None:
    assert DirectDocument.parse(raw) == Malformed(reason)


def test_a_mapping_that_contains_itself_is_malformed_and_not_a_crash() -> None:
    endless: dict[str, Any] = {}
    endless["x"] = endless
    assert DirectDocument.parse(endless) == Malformed(MalformedReason.TOO_DEEP)


def test_the_deepest_document_that_is_accepted_survives() -> None:
    text = '{"x":' * (MAX_DEPTH - 1) + "{}" + "}" * (MAX_DEPTH - 1)
    assert parse(text).edit(ensure=[(ANNA, ONE)]).edit(drop=[(ANNA, ONE)]).to_json() == text


@pytest.mark.parametrize("reason", list(MalformedReason))
def test_every_reason_has_its_own_sentence(reason: MalformedReason) -> None:
    assert reason.sentence.startswith("i") or reason.sentence.startswith("one of")
    assert sum(other.sentence == reason.sentence for other in MalformedReason) == 1


@given(st.text() | st.binary())
def test_parsing_never_fails(raw: str | bytes) -> None:
    assert isinstance(DirectDocument.parse(raw), DirectDocument | Malformed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@a:b", True),
        ("@A b=é/+:example.org:8448", True),
        ("@a:[2001:db8::1]", True),
        ("@" + "a" * 242 + ":example.org", True),
        ("@" + "a" * 243 + ":example.org", False),
        ("@é" + "a" * 241 + ":example.org", False),
        ("@:b", False),
        ("@a", False),
        ("@a:", False),
        ("a:b", False),
        ("a@b:c", False),
        ("@a:b c", False),
        ("@a:b\n", False),
        ("@a\0:b", False),
        ("@\ud800:b", False),
        ("", False),
    ],
)
def test_a_user_id_is_told_from_other_keys(text: str, expected: bool) -> None:
    assert is_user_id(text) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("!opaque:example.org", True),
        ("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM", True),
        ("!" + "a" * 254, True),
        ("!" + "a" * 255, False),
        ("!", False),
        ("#alias:example.org", False),
        ("!a b", False),
        ("!a\n", False),
        ("!a\0", False),
        ("!\ud800", False),
        ("", False),
        (None, False),
        (5, False),
        (["!a"], False),
    ],
)
def test_a_room_id_is_told_from_other_values(value: object, expected: bool) -> None:
    assert is_room_id(value) is expected
