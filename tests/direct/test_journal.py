"""A journal can be walked back, forgets from the far end, and knows what is in doubt."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.direct.change import NO_CHANGE, Change, difference
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.journal import Bounds, Journal, Source
from dm_bridge.direct.reasons import Reason, ReasonKind

ANNA, BERT = "@anna:example.org", "@bert:example.org"

contents = st.dictionaries(
    st.sampled_from([ANNA, BERT, "junk"]),
    st.lists(st.sampled_from(["!a", "!b", "!c"]), unique=True, max_size=3) | st.none(),
    max_size=3,
)
histories = st.lists(contents, min_size=1, max_size=12)


def parse(content: Any) -> DirectDocument:
    document = DirectDocument.parse(content)
    assert isinstance(document, DirectDocument)
    return document


def journal_of(*contents: Any) -> Journal:
    journal = Journal()
    for at, content in enumerate(contents):
        journal = journal.seen(parse(content), float(at), Source.READ)
    return journal


def undone(document: DirectDocument, change: Change) -> frozenset[Any]:
    """The atoms of the version before ``change`` led to ``document``."""
    atoms = difference(DirectDocument(), document).added
    return (atoms - change.added) | change.removed


@given(histories)
def test_undoing_the_changes_leads_through_every_version_seen(history: list[Any]) -> None:
    distinct: list[DirectDocument] = []
    for content in map(parse, history):
        if not distinct or not distinct[-1].same_meaning(content):
            distinct.append(content)
    journal = journal_of(*history)
    assert len(journal.versions) == len(distinct)
    assert [version.seq for version in journal.versions] == list(range(1, len(distinct) + 1))
    assert journal.head is not None
    atoms = difference(DirectDocument(), journal.head).added
    for version, document in zip(reversed(journal.versions), reversed(distinct), strict=True):
        assert atoms == difference(DirectDocument(), document).added
        atoms = (atoms - version.change.added) | version.change.removed


@given(histories, contents)
def test_the_distances_are_those_to_every_version(history: list[Any], content: Any) -> None:
    journal, target = journal_of(*history), parse(content)
    assert journal.head is not None
    distinct = [parse(history[0])]
    for document in map(parse, history[1:]):
        if not distinct[-1].same_meaning(document):
            distinct.append(document)
    found = [
        (age, distance.change, distance.edits)
        for age, distance in journal.distances(difference(journal.head, target))
    ]
    assert [age for age, _, _ in found] == list(range(len(distinct)))
    for (_, change, edits), version in zip(found, reversed(distinct), strict=True):
        assert change == difference(version, target)
        rooms = {a[1] if a[1].startswith("!") else a[0] for a in change.added | change.removed}
        assert edits == len(rooms)


def test_what_means_the_same_is_no_new_version_but_the_text_that_stands_there() -> None:
    journal = journal_of({ANNA: ["!a", "!b"]}, {ANNA: ["!b", "!a"], BERT: []})
    assert journal.seq == 1
    assert journal.head is not None
    assert journal.head.content() == {ANNA: ["!b", "!a"], BERT: []}


def test_a_version_remembers_when_and_how_and_why() -> None:
    why = (Reason(ReasonKind.ADOPTED),)
    journal = Journal().seen(parse({ANNA: ["!a"]}), 12.5, Source.PUSHED, why)
    (version,) = journal.versions
    assert (version.at, version.source, version.reasons) == (12.5, Source.PUSHED, why)
    assert version.change == NO_CHANGE


def test_an_empty_journal_has_seen_nothing() -> None:
    assert Journal().seq == 0
    assert list(journal_of({}).distances(NO_CHANGE)) != []
    assert list(Journal().distances(NO_CHANGE)) == []


def test_an_intended_version_is_in_doubt_until_something_is_seen() -> None:
    stood = parse({})
    journal = journal_of({}).intend(parse({ANNA: ["!a"]}), 5.0, (), stood)
    assert journal.doubt is stood
    assert journal.versions[-1].source is Source.WRITTEN
    assert journal.seen(parse({ANNA: ["!a"]}), 6.0, Source.READ).doubt is None
    assert journal.seen(parse({BERT: ["!b"]}), 6.0, Source.READ).doubt is None


def test_an_abandoned_version_never_was() -> None:
    before = journal_of({}, {BERT: ["!b"]})
    assert before.head is not None
    intended = before.intend(parse({ANNA: ["!a"]}), 5.0, (), before.head)
    assert intended != before
    assert intended.abandon() == before
    assert before.abandon() is before


def test_a_write_that_changed_no_meaning_is_abandoned_without_losing_a_version() -> None:
    before = journal_of({}, {BERT: ["!b"]})
    assert before.head is not None
    intended = before.intend(parse({BERT: ["!b", "!b"]}), 5.0, (), before.head)
    assert intended.abandon().versions == before.versions
    assert intended.abandon().doubt is None


def test_a_written_version_is_numbered_on_after_it_was_abandoned() -> None:
    before = journal_of({}, {BERT: ["!b"]})
    assert before.head is not None
    again = before.intend(parse({ANNA: ["!a"]}), 5.0, (), before.head).abandon()
    assert again.seen(parse({ANNA: ["!c"]}), 6.0, Source.READ).seq == 3


@given(st.lists(st.floats(0, 100), min_size=1, max_size=10).map(sorted), st.integers(0, 12))
def test_no_more_versions_stay_than_the_bounds_say_and_none_too_old(
    times: list[float], count: int
) -> None:
    journal = Journal()
    for number, at in enumerate(times):
        journal = journal.seen(parse({ANNA: [f"!{number}"]}), at, Source.READ)
    bounded = journal.bounded(Bounds(count, age=50), now=100)
    assert bounded.head is journal.head
    assert bounded.versions == journal.versions[-len(bounded.versions) :]
    assert 1 <= len(bounded.versions) <= max(1, count)
    assert all(version.at >= 50 for version in bounded.versions[:-1])
    young = [at for at in times if at >= 50]
    assert len(bounded.versions) == max(1, min(max(1, count), len(young)))


def test_a_journal_within_its_bounds_is_left_as_it_is() -> None:
    journal = journal_of({}, {ANNA: ["!a"]})
    assert journal.bounded(Bounds(), now=10) is journal
