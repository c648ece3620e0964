"""What a writer did is done to the head; and what of it was the user's decision."""

from __future__ import annotations

from typing import Any

import pytest

from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.journal import Journal, Source
from dm_bridge.direct.judge import Judgement, judge
from dm_bridge.direct.ledger import DMState, Ledger, ManagedDM
from dm_bridge.direct.origin import find
from dm_bridge.direct.reasons import ReasonKind
from dm_bridge.ids import RoomId, UserId

ME, BOT = UserId("@me:example.org"), UserId("@bot:example.org")
GHOSTS = [UserId(f"@_dm_{n}:example.org") for n in range(5)]
ROOMS = [RoomId(f"!room{n}") for n in range(5)]
OLD_GHOST = UserId("@_dm_old:example.org")
FRIEND, STRANGER = "@friend:example.org", "@stranger:example.org"
MARKS: dict[str, Any] = {ghost: [room] for ghost, room in zip(GHOSTS, ROOMS, strict=True)}


def parse(content: Any) -> DirectDocument:
    document = DirectDocument.parse(content)
    assert isinstance(document, DirectDocument)
    return document


def ledger(state: DMState = DMState.ACTIVE, opted_out: bool = False) -> Ledger:
    dms = [
        ManagedDM(
            room, ghost, state, opted_out, frozenset({OLD_GHOST} if ghost == GHOSTS[0] else ())
        )
        for ghost, room in zip(GHOSTS, ROOMS, strict=True)
    ]
    return Ledger.of(ME, dms, [BOT])


def judged(
    *history: Any,
    managed: Ledger | None = None,
    vanished: bool = False,
    yielded: frozenset[str] = frozenset(),
) -> Judgement:
    """The judgement of the last of ``history``."""
    journal = Journal()
    for content in history[:-1]:
        journal = journal.seen(parse(content), 0.0, Source.READ)
    observed = parse(history[-1])
    return judge(
        managed or ledger(), journal, observed, find(managed or ledger(), journal, observed),
        vanished=vanished, yielded=yielded,
    )  # fmt: skip


def without(*numbers: int, **more: Any) -> dict[str, Any]:
    return {k: v for k, v in MARKS.items() if k not in [GHOSTS[n] for n in numbers]} | more


def opted_out(judgement: Judgement) -> set[str]:
    return {room for room, dm in judgement.ledger.managed.items() if dm.opted_out}


def kinds(judgement: Judgement) -> list[ReasonKind]:
    return [reason.kind for reason in judgement.reasons]


def test_the_first_document_is_taken_as_it_is() -> None:
    judgement = judged({FRIEND: ["!f"]})
    assert judgement.document.content() == {FRIEND: ["!f"]}
    assert kinds(judgement) == [ReasonKind.ADOPTED]
    assert opted_out(judgement) == set()


def test_one_chat_taken_away_is_the_users_decision() -> None:
    judgement = judged(MARKS, without(1))
    assert opted_out(judgement) == {ROOMS[1]}
    assert kinds(judgement) == [ReasonKind.USER_UNMARKED]
    assert judgement.document.content() == without(1)


def test_two_of_five_are_the_users_decision_and_three_are_a_rewrite() -> None:
    assert opted_out(judged(MARKS, without(1, 2))) == {ROOMS[1], ROOMS[2]}
    judgement = judged(MARKS, without(1, 2, 3))
    assert opted_out(judgement) == set()
    assert kinds(judgement) == [ReasonKind.REBUILT]
    assert judgement.reasons[0].count == 3
    assert judgement.document.same_meaning(parse(MARKS))


@pytest.mark.parametrize(("others", "rewrite"), [(0, False), (1, False), (2, True), (20, True)])
def test_few_of_ours_are_a_rewrite_when_they_went_with_most_of_all(
    others: int, rewrite: bool
) -> None:
    friends = {f"@friend{n}:example.org": [f"!f{n}"] for n in range(others)}
    judgement = judged(MARKS | friends, without(1, 2))
    assert opted_out(judgement) == (set() if rewrite else {ROOMS[1], ROOMS[2]})
    assert (kinds(judgement) == [ReasonKind.REBUILT]) is rewrite
    assert judgement.document.content().keys() == (MARKS if rewrite else without(1, 2)).keys()


def test_the_rewriters_own_changes_to_others_stay() -> None:
    judgement = judged({**MARKS, FRIEND: ["!f"]}, {STRANGER: ["!s"]})
    assert judgement.document.content() == {STRANGER: ["!s"], **MARKS}
    assert opted_out(judgement) == set()


def test_an_only_chat_can_be_unmarked() -> None:
    one = Ledger.of(ME, [ManagedDM(ROOMS[0], GHOSTS[0], DMState.ACTIVE)])
    marked = {GHOSTS[0]: [ROOMS[0]], FRIEND: ["!f"]}
    assert opted_out(judged(marked, {FRIEND: ["!f"]}, managed=one)) == {ROOMS[0]}


@pytest.mark.parametrize("state", [DMState.PENDING, DMState.RETIRED])
def test_a_chat_that_is_not_kept_marked_cannot_be_unmarked(state: DMState) -> None:
    judgement = judged(MARKS, without(1), managed=ledger(state))
    assert opted_out(judgement) == set()
    assert judgement.document.content() == without(1)


def test_a_document_that_went_missing_is_nobodys_decision() -> None:
    one = Ledger.of(ME, [ManagedDM(ROOMS[0], GHOSTS[0], DMState.ACTIVE)])
    judgement = judged({GHOSTS[0]: [ROOMS[0]]}, {}, managed=one, vanished=True)
    assert opted_out(judgement) == set()
    assert kinds(judgement) == [ReasonKind.REBUILT]


def test_a_list_replaced_by_something_else_is_nobodys_decision() -> None:
    judgement = judged(MARKS, {**without(1), GHOSTS[1]: None})
    assert opted_out(judgement) == set()


def test_a_chat_moved_to_a_human_is_the_users_decision() -> None:
    judgement = judged(MARKS, {**without(1), FRIEND: [ROOMS[1]]})
    assert opted_out(judgement) == {ROOMS[1]}
    assert [(r.kind, r.key) for r in judgement.reasons] == [(ReasonKind.REKEYED, FRIEND)]


@pytest.mark.parametrize("key", [BOT, ME, GHOSTS[2], OLD_GHOST])
def test_a_chat_moved_to_another_user_of_the_bridge_is_nobodys_decision(key: str) -> None:
    moved = without(1)
    moved[key] = [*moved.get(key, []), ROOMS[1]]
    assert opted_out(judged(MARKS, moved)) == set()


def test_a_chat_marked_for_a_human_beside_its_contact_is_nobodys_decision() -> None:
    assert opted_out(judged(MARKS, {**MARKS, FRIEND: [ROOMS[1]]})) == set()


@pytest.mark.parametrize("key", [GHOSTS[0], OLD_GHOST])
def test_an_opted_out_chat_that_is_marked_again_is_wanted_again(key: str) -> None:
    judgement = judged({}, {key: [ROOMS[0]]}, managed=ledger(opted_out=True))
    assert opted_out(judgement) == set(ROOMS[1:])
    assert kinds(judgement) == [ReasonKind.USER_MARKED]


def test_a_chat_that_is_gone_stays_opted_out_although_somebody_marks_it() -> None:
    managed = ledger(DMState.RETIRED, opted_out=True)
    assert opted_out(judged({}, {GHOSTS[0]: [ROOMS[0]]}, managed=managed)) == set(ROOMS)


def test_an_opted_out_chat_in_an_old_copy_is_not_marked_again() -> None:
    managed = ledger(opted_out=True)
    steps = [MARKS, {}, {FRIEND: ["!f"]}, {FRIEND: ["!f"], STRANGER: ["!s"]}]
    judgement = judged(*steps, {**MARKS, FRIEND: ["!x"]}, managed=managed)
    assert opted_out(judgement) == set(ROOMS)
    assert kinds(judgement) == [ReasonKind.OLD_COPY]
    assert judgement.document.entries() == {
        (FRIEND, "!f"), (FRIEND, "!x"), (STRANGER, "!s"),
    }  # fmt: skip


def test_an_old_copy_in_which_somebody_adds_the_bot_to_an_opted_out_chat_marks_nothing() -> None:
    steps = [MARKS, {}, {FRIEND: ["!f"]}, {FRIEND: ["!f"], STRANGER: ["!s"]}]
    judgement = judged(*steps, {**MARKS, BOT: [ROOMS[0]]}, managed=ledger(opted_out=True))
    assert opted_out(judgement) == set(ROOMS)


def test_a_chat_unmarked_on_an_old_copy_does_not_come_back_under_the_bot_either() -> None:
    with_friend = {**MARKS, FRIEND: ["!f"]}
    judgement = judged(MARKS, with_friend, {**with_friend, BOT: [ROOMS[1]]}, without(1))
    assert opted_out(judgement) == {ROOMS[1]}
    assert judgement.document.content() == without(1, **{FRIEND: ["!f"]})


def test_what_an_old_copy_did_not_have_comes_back_with_its_count() -> None:
    steps = [MARKS, {**MARKS, FRIEND: ["!f"]}, {**MARKS, FRIEND: ["!f"], "junk": [None]}]
    judgement = judged(*steps, {**MARKS, STRANGER: ["!s"]})
    assert judgement.document.content() == {
        **MARKS, STRANGER: ["!s"], FRIEND: ["!f"], "junk": [None],
    }  # fmt: skip
    assert [(r.kind, r.count) for r in judgement.reasons] == [(ReasonKind.OLD_COPY, 1)]
    assert judgement.put_back == {"!f", "=junk"}


def test_what_an_old_copy_still_had_goes_again() -> None:
    steps = [{FRIEND: ["!f"], **MARKS}, MARKS, {**MARKS, STRANGER: ["!s"]}]
    judgement = judged(*steps, {FRIEND: ["!f"], **MARKS, "@new:x": ["!n"]})
    assert judgement.document.content() == {**MARKS, "@new:x": ["!n"], STRANGER: ["!s"]}


def test_what_is_fought_over_is_left_as_the_writer_left_it() -> None:
    steps = [MARKS, {**MARKS, FRIEND: ["!f"]}, {**MARKS, FRIEND: ["!f"], "@x:x": ["!x"]}]
    judgement = judged(*steps, {**MARKS, STRANGER: ["!s"]}, yielded=frozenset({"!f"}))
    assert judgement.document.content() == {**MARKS, STRANGER: ["!s"], "@x:x": ["!x"]}


def test_a_jump_back_is_undone_and_nobodys_decision() -> None:
    steps = [without(0), MARKS, {**MARKS, FRIEND: ["!f"]}, {**MARKS, FRIEND: ["!f", "!g"]}]
    judgement = judged(*steps, without(0))
    assert judgement.document.same_meaning(parse(steps[-1]))
    assert opted_out(judgement) == set()
    assert kinds(judgement) == [ReasonKind.JUMPED_BACK]


def test_a_jump_back_keeps_a_room_of_others_that_the_head_does_not_have_elsewhere() -> None:
    lost = {**without(0), "@other:example.org": ["!lost"]}
    moved = {**lost, "@other:example.org": ["!lost", "!moved"]}
    head = {**MARKS, FRIEND: ["!f", "!g", "!moved"]}
    judgement = judged(moved, MARKS, {**MARKS, FRIEND: ["!f"]}, head, moved)
    assert judgement.document.same_meaning(parse({**head, "@other:example.org": ["!lost"]}))
    assert opted_out(judgement) == set()
    assert kinds(judgement) == [ReasonKind.JUMPED_BACK]
