"""From one observation to the next: what is decided, remembered, and learnt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.direct import (
    Bounds,
    DirectDocument,
    DMState,
    Keep,
    Ledger,
    Malformed,
    MalformedReason,
    ManagedDM,
    Mind,
    NotSet,
    Outcome,
    Put,
    ReasonKind,
    Refuse,
    Source,
    observe,
    retire,
)
from dm_bridge.direct.origin import Kind
from dm_bridge.ids import RoomId, UserId

ME, GHOST = UserId("@me:example.org"), UserId("@_dm_ghost:example.org")
ROOM, OTHER = RoomId("!room"), RoomId("!other")
FRIEND = "@friend:example.org"
MARKED = {GHOST: [ROOM]}

keys = st.sampled_from([ME, GHOST, FRIEND, "junk"])
contents = st.dictionaries(
    keys, st.lists(st.sampled_from([ROOM, OTHER, "!f", "!g"]), max_size=3) | st.none(), max_size=4
)


def parse(content: Any) -> DirectDocument:
    document = DirectDocument.parse(content)
    assert isinstance(document, DirectDocument)
    return document


def mind(**dm: Any) -> Mind:
    return Mind(Ledger.of(ME, [ManagedDM(ROOM, GHOST, DMState.ACTIVE, **dm)]))


def seen(start: Mind, *contents: Any, at: float = 0.0) -> Outcome:
    """The outcome of the last of several observations, a second apart."""
    outcome = Outcome(start, Keep(()))
    for second, content in enumerate(contents):
        outcome = observe(outcome.mind, parse(content), at=at + second)
    return outcome


def test_a_document_at_rest_is_kept_and_nothing_is_learnt() -> None:
    rest = seen(mind(), MARKED)
    again = observe(rest.mind, parse(MARKED), at=9.0)
    assert isinstance(again.decision, Keep)
    assert again.kind is Kind.SAME
    assert again.decision.reasons == ()
    assert again.mind.ledger is rest.mind.ledger
    assert again.mind.journal.versions == rest.mind.journal.versions


def test_a_put_is_taken_as_written_and_stays_in_doubt_until_it_is_seen() -> None:
    outcome = seen(mind(), {FRIEND: ["!f"]})
    assert isinstance(outcome.decision, Put)
    journal = outcome.mind.journal
    assert journal.head is outcome.decision.document
    assert [version.source for version in journal.versions] == [Source.READ, Source.WRITTEN]
    assert journal.doubt is not None
    after = seen(outcome.mind, outcome.decision.document.content())
    assert isinstance(after.decision, Keep)
    assert after.mind.journal.doubt is None


@pytest.mark.parametrize("echoes", [None, True, False])
def test_a_put_that_surely_was_not_made_is_decided_again_and_no_opt_out(
    echoes: bool | None,
) -> None:
    outcome = seen(mind(), {})
    journal = replace(outcome.mind.journal.untried(), echoes=echoes)
    again = seen(replace(outcome.mind, journal=journal), {})
    assert isinstance(again.decision, Put)
    assert again.kind is Kind.NOT_WRITTEN
    assert not again.mind.ledger.managed[ROOM].opted_out
    assert again.mind.journal.struggles == {}


@pytest.mark.parametrize("echoes", [None, True, False])
@pytest.mark.parametrize("another", [{}, {"@late:x": ["!late"]}], ids=["again", "and another"])
def test_a_put_that_surely_was_not_made_forgets_nothing_of_others(
    another: dict[str, list[str]], echoes: bool | None
) -> None:
    known, stale = {FRIEND: ["!f"]}, {FRIEND: ["!f"], "@new:x": ["!n"]}
    outcome = seen(
        mind(), known, {**known, **MARKED}, {**known, **MARKED, "@other:x": ["!o"]}, stale
    )
    assert isinstance(outcome.decision, Put)
    assert outcome.kind is Kind.STALE
    journal = replace(outcome.mind.journal.untried(), echoes=echoes)
    again = seen(replace(outcome.mind, journal=journal), {**stale, **another})
    assert isinstance(again.decision, Put)
    expected = {**stale, **another, str(GHOST): [ROOM], "@other:x": ["!o"]}
    assert again.decision.document.content() == expected


def test_a_put_that_did_not_arrive_is_made_again_and_no_opt_out() -> None:
    again = seen(mind(), {}, {})
    assert isinstance(again.decision, Put)
    assert again.kind is Kind.NOT_WRITTEN
    assert again.decision.reasons[0].kind is ReasonKind.NOT_WRITTEN
    assert not again.mind.ledger.managed[ROOM].opted_out


def test_once_a_write_of_ours_came_back_the_next_are_expected_to() -> None:
    assert seen(mind(), {}).mind.journal.echoes is None
    assert seen(mind(), {}, MARKED).mind.journal.echoes is True


def test_where_others_build_on_writes_of_ours_that_never_came_back_none_are_expected_to() -> None:
    outcome = seen(mind(), {}, {**MARKED, FRIEND: ["!f"]})
    assert outcome.mind.journal.echoes is False


def test_a_malformed_document_is_refused_and_changes_no_mind() -> None:
    before = seen(mind(), MARKED).mind
    outcome = observe(before, Malformed(MalformedReason.NOT_JSON), at=5.0)
    assert isinstance(outcome.decision, Refuse)
    assert outcome.mind is before
    assert outcome.kind is None


def test_a_document_that_was_never_set_is_an_empty_one() -> None:
    outcome = observe(mind(), NotSet(), at=0.0)
    assert isinstance(outcome.decision, Put)
    assert outcome.decision.document.content() == MARKED


def test_a_version_is_remembered_with_when_and_how_it_was_seen() -> None:
    outcome = observe(mind(), parse(MARKED), at=7.0, source=Source.PUSHED)
    (version,) = outcome.mind.journal.versions
    assert (version.at, version.source) == (7.0, Source.PUSHED)
    assert [reason.kind for reason in version.reasons] == [ReasonKind.ADOPTED]


def test_the_journal_keeps_within_its_bounds() -> None:
    current = seen(mind(), MARKED).mind
    for number in range(20):
        document = parse({**MARKED, FRIEND: [f"!f{number}"]})
        current = observe(current, document, at=float(number), bounds=Bounds(count=5)).mind
        assert len(current.journal.versions) <= 5


def test_a_retired_chat_is_forgotten_once_its_mark_is_gone_and_not_before() -> None:
    marked = seen(mind(), MARKED).mind
    retired = replace(marked, ledger=retire(marked.ledger, ROOM))
    put = seen(retired, MARKED)
    assert isinstance(put.decision, Put)
    assert ROOM in put.mind.ledger.managed
    gone = seen(put.mind, put.decision.document.content())
    assert isinstance(gone.decision, Keep)
    assert gone.mind.ledger.managed == {}


def test_a_retired_chat_with_a_decision_of_the_user_is_remembered() -> None:
    start = mind(opted_out=True)
    retired = replace(start, ledger=retire(start.ledger, ROOM))
    assert seen(retired, {}).mind.ledger.managed[ROOM].opted_out


def test_somebody_who_knows_our_version_is_fought_five_times_and_no_more() -> None:
    outcome, puts = seen(mind(), MARKED), 0
    for second in range(50):
        outcome = observe(outcome.mind, parse({**MARKED, ME: [ROOM]}), at=float(second))
        puts += isinstance(outcome.decision, Put)
        if isinstance(outcome.decision, Put):
            outcome = observe(outcome.mind, outcome.decision.document, at=second + 0.5)
    assert puts == 5
    assert isinstance(outcome.decision, Keep)
    assert ReasonKind.CONFLICT in {reason.kind for reason in outcome.decision.reasons}


def puts(start: Outcome, rewritten: Any, *, arrive: bool) -> tuple[int, Outcome]:
    """How often we write against somebody who writes the same over and over, and how it ends."""
    outcome, number = start, 0
    for second in range(50):
        outcome = observe(outcome.mind, parse(rewritten), at=float(second))
        if isinstance(outcome.decision, Put):
            number += 1
            if arrive:
                outcome = observe(outcome.mind, outcome.decision.document, at=second + 0.5)
    return number, outcome


def test_a_copy_that_is_restored_over_and_over_is_fought_five_times_and_no_more() -> None:
    friends = [{f"@friend{n}:example.org": [f"!f{n}"] for n in range(most)} for most in (1, 2, 3)]
    start = seen(mind(), MARKED, *(MARKED | some for some in friends))
    assert observe(start.mind, parse(MARKED), at=9.0).kind is Kind.JUMPED_BACK
    number, end = puts(start, MARKED, arrive=True)
    assert number == 5
    assert isinstance(end.decision, Keep)


def test_a_write_that_never_arrives_is_repeated_five_times_and_no_more() -> None:
    start = seen(mind(), {})
    assert isinstance(start.decision, Put)
    assert observe(start.mind, parse({}), at=9.0).kind is Kind.NOT_WRITTEN
    number, end = puts(start, {}, arrive=False)
    assert number == 5
    assert isinstance(end.decision, Keep)


@given(st.lists(contents, min_size=1, max_size=8))
def test_the_document_of_a_put_is_kept_when_it_is_seen(history: list[Any]) -> None:
    outcome = Outcome(mind(), Keep(()))
    for second, content in enumerate(history):
        outcome = observe(outcome.mind, parse(content), at=float(second))
        if isinstance(outcome.decision, Put):
            assert not outcome.decision.document.same_meaning(parse(content))
            text = outcome.decision.document.to_json()
            again = observe(outcome.mind, parse(text), at=second + 0.5)
            assert isinstance(again.decision, Keep)
            assert again.mind.ledger.managed[ROOM] == outcome.mind.ledger.managed[ROOM]


@given(st.lists(contents, min_size=1, max_size=6))
def test_the_same_observations_give_the_same_mind(history: list[Any]) -> None:
    first, second = seen(mind(), *history), seen(mind(), *history)
    assert first.mind.ledger == second.mind.ledger
    assert first.mind.journal.versions == second.mind.journal.versions
    assert first.kind is second.kind
    assert type(first.decision) is type(second.decision)


@given(st.lists(contents, min_size=1, max_size=6))
def test_without_chats_of_the_bridge_what_was_written_last_stands(history: list[Any]) -> None:
    """Nothing of ours is at stake in a first look, and none is written over an edit of the head."""
    outcome = Outcome(Mind(Ledger.of(ME)), Keep(()))
    for second, content in enumerate(history):
        outcome = observe(outcome.mind, parse(content), at=float(second))
        if outcome.kind in (Kind.FIRST, Kind.SAME, Kind.EDIT):
            assert isinstance(outcome.decision, Keep)
