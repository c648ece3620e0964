"""A change says what differs in meaning between two documents, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.direct.change import NO_CHANGE, Change, difference, subject, subjects
from dm_bridge.direct.document import DirectDocument

ANNA, BERT = "@anna:example.org", "@bert:example.org"

values = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, "!a", "!b", "!c", "x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=5,
)
lists = st.lists(st.sampled_from(["!a", "!b", "!c", "!d"]), max_size=5)
contents = st.dictionaries(
    st.sampled_from([ANNA, BERT, "@c:x", "mail@example.org", ""]), lists | values, max_size=5
)


def parse(content: Any) -> DirectDocument:
    document = DirectDocument.parse(content)
    assert isinstance(document, DirectDocument)
    return document


@given(contents, contents)
def test_a_change_is_empty_exactly_when_both_mean_the_same(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    before, after = parse(old), parse(new)
    assert (not difference(before, after)) == before.same_meaning(after)


@given(contents, contents)
def test_the_way_back_is_the_change_turned_round(old: dict[str, Any], new: dict[str, Any]) -> None:
    there, back = difference(parse(old), parse(new)), difference(parse(new), parse(old))
    assert (there.added, there.removed) == (back.removed, back.added)
    assert there.added.isdisjoint(there.removed)


@given(contents, contents)
def test_a_change_of_rooms_is_the_difference_of_the_entries(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    before, after = parse(old), parse(new)
    change = difference(before, after)
    rooms = {atom for atom in change.added | change.removed if atom[1].startswith("!")}
    assert rooms == set(before.entries() ^ after.entries())


@given(contents, contents)
def test_a_patch_with_the_change_leads_from_one_to_the_other_in_entries(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    before, after = parse(old), parse(new)
    change = difference(before, after)
    assert before.patch(change.added, change.removed, after).entries() == after.entries()


def test_a_document_does_not_differ_from_itself_nor_from_its_copy() -> None:
    document = parse({ANNA: ["!a"], "junk": [None]})
    assert difference(document, document) is NO_CHANGE
    assert difference(document, parse(document.to_json())) == NO_CHANGE


@pytest.mark.parametrize(
    ("old", "new", "added", "removed"),
    [
        ({}, {ANNA: ["!a"]}, {(ANNA, "!a")}, set()),
        ({ANNA: ["!a"]}, {BERT: ["!a"]}, {(BERT, "!a")}, {(ANNA, "!a")}),
        ({ANNA: ["!a", "!b"]}, {ANNA: ["!b", "!b"], BERT: []}, set(), {(ANNA, "!a")}),
        ({"x": 1}, {"x": True}, {("x", "true")}, {("x", "1")}),
        ({ANNA: ["!a"]}, {ANNA: None}, {(ANNA, "null")}, {(ANNA, "!a")}),
        ({ANNA: ["!a", 5]}, {ANNA: ["!a"]}, set(), {(ANNA, "[5]")}),
        ({"mail@x": []}, {}, set(), {("mail@x", "[]")}),
        ({"mail@x": ["!a"]}, {}, set(), {("mail@x", '["!a"]')}),
    ],
)
def test_a_change_names_each_atom_that_came_or_went(
    old: dict[str, Any], new: dict[str, Any], added: set[Any], removed: set[Any]
) -> None:
    assert difference(parse(old), parse(new)) == Change(frozenset(added), frozenset(removed))


def test_a_room_that_changes_its_key_is_one_subject_and_other_content_another() -> None:
    change = difference(parse({ANNA: ["!a"], "x": 1}), parse({BERT: ["!a"], "x": 2}))
    assert subjects(change.added | change.removed) == {"!a", "=x"}


@given(st.text(), st.text().map(json.dumps) | st.just("!a"))
def test_a_key_is_never_taken_for_a_room(key: str, item: str) -> None:
    assert subject((key, item)) == (item if item == "!a" else f"={key}")
