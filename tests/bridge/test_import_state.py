"""What the lanes of chats may do while their history is brought over."""

from __future__ import annotations

import pytest

from dm_bridge.bridge.import_state import Door, ImportState, Stage
from dm_bridge.ids import ChatId

A, B, C = (ChatId(name) for name in "abc")


def a_state(*chats: ChatId, searching: bool = False) -> ImportState:
    state = ImportState(searching=searching)
    for chat in chats:
        state.add(chat, f"={chat}")
    return state


@pytest.mark.parametrize(
    ("stage", "door"),
    [
        (Stage.FOUND, Door.SHUT),
        (Stage.TAKING, Door.SHUT),
        (Stage.TAKEN, Door.AJAR),
        (Stage.MADE, Door.SHUT),
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
    state.add(B, "=b")
    assert state.door(B) is Door.OPEN
    assert state.total == 1


def test_a_chat_in_which_something_new_waits_comes_first() -> None:
    state = a_state(A, B, C)
    state.hurry(C)
    assert state.to_make() == [C, A, B]
    for chat in (A, B, C):
        state.move(chat, Stage.MADE)
    assert state.to_make() == [C]
    assert state.to_show() == [C, A, B]


def test_what_is_not_held_back_is_in_no_hurry() -> None:
    state = a_state(A)
    state.hurry(B)
    assert not state.is_urgent(B)


def test_a_chat_is_added_once() -> None:
    state = a_state(A, A)
    state.move(A, Stage.MADE)
    state.add(A, "=other")
    assert (state.total, state.stage(A), state.place(A)) == (1, Stage.MADE, "=a")
