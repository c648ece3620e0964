"""The count can fail: whatever may go wrong with a message is found."""

from __future__ import annotations

import dataclasses

import pytest

from tests.faults.tally import Count, Line, Tag, complaints, count, tag_of

FINE = Line("chat", (0, 1, 2, 3), (0, 1, 2, 3))


def told(
    *, arrived: tuple[int, ...], failed: tuple[int, ...] = (), uncertain: tuple[int, ...] = ()
) -> Line:
    return Line("chat", (0, 1, 2, 3), arrived, frozenset(failed), frozenset(uncertain))


def test_every_message_once_and_in_order_is_fine() -> None:
    assert complaints([FINE]) == []
    assert count([FINE, FINE]) == Count(accepted=8)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (told(arrived=(0, 1, 3)), Count(4, lost=1)),
        (told(arrived=()), Count(4, lost=4)),
        (told(arrived=(0, 1, 2, 3, 1)), Count(4, doubled=1)),
        (told(arrived=(0, 1, 1, 1, 2, 3)), Count(4, doubled=2)),
        (told(arrived=(0, 2, 1, 3)), Count(4, misordered=1)),
        (told(arrived=(3, 0, 1, 2)), Count(4, misordered=3)),
        (told(arrived=(0, 1, 2, 3), failed=(2,)), Count(4, failed=1, told_wrong=1)),
        (told(arrived=(0, 1, 3), failed=(2,)), Count(4, failed=1)),
        (told(arrived=(0, 1, 2, 3, 9)), Count(4, invented=1)),
    ],
    ids=[
        "lost",
        "all lost",
        "doubled",
        "three times",
        "overtaken",
        "late",
        "told wrong",
        "given up",
        "invented",
    ],
)
def test_what_went_wrong_is_counted_and_complained_about(line: Line, expected: Count) -> None:
    assert count([line]) == expected
    assert len(complaints([FINE, line])) == 1


@pytest.mark.parametrize(
    "line",
    [
        told(arrived=(0, 1, 3), uncertain=(2,)),
        told(arrived=(0, 1, 2, 3), uncertain=(2,)),
    ],
    ids=["perhaps lost", "perhaps lost, but arrived"],
)
def test_what_the_author_was_told_is_not_lost(line: Line) -> None:
    assert complaints([line]) == []
    assert count([line]).lost == 0
    assert count([line]).uncertain == 1


def test_while_a_login_is_refused_messages_fail() -> None:
    line = dataclasses.replace(told(arrived=(0, 1, 3), failed=(2,)), refused=True)
    assert complaints([line]) == []
    wrong = dataclasses.replace(told(arrived=(0, 1, 2, 3), failed=(2,)), refused=True)
    assert len(complaints([wrong])) == 1


def test_uncertain_messages_must_not_come_twice_either() -> None:
    line = told(arrived=(0, 1, 2, 2, 3), uncertain=(2,))
    assert count([line]).doubled == 1
    assert complaints([line]) != []


def test_a_tag_survives_being_written_and_nothing_else_is_one() -> None:
    tag = Tag("r1", "p0contact", "out", 12)
    assert tag_of(str(tag)) == tag
    for text in (f"* {tag}", f"{tag} ", "hello", "r1 p0contact sideways 12.", None):
        assert tag_of(text) is None
