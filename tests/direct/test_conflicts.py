"""A room that others keep changing back is left alone for a while, and no longer."""

from __future__ import annotations

from dm_bridge.direct.conflicts import (
    CALM,
    LIMIT,
    at_peace,
    calmed,
    struggled,
    yielded,
)
from dm_bridge.direct.journal import Journal


def fought(times: int, what: str = "!a") -> Journal:
    journal = Journal()
    for at in range(times):
        journal = struggled(journal, [what], float(at))
    return journal


def test_patience_ends_after_so_many_struggles() -> None:
    assert yielded(fought(LIMIT - 1)) == frozenset()
    assert yielded(fought(LIMIT)) == {"!a"}


def test_each_room_is_counted_for_itself() -> None:
    journal = struggled(fought(5), ["!b"], 5.0)
    assert yielded(journal) == {"!a"}


def test_a_conflict_is_over_when_it_has_been_calm_for_long() -> None:
    journal = fought(5)
    assert yielded(calmed(journal, 4 + CALM - 1)) == {"!a"}
    assert yielded(calmed(journal, 4 + CALM)) == frozenset()


def test_the_newest_struggle_decides_how_long_it_lasts() -> None:
    journal = struggled(fought(4), ["!a"], CALM)
    assert yielded(calmed(journal, CALM + 10)) == {"!a"}


def test_a_clock_that_went_back_ends_every_conflict() -> None:
    assert yielded(calmed(fought(5), -1.0)) == frozenset()


def test_somebody_can_ask_to_try_again() -> None:
    assert yielded(at_peace(fought(9))) == frozenset()


def test_a_calm_journal_is_left_as_it_is() -> None:
    journal = fought(1)
    assert calmed(journal, 1.0) is journal
