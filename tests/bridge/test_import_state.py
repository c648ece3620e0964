"""What the lanes of chats may do while their history is brought over."""

from __future__ import annotations

import pytest

from dm_bridge.bridge.import_state import UNTAKEN, Door, ImportState, Stage
from dm_bridge.ids import ChatId

MESSAGES = 3
A, B, C = (ChatId(name) for name in "abc")


def a_state(*chats: ChatId, searching: bool = False) -> ImportState:
    state = ImportState(MESSAGES, searching=searching)
    for chat in chats:
        state.add(chat, f"before {chat}", MESSAGES)
    return state


@pytest.mark.parametrize(
    ("stage", "door"),
    [
        (Stage.FOUND, Door.SHUT),
        (Stage.HOUSING, Door.AJAR),
        (Stage.HOUSED, Door.SHUT),
        (Stage.SETTLED, Door.SHUT),
        (Stage.ASKING, Door.SHUT),
        (Stage.TAKING, Door.SHUT),
        (Stage.TAKEN, Door.AJAR),
        (Stage.MADE, Door.SHUT),
        (Stage.READY, Door.SHUT),
        (Stage.SHOWING, Door.OPEN),
    ],
)
def test_a_chat_shows_nothing_before_its_turn(stage: Stage, door: Door) -> None:
    state = a_state(A)
    state.move(A, stage)
    assert state.door(A) is door


def test_a_chat_that_is_done_or_no_part_of_it_is_open() -> None:
    state = a_state(A)
    state.drop(A)
    assert state.door(A) is state.door(B) is Door.OPEN
    assert (state.left, state.total) == (0, 1)


def test_while_conversations_are_looked_for_every_chat_may_be_one() -> None:
    state = a_state(A, searching=True)
    assert state.door(B) is Door.SHUT
    state.leave_out(B)
    assert state.door(B) is Door.OPEN
    state.add(B, "before b")
    assert state.door(B) is Door.OPEN
    assert state.total == 1


def test_a_chat_in_which_something_new_waits_comes_first() -> None:
    state = a_state(A, B, C)
    state.hurry(C)
    assert state.to_make() == [C, A, B]
    for chat in (A, B, C):
        state.move(chat, Stage.MADE)
    assert state.to_make() == [C]
    assert state.to_show() == []
    state.release()
    assert state.to_make() == []
    assert state.to_show() == [C, A, B]


def test_a_full_batch_begins_no_room() -> None:
    state = a_state(A, B, C)
    state.begin_batch(2)
    for chat in (A, B):
        state.join_batch(chat)
    assert state.is_full
    assert state.to_make() == []
    state.move(A, Stage.HOUSED)
    state.hurry(A)
    assert state.to_make() == [A]
    state.begin_batch(2)
    assert state.to_make() == [A, B, C]


def test_a_batch_is_closed_with_what_it_has() -> None:
    state = a_state(A, B, searching=True)
    state.begin_batch(2)
    assert not state.close_batch()
    assert not state.is_full
    state.join_batch(A)
    assert state.close_batch()
    assert state.to_make() == []


def test_rooms_come_first_while_the_search_may_bring_what_is_lacking() -> None:
    state = ImportState(MESSAGES, searching=True)
    state.add(A, "before a", 1)
    state.add(B, "before b", MESSAGES)
    state.add(C, "before c", 0)
    assert state.to_make() == [A, B, C]
    assert state.to_make(ask=False) == [
        A,
        B,
    ]  # there is nothing yet that the other could have a room for
    assert [state.is_to_be_housed(chat) for chat in (A, B, C)] == [True, True, False]
    assert state.is_building
    for chat in (A, B):
        state.move(chat, Stage.HOUSED)
    assert (state.is_building, state.is_waiting) == (False, True)
    assert state.to_show() == []
    state.release()
    assert (state.to_show(), state.to_show(ask=False)) == ([B, A], [B])
    state.add(A, "before 1", 2)
    assert state.to_show(ask=False) == [A, B]


def test_when_the_search_is_over_only_turns_are_waited_for() -> None:
    state = ImportState(MESSAGES, searching=True)
    state.add(A, "before a", 0)
    state.searching = False
    assert not state.is_building
    waiting = [state.is_waiting]  # until it is its turn to be asked for
    state.move(A, Stage.ASKING)
    assert [*waiting, state.is_waiting] == [True, False]


def test_where_something_new_waits_it_is_asked_at_once() -> None:
    state = ImportState(MESSAGES, searching=True)
    for chat in (A, B):
        state.add(chat, "before", 1)
    state.hurry(B)
    assert not state.is_to_be_housed(B)
    for chat in (A, B):
        state.move(chat, Stage.SETTLED)
    assert state.to_show(ask=False) == [B]


def test_what_is_not_held_back_is_in_no_hurry() -> None:
    state = a_state(A)
    state.hurry(B)
    assert not state.is_urgent(B)


def test_what_a_chat_lacks_may_come_with_the_search() -> None:
    state = ImportState(MESSAGES, searching=True)
    assert state.wants(A) is None
    state.add(A, "before 2", 2)
    assert (state.wants(A), state.lacks(A), state.place(A)) == (1, 1, "before 2")
    for stage in (Stage.HOUSED, Stage.SETTLED, Stage.ASKING, Stage.TAKING):
        state.move(A, stage)
        assert state.wants(A) == 1
    state.add(A, "before 1", 1)
    assert (state.wants(A), state.total) == (0, 1)
    state.add(C, "before c", 0)
    state.searching = False
    state.add_no_more()
    assert (state.lacks(C), state.place(C)) == (0, None)
    assert state.place(A) == "before 1"  # it has all that is wanted, and there may be more


@pytest.mark.parametrize("stage", [each for each in Stage if each not in UNTAKEN | {Stage.TAKING}])
def test_what_has_been_taken_wants_no_more(stage: Stage) -> None:
    state = ImportState(MESSAGES, searching=True)
    state.add(A, "before", 1)
    state.move(A, stage)
    assert state.wants(A) == 0
    state.leave_out(A)
    assert (state.wants(A), state.door(A)) == (0, Door.OPEN)


def test_what_is_recorded_counts_but_for_what_is_not() -> None:
    before, after = a_state(A, B, searching=True), a_state(A, B, C, searching=True)
    before.leave_out(A)
    before.hurry(B)
    after.follow(before)
    assert (after.door(A), after.chats, after.is_urgent(B)) == (Door.OPEN, [B, C], True)
