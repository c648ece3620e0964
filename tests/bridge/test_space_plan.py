"""What a space needs next, and what is read of its room."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.bridge.space_plan import Changes, Guest, Step, changes, guest, next_step, sight
from dm_bridge.ids import LoginId, RoomId, UserId
from dm_bridge.store.spaces import SpaceMode, SpaceRow

BOT = UserId("@bridge:example.org")
JULIET = UserId("@juliet:example.org")
LOGIN = LoginId("login")
ROOM = RoomId("!space")
ON, OFF, LEFT = SpaceMode.ON, SpaceMode.OFF, SpaceMode.LEFT


@pytest.mark.parametrize(
    ("row", "step"),
    [
        (SpaceRow(LOGIN, ON), Step.CREATE),
        (SpaceRow(LOGIN, ON, creating=True), Step.RECOVER),
        (SpaceRow(LOGIN, ON, room=ROOM), Step.TEND),
        (SpaceRow(LOGIN, OFF), Step.NOTHING),
        (SpaceRow(LOGIN, OFF, creating=True), Step.CLOSE),
        (SpaceRow(LOGIN, OFF, room=ROOM), Step.CLOSE),
        (SpaceRow(LOGIN, LEFT, room=ROOM, invited=True), Step.NOTHING),
    ],
)
def test_the_next_step_follows_from_what_is_recorded(row: SpaceRow, step: Step) -> None:
    assert next_step(row) is step


def test_after_a_logout_a_space_is_looked_after_and_none_is_made() -> None:
    assert next_step(SpaceRow(LOGIN, ON, room=ROOM), logged_in=False) is Step.TEND
    assert next_step(SpaceRow(LOGIN, ON), logged_in=False) is Step.NOTHING
    assert next_step(SpaceRow(LOGIN, OFF, room=ROOM), logged_in=False) is Step.CLOSE


@pytest.mark.parametrize(
    ("membership", "invited", "can_join", "what"),
    [
        ("", False, True, Guest.INVITE),
        ("", True, True, Guest.INVITE),  # the homeserver has forgotten it
        ("leave", False, True, Guest.INVITE),  # they want it again
        ("leave", True, True, Guest.LEFT),
        ("ban", True, True, Guest.LEFT),
        ("invite", True, True, Guest.JOIN),
        ("invite", True, False, Guest.STAY),
        ("join", False, True, Guest.STAY),
    ],
)
def test_the_user_is_invited_until_they_decide(
    membership: str, invited: bool, can_join: bool, what: Guest
) -> None:
    assert guest(membership, invited=invited, can_join=can_join) is what


def test_the_children_become_the_chats() -> None:
    chats = [RoomId(f"!{n}") for n in (3, 1, 2)]
    made = changes(chats, [RoomId("!2"), RoomId("!old")])
    assert (list(made.add), list(made.remove)) == (["!1", "!3"], ["!old"])
    assert changes(chats, chats) == Changes([], [])


def event(kind: str, key: object, content: object, sender: str = BOT) -> dict[str, Any]:
    return {"type": kind, "state_key": key, "content": content, "sender": sender}


IN_IT = event("m.room.member", BOT, {"membership": "join"})
VIA = {"via": ["example.org"]}


def test_the_state_says_who_is_there_and_what_we_have_put_into_it() -> None:
    seen = sight(
        [
            IN_IT,
            event("m.room.member", JULIET, {"membership": "invite"}),
            event("m.space.child", "!chat", VIA),
            event("m.space.child", "!gone", {}),
            event("m.space.child", "!theirs", VIA, sender=JULIET),
            event("m.space.child", "no room", VIA),
        ],
        BOT,
        JULIET,
    )
    assert (seen.usable, seen.membership, list(seen.children)) == (True, "invite", ["!chat"])


@pytest.mark.parametrize(
    "state",
    [
        [],
        [event("m.room.member", BOT, {"membership": "leave"}, JULIET)],
        [IN_IT, event("m.room.tombstone", "", {"replacement_room": "!new"})],
    ],
    ids=["nothing", "removed", "replaced"],
)
def test_a_space_that_we_cannot_keep_is_of_no_use(state: list[Any]) -> None:
    assert not sight(state, BOT, JULIET).usable


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("!chat"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["via", "membership", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
events = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["m.room.member", "m.space.child", "m.room.tombstone"])
        | json_values,
        "state_key": st.sampled_from([BOT, JULIET, "", "!chat"]) | json_values,
        "content": json_values,
        "sender": st.just(BOT) | json_values,
    },
)


@given(st.lists(events | json_values, max_size=5))
def test_whatever_stands_in_the_state_gives_an_answer(state: list[Any]) -> None:
    seen = sight(state, BOT, JULIET)
    assert all(child.startswith("!") for child in seen.children)
    assert isinstance(seen.membership, str)
