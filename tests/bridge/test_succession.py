"""Which room may take another one's place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.bridge.succession import Verdict, judge, predecessor_in, replacement_in
from dm_bridge.ids import RoomId, UserId

OWNER = UserId("@juliet:example.org")
GHOST = UserId("@_xmpp_xmpp_romeo:example.org")
MALLORY = UserId("@mallory:example.org")
OLD, NEW, TRAP = RoomId("!old"), RoomId("!new:example.org"), RoomId("!trap")
TRUSTED = (OWNER, GHOST)
Json = dict[str, Any]


def tombstone(sender: str = OWNER, replacement: object = NEW) -> Json:
    content = {"body": "This room has been replaced", "replacement_room": replacement}
    return {"type": "m.room.tombstone", "sender": sender, "content": content}


def create(sender: str = OWNER, room: object = OLD, **content: object) -> Json:
    content = {"predecessor": {"room_id": room}, **content}
    return {"type": "m.room.create", "sender": sender, "content": content}


def verdict(stone: Json | None, creation: Json | None, new: RoomId = NEW) -> Verdict:
    return judge(stone, creation, old=OLD, new=new, trusted=TRUSTED)


@pytest.mark.parametrize("by", [OWNER, GHOST])
@pytest.mark.parametrize(
    "creation",
    [
        {"room_version": "12"},
        {"room_version": "11", "predecessor": {"room_id": OLD, "event_id": "$last"}},
        {"room_version": "10", "creator": MALLORY},
    ],
)
def test_the_users_own_upgrade_is_followed_in_every_room_version(by: str, creation: Json) -> None:
    assert verdict(tombstone(by), create(by, **creation)) is Verdict.FOLLOW


@pytest.mark.parametrize(
    ("stone", "creation", "expected"),
    [
        (None, create(), Verdict.NO_TOMBSTONE),
        (tombstone(replacement=TRAP), create(), Verdict.NO_TOMBSTONE),
        (tombstone(replacement=None), create(), Verdict.NO_TOMBSTONE),
        (tombstone(MALLORY), create(MALLORY), Verdict.NOT_BY_THE_USER),
        (tombstone(MALLORY), create(), Verdict.NOT_BY_THE_USER),
        (tombstone(), create(MALLORY), Verdict.NOT_CREATED_BY_THEM),
        (tombstone(), create(MALLORY, creator=OWNER), Verdict.NOT_CREATED_BY_THEM),
        (tombstone(), create(GHOST), Verdict.NOT_CREATED_BY_THEM),
        (tombstone(), None, Verdict.NOT_CREATED_BY_THEM),
        (tombstone(), create(room=TRAP), Verdict.OTHER_PREDECESSOR),
        (tombstone(), create(room=None), Verdict.OTHER_PREDECESSOR),
        (tombstone(), create(predecessor=OLD), Verdict.OTHER_PREDECESSOR),
    ],
)
def test_nothing_less_moves_a_chat(
    stone: Json | None, creation: Json | None, expected: Verdict
) -> None:
    assert verdict(stone, creation) is expected


def test_a_room_does_not_take_its_own_place() -> None:
    stone, creation = tombstone(replacement=OLD), create(room=OLD)
    assert verdict(stone, creation, new=OLD) is Verdict.NO_TOMBSTONE


@pytest.mark.parametrize("room", [None, 5, ["!new"], "", "!", "#new:x", "new", "!" + "x" * 300])
def test_what_is_no_room_id_names_no_room(room: object) -> None:
    assert replacement_in(tombstone(replacement=room)) is None
    assert predecessor_in(create(room=room)) is None


values = st.recursive(
    st.none() | st.integers() | st.sampled_from([OLD, NEW, OWNER, MALLORY]) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
events = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "sender": values,
        "content": values
        | st.fixed_dictionaries(
            {},
            optional={
                "replacement_room": values,
                "predecessor": values | st.fixed_dictionaries({"room_id": values}),
            },
        ),
    },
)


@given(events, events)
def test_any_json_gets_a_verdict_and_only_the_user_is_followed(
    stone: Json | None, creation: Json | None
) -> None:
    if verdict(stone, creation) is Verdict.FOLLOW:
        assert stone is not None
        assert creation is not None
        assert stone["sender"] == creation["sender"]
        assert stone["sender"] in TRUSTED
