"""A document is taken to be made from the version that explains it with the fewest edits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.direct import origin as origins
from dm_bridge.direct.change import NO_CHANGE, Change, difference
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.journal import Journal, Source
from dm_bridge.direct.ledger import DMState, Ledger, ManagedDM
from dm_bridge.direct.origin import FAR, Kind, Origin
from dm_bridge.ids import RoomId, UserId

ANNA, BERT, CARL = "@anna:example.org", "@bert:example.org", "@carl:example.org"

GHOST, BOT = "@_dm_juliet:example.org", "@dmbot:example.org"

contents = st.dictionaries(
    st.sampled_from([ANNA, BERT, CARL, "junk"]),
    st.lists(st.sampled_from(["!a", "!b", "!c", "!d"]), unique=True, max_size=4) | st.none(),
    max_size=3,
)


def parse(content: Any) -> DirectDocument:
    document = DirectDocument.parse(content)
    assert isinstance(document, DirectDocument)
    return document


def seen(*contents: Any) -> Journal:
    journal = Journal()
    for content in contents:
        journal = journal.seen(parse(content), 0.0, Source.READ)
    return journal


def written(journal: Journal, content: Any) -> Journal:
    assert journal.head is not None
    return journal.intend(parse(content), 0.0, (), journal.head)


def find(journal: Journal, document: DirectDocument, *managed: str) -> Origin:
    """The origin of ``document``, where ``managed`` rooms are kept under `GHOST`."""
    dms = [ManagedDM(RoomId(room), UserId(GHOST), DMState.ACTIVE) for room in managed]
    ledger = Ledger.of(UserId("@me:example.org"), dms, [UserId(BOT)])
    return origins.find(ledger, journal, document)


def added(key: str, room: str) -> Change:
    return Change(added=frozenset({(key, room)}))


def removed(key: str, room: str) -> Change:
    return Change(removed=frozenset({(key, room)}))


def test_the_first_document_is_as_it_is() -> None:
    assert find(Journal(), parse({ANNA: ["!a"]})) == Origin(Kind.FIRST)


def test_the_head_again_is_nobodys_edit() -> None:
    journal = seen({ANNA: ["!a", "!b"]})
    assert find(journal, parse({BERT: [], ANNA: ["!b", "!a", "!a"]})) == Origin(Kind.SAME)


def test_one_edit_of_the_head_is_an_edit() -> None:
    origin = find(seen({}, {ANNA: ["!a"]}), parse({ANNA: ["!a"], BERT: ["!b"]}))
    assert origin == Origin(Kind.EDIT, added(BERT, "!b"), added(BERT, "!b"))


def test_an_edit_of_an_older_version_is_stale_and_only_the_edit_was_done() -> None:
    journal = seen({ANNA: ["!a"]}, {ANNA: ["!a", "!b"]}, {ANNA: ["!a", "!b"], BERT: ["!c"]})
    origin = find(journal, parse({ANNA: ["!a"], CARL: ["!d"]}))
    assert origin.kind is Kind.STALE
    assert origin.did == added(CARL, "!d")
    assert origin.from_head.removed == {(ANNA, "!b"), (BERT, "!c")}


def test_a_move_to_another_key_is_one_edit() -> None:
    journal = seen({ANNA: ["!a"]}, {ANNA: ["!a"], BERT: ["!b", "!c"]})
    origin = find(journal, parse({CARL: ["!a"]}))
    assert origin.kind is Kind.STALE
    assert origin.did == Change(frozenset({(CARL, "!a")}), frozenset({(ANNA, "!a")}))


def test_of_two_versions_that_explain_it_alike_the_newer_one_counts() -> None:
    journal = seen({ANNA: ["!a"], BERT: ["!b"]}, {BERT: ["!b"], CARL: ["!c"]})
    origin = find(journal, parse({BERT: ["!b"]}))
    assert (origin.kind, origin.did) == (Kind.EDIT, removed(CARL, "!c"))


def test_the_last_step_taken_back_is_an_edit() -> None:
    journal = seen({ANNA: ["!a"]}, {ANNA: ["!a"], BERT: ["!b"]})
    assert find(journal, parse({ANNA: ["!a"]})) == Origin(
        Kind.EDIT, removed(BERT, "!b"), removed(BERT, "!b")
    )


def test_an_old_version_from_many_edits_ago_is_a_jump_back_and_nobodys_edit() -> None:
    steps = [{ANNA: ["!a", *(f"!x{n}" for n in range(count))]} for count in range(FAR + 1)]
    origin = find(seen(*steps), parse(steps[0]))
    assert origin.kind is Kind.JUMPED_BACK
    assert origin.did == NO_CHANGE
    assert not origin.only_ours


def test_an_old_version_from_two_edits_ago_counts_for_the_chats_of_the_bridge_only() -> None:
    steps = [{ANNA: ["!a"]}, {ANNA: ["!a", "!b"]}, {ANNA: ["!a", "!b", "!c"]}]
    origin = find(seen(*steps), parse(steps[0]))
    assert (origin.kind, origin.only_ours) == (Kind.JUMPED_BACK, True)
    assert origin.did == removed(ANNA, "!b")


@pytest.mark.parametrize("echoes", [None, True])
def test_what_stood_there_before_an_unseen_write_says_that_it_did_not_arrive(
    echoes: bool | None,
) -> None:
    journal = replace(written(seen({}), {ANNA: ["!a"]}), echoes=echoes)
    assert find(journal, parse({})) == Origin(Kind.NOT_WRITTEN, removed(ANNA, "!a"))


def test_where_our_writes_are_never_seen_their_absence_is_somebodys_removal() -> None:
    journal = replace(written(seen({}), {ANNA: ["!a"]}), echoes=False)
    assert find(journal, parse({})) == Origin(Kind.EDIT, removed(ANNA, "!a"), removed(ANNA, "!a"))


def test_where_our_writes_are_never_seen_silence_is_no_sign_of_a_lost_one() -> None:
    before = seen({BERT: ["!b"], CARL: ["!c"]}, {BERT: ["!b"]})
    journal = replace(written(before, {BERT: ["!b"], ANNA: ["!a"]}), echoes=False)
    origin = find(journal, parse({BERT: ["!b"]}))
    assert (origin.kind, origin.did) == (Kind.EDIT, removed(ANNA, "!a"))


def test_a_write_that_was_seen_is_not_in_doubt_any_more() -> None:
    journal = written(seen({}), {ANNA: ["!a"]}).seen(parse({ANNA: ["!a"]}), 1.0, Source.READ)
    assert find(journal, parse({})).kind is Kind.EDIT


@given(st.lists(contents, min_size=1, max_size=8), contents, st.booleans())
def test_what_a_writer_did_to_the_version_it_had_gives_what_it_wrote(
    history: list[Any], content: Any, wrote: bool
) -> None:
    journal, document = seen(*history), parse(content)
    if wrote:
        journal = written(journal, {"@ours:example.org": ["!ours"]})
    origin = find(journal, document)
    assert journal.head is not None
    assert origin == find(journal, document)
    assert origin.from_head == difference(journal.head, document)
    assert (origin.kind is Kind.SAME) == (not origin.from_head)
    if origin.kind in (Kind.EDIT, Kind.STALE):
        versions = [difference(DirectDocument(), journal.head).added]
        for version in reversed(journal.versions[1:]):
            versions.append((versions[-1] - version.change.added) | version.change.removed)
        result = difference(DirectDocument(), document).added
        assert result in [(base - origin.did.removed) | origin.did.added for base in versions]
        assert origin.did
    else:
        assert not origin.did or origin.only_ours
