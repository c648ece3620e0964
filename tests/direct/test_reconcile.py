"""What is decided about an m.direct document, case by case and as properties."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dm_bridge.direct import (
    DirectDocument,
    DMState,
    Keep,
    Ledger,
    Malformed,
    MalformedReason,
    ManagedDM,
    NotSet,
    Put,
    Reason,
    ReasonKind,
    Refuse,
    activate,
    is_room_id,
    opt_out,
    reconcile,
    rename_ghost,
    replace_room,
    retire,
)
from dm_bridge.ids import RoomId, UserId

ME = UserId("@me:example.org")
BOT = UserId("@bot:example.org")
MY_GHOST = UserId("@dm_xmpp_me:example.org")
ROMEO, NURSE = UserId("@dm_xmpp_romeo:example.org"), UserId("@dm_xmpp_nurse:example.org")
OLD_ROMEO = UserId("@dm_xmpp_romeo-old:example.org")
HUMAN, STRANGER = UserId("@human:example.org"), UserId("@stranger:elsewhere.org")
ROOM, NEW_ROOM, FOREIGN = RoomId("!room:example.org"), RoomId("!new"), RoomId("!foreign")

PENDING, ACTIVE, RETIRED = DMState.PENDING, DMState.ACTIVE, DMState.RETIRED
Kind = ReasonKind


def ledger_of(*dms: ManagedDM) -> Ledger:
    return Ledger.of(ME, dms, [BOT, MY_GHOST])


def romeo(
    state: DMState = ACTIVE, opted_out: bool = False, aliases: tuple[UserId, ...] = ()
) -> Ledger:
    return ledger_of(ManagedDM(ROOM, ROMEO, state, opted_out, frozenset(aliases)))


def parse(content: Any) -> DirectDocument:
    document = DirectDocument.parse(content)
    assert isinstance(document, DirectDocument)
    return document


def written(ledger: Ledger, content: Any) -> dict[str, Any]:
    decision = reconcile(ledger, parse(content))
    assert isinstance(decision, Put)
    return decision.document.content()


def kept(ledger: Ledger, content: Any) -> tuple[Reason, ...]:
    decision = reconcile(ledger, parse(content))
    assert isinstance(decision, Keep)
    return decision.reasons


# What is written


def test_a_document_that_was_never_set_is_begun() -> None:
    decision = reconcile(romeo(), NotSet())
    assert isinstance(decision, Put)
    assert decision.document.content() == {ROMEO: [ROOM]}
    assert decision.reasons == (Reason(Kind.MARKED, ROMEO, ROOM),)


def test_a_document_that_was_never_set_stays_so_when_nothing_is_managed() -> None:
    assert reconcile(ledger_of(), NotSet()) == Keep(())


def test_a_document_wiped_to_an_empty_object_is_filled_again() -> None:
    assert written(romeo(), {}) == {ROMEO: [ROOM]}


@pytest.mark.parametrize("reason", list(MalformedReason))
def test_what_is_no_document_is_refused_with_a_sentence(reason: MalformedReason) -> None:
    decision = reconcile(romeo(), Malformed(reason))
    assert isinstance(decision, Refuse)
    assert decision.reason is reason
    assert ME in decision.sentence
    assert reason.sentence in decision.sentence


def test_a_room_joins_the_other_rooms_of_its_ghost() -> None:
    """A ghost's list is merged, never assigned: another login may have a room with it."""
    assert written(romeo(), {ROMEO: ["!b", "!a"]}) == {ROMEO: ["!b", "!a", ROOM]}


def test_several_rooms_of_one_ghost_stand_side_by_side() -> None:
    ledger = ledger_of(ManagedDM(ROOM, ROMEO, ACTIVE), ManagedDM(NEW_ROOM, ROMEO, ACTIVE))
    assert written(ledger, {}) == {ROMEO: [ROOM, NEW_ROOM]}


@pytest.mark.parametrize("wrong", [BOT, MY_GHOST, ME])
def test_a_room_under_the_bot_or_the_user_themself_moves_to_its_ghost(wrong: UserId) -> None:
    content = {wrong: [ROOM, FOREIGN]}
    assert written(romeo(), content) == {wrong: [FOREIGN], ROMEO: [ROOM]}


def test_a_bot_that_a_client_marked_beside_the_ghost_is_taken_out() -> None:
    decision = reconcile(romeo(), parse({BOT: [ROOM], ROMEO: [ROOM]}))
    assert isinstance(decision, Put)
    assert decision.document.content() == {ROMEO: [ROOM]}
    assert decision.reasons == (Reason(Kind.REMOVED_FROM_BRIDGE_USER, BOT, ROOM),)


def test_a_room_under_another_contact_of_the_bridge_moves_to_its_own() -> None:
    ledger = ledger_of(ManagedDM(ROOM, ROMEO, ACTIVE), ManagedDM(NEW_ROOM, NURSE, ACTIVE))
    assert written(ledger, {NURSE: [ROOM, NEW_ROOM]}) == {NURSE: [NEW_ROOM], ROMEO: [ROOM]}


def test_a_ghost_with_a_new_id_takes_its_rooms_along_and_leaves_the_others() -> None:
    ledger = rename_ghost(
        ledger_of(ManagedDM(ROOM, OLD_ROMEO, ACTIVE), ManagedDM(NEW_ROOM, OLD_ROMEO, ACTIVE)),
        OLD_ROMEO,
        ROMEO,
    )
    content = {OLD_ROMEO: [FOREIGN, NEW_ROOM, ROOM], ROMEO: ["!x"]}
    assert written(ledger, content) == {OLD_ROMEO: [FOREIGN], ROMEO: ["!x", ROOM, NEW_ROOM]}


def test_the_key_of_a_retired_alias_goes_when_that_empties_it() -> None:
    decision = reconcile(romeo(aliases=(OLD_ROMEO,)), parse({OLD_ROMEO: [ROOM], HUMAN: []}))
    assert isinstance(decision, Put)
    assert decision.document.content() == {HUMAN: [], ROMEO: [ROOM]}
    assert decision.reasons == (
        Reason(Kind.MERGED_FROM_ALIAS, OLD_ROMEO, ROOM),
        Reason(Kind.MARKED, ROMEO, ROOM),
    )


def test_an_old_id_that_now_belongs_to_somebody_else_keeps_their_room() -> None:
    ledger = ledger_of(
        ManagedDM(ROOM, ROMEO, ACTIVE, aliases=frozenset({OLD_ROMEO})),
        ManagedDM(NEW_ROOM, OLD_ROMEO, ACTIVE),
    )
    content = {OLD_ROMEO: [ROOM, NEW_ROOM]}
    assert written(ledger, content) == {OLD_ROMEO: [NEW_ROOM], ROMEO: [ROOM]}


@pytest.mark.parametrize("copied_by_server", [False, True])
def test_an_upgraded_room_replaces_the_old_one(copied_by_server: bool) -> None:
    ledger = replace_room(romeo(), ROOM, NEW_ROOM)
    before = [ROOM, NEW_ROOM] if copied_by_server else [ROOM]
    assert written(ledger, {ROMEO: [FOREIGN, *before]}) == {ROMEO: [FOREIGN, NEW_ROOM]}


def test_an_upgraded_room_is_not_marked_when_the_old_one_was_opted_out() -> None:
    ledger = replace_room(opt_out(romeo(), ROOM), ROOM, NEW_ROOM)
    assert kept(ledger, {}) == (Reason(Kind.OPTED_OUT, ROMEO, NEW_ROOM),)
    assert written(ledger, {ROMEO: [ROOM, NEW_ROOM, FOREIGN]}) == {ROMEO: [FOREIGN]}


def test_a_room_that_is_gone_takes_only_its_own_marks() -> None:
    content = {ROMEO: [ROOM, FOREIGN], OLD_ROMEO: [ROOM], HUMAN: [ROOM], BOT: [FOREIGN]}
    assert written(romeo(RETIRED, aliases=(OLD_ROMEO,)), content) == {
        ROMEO: [FOREIGN],
        HUMAN: [ROOM],
        BOT: [FOREIGN],
    }


@pytest.mark.parametrize("value", [None, "!room:example.org", 5, {}])
def test_our_own_key_is_repaired_when_it_holds_no_list(value: object) -> None:
    decision = reconcile(romeo(), parse({ROMEO: value, HUMAN: value}))
    assert isinstance(decision, Put)
    assert decision.document.content() == {ROMEO: [ROOM], HUMAN: value}
    assert Reason(Kind.REPAIRED_KEY, ROMEO) in decision.reasons


def test_junk_beside_our_room_is_removed_because_it_blinds_strict_clients() -> None:
    decision = reconcile(romeo(), parse({ROMEO: [ROOM, None, FOREIGN], HUMAN: [None]}))
    assert isinstance(decision, Put)
    assert decision.document.content() == {ROMEO: [ROOM, FOREIGN], HUMAN: [None]}
    assert decision.reasons == (Reason(Kind.REPAIRED_KEY, ROMEO),)


def test_a_chat_with_oneself_is_under_ones_own_ghost() -> None:
    ledger = ledger_of(ManagedDM(ROOM, MY_GHOST, ACTIVE))
    assert written(ledger, {BOT: [ROOM]}) == {MY_GHOST: [ROOM]}
    assert kept(ledger, {MY_GHOST: [ROOM]}) == ()


def test_a_chat_with_oneself_does_not_let_other_rooms_stay_there() -> None:
    ledger = ledger_of(ManagedDM(ROOM, MY_GHOST, ACTIVE), ManagedDM(NEW_ROOM, ROMEO, ACTIVE))
    content = {MY_GHOST: [ROOM, NEW_ROOM]}
    assert written(ledger, content) == {MY_GHOST: [ROOM], ROMEO: [NEW_ROOM]}


def test_in_a_ghosts_own_document_the_room_is_under_the_user() -> None:
    ledger = Ledger.of(ROMEO, [ManagedDM(ROOM, ME, ACTIVE)], [BOT])
    assert written(ledger, {BOT: [ROOM]}) == {ME: [ROOM]}


def test_a_thousand_new_rooms_are_one_write() -> None:
    ledger = ledger_of(
        *(ManagedDM(RoomId(f"!r{n}"), UserId(f"@dm_xmpp_{n}:x"), ACTIVE) for n in range(1000))
    )
    decision = reconcile(ledger, parse({HUMAN: [FOREIGN]}))
    assert isinstance(decision, Put)
    assert decision.document.entries() == ledger.wanted() | {(HUMAN, FOREIGN)}


# What is left alone


@pytest.mark.parametrize(
    "content",
    [
        {ROMEO: [ROOM, ROOM, FOREIGN]},
        {ROMEO: [FOREIGN, ROOM], HUMAN: []},
        {HUMAN: ["!z", "!z"], ROMEO: [ROOM]},
    ],
)
def test_reordered_or_doubled_but_otherwise_equal_is_not_written(content: Any) -> None:
    assert kept(romeo(), content) == ()


@pytest.mark.parametrize(
    "content",
    [
        {HUMAN: [FOREIGN], BOT: [FOREIGN]},
        {ROMEO: [FOREIGN], MY_GHOST: [FOREIGN], "junk": 5, "mail@example.org": [ROOM]},
    ],
)
def test_rooms_that_we_do_not_manage_stay_even_under_the_bot(content: Any) -> None:
    """A bridged group or the management room that the user marked is the user's."""
    assert written(romeo(), content) == {**content, ROMEO: [*content.get(ROMEO, []), ROOM]}
    assert kept(ledger_of(), content) == ()


@pytest.mark.parametrize("content", [{}, {ROMEO: [ROOM]}, {BOT: [ROOM]}, {HUMAN: [ROOM]}])
def test_a_room_that_the_user_has_not_joined_is_left_as_it_is(content: Any) -> None:
    assert kept(romeo(PENDING), content) == (Reason(Kind.PENDING, ROMEO, ROOM),)


def test_a_room_that_was_marked_before_the_user_joined_needs_no_write_afterwards() -> None:
    assert kept(activate(romeo(PENDING), ROOM), {ROMEO: [ROOM]}) == ()


@pytest.mark.parametrize("content", [{}, {BOT: [ROOM]}, {HUMAN: [ROOM]}, {ROMEO: [FOREIGN]}])
def test_an_opted_out_room_stays_wherever_else_the_user_put_it(content: Any) -> None:
    assert kept(romeo(opted_out=True), content) == (Reason(Kind.OPTED_OUT, ROMEO, ROOM),)


def test_an_opted_out_room_loses_its_mark_under_every_id_of_its_ghost_and_no_other() -> None:
    ledger = romeo(opted_out=True, aliases=(OLD_ROMEO,))
    decision = reconcile(
        ledger, parse({ROMEO: [ROOM], OLD_ROMEO: [ROOM, FOREIGN], HUMAN: [ROOM], BOT: [ROOM]})
    )
    assert isinstance(decision, Put)
    assert decision.document.content() == {OLD_ROMEO: [FOREIGN], HUMAN: [ROOM], BOT: [ROOM]}
    assert decision.reasons == (
        Reason(Kind.UNMARKED_OPTED_OUT, ROMEO, ROOM),
        Reason(Kind.UNMARKED_OPTED_OUT, OLD_ROMEO, ROOM),
    )


def test_an_opted_out_room_that_is_gone_is_unmarked_like_any_other() -> None:
    assert written(romeo(RETIRED, opted_out=True), {ROMEO: [ROOM], HUMAN: [ROOM]}) == {
        HUMAN: [ROOM]
    }


def test_an_opted_out_room_that_the_user_has_not_joined_is_left_as_it_is() -> None:
    assert kept(romeo(PENDING, opted_out=True), {ROMEO: [ROOM]}) == (
        Reason(Kind.PENDING, ROMEO, ROOM),
    )


@pytest.mark.parametrize(
    "content",
    [
        {HUMAN: [ROOM]},
        {BOT: [ROOM], HUMAN: [ROOM]},
        {HUMAN: [ROOM], ROMEO: [ROOM]},
        {BOT: [ROOM], ROMEO: [ROOM], HUMAN: [ROOM]},
        {OLD_ROMEO: [ROOM], HUMAN: [ROOM]},
    ],
)
def test_a_wanted_room_under_several_users_ends_under_its_ghost_alone(content: Any) -> None:
    """Many clients take a room for a direct chat only when it stands under exactly one user."""
    decision = reconcile(romeo(aliases=(OLD_ROMEO,)), parse(content))
    assert isinstance(decision, Put)
    assert decision.document.entries() == {(ROMEO, ROOM)}
    why = {reason.key: reason.kind for reason in decision.reasons}
    assert why[HUMAN] is Kind.REMOVED_FROM_OTHER
    assert why.get(BOT, Kind.REMOVED_FROM_BRIDGE_USER) is Kind.REMOVED_FROM_BRIDGE_USER
    assert why.get(OLD_ROMEO, Kind.MERGED_FROM_ALIAS) is Kind.MERGED_FROM_ALIAS
    assert (ROMEO in why) == (ROMEO not in content)


def test_a_key_that_is_no_user_does_not_count_as_a_second_one() -> None:
    assert kept(romeo(), {"mail@example.org": [ROOM], ROMEO: [ROOM]}) == ()


@pytest.mark.parametrize(
    "content", [{}, {BOT: [ROOM]}, {ROMEO: [ROOM], HUMAN: [ROOM]}, {ROMEO: None}]
)
@pytest.mark.parametrize("state", [ACTIVE, RETIRED])
def test_a_room_that_is_fought_over_is_left_as_it_is(state: DMState, content: Any) -> None:
    decision = reconcile(romeo(state), parse(content), yielded=frozenset({ROOM}))
    assert decision == Keep((Reason(Kind.CONFLICT, ROMEO, ROOM),))


def test_the_key_of_a_room_that_is_left_alone_is_not_repaired() -> None:
    for ledger in (romeo(PENDING), romeo(opted_out=True), romeo(RETIRED)):
        assert isinstance(reconcile(ledger, parse({ROMEO: None})), Keep)


@pytest.mark.parametrize("kind", list(ReasonKind))
def test_every_reason_says_what_it_is_about(kind: ReasonKind) -> None:
    sentence = Reason(kind, ROMEO, ROOM).sentence
    assert sentence.endswith(".")
    about_the_list = {Kind.ADOPTED, Kind.OLD_COPY, Kind.JUMPED_BACK, Kind.NOT_WRITTEN, Kind.REBUILT}
    assert kind in about_the_list or ROMEO in sentence or ROOM in sentence
    assert "None" not in Reason(Kind.REPAIRED_KEY, ROMEO).sentence


# Properties

BRIDGE = [ME, BOT, MY_GHOST, ROMEO, NURSE, OLD_ROMEO]
HUMANS = [HUMAN, STRANGER]
MANAGED_ROOMS = [RoomId(f"!managed{n}") for n in range(6)]
FOREIGN_ROOMS = [RoomId(f"!foreign{n}") for n in range(3)]

junk = st.sampled_from([None, 5, 1.5, True, "!managed0", {"a": ["!managed0"]}, ["!managed0"], "x"])
values = st.lists(st.sampled_from([*MANAGED_ROOMS, *FOREIGN_ROOMS]) | junk, max_size=6) | junk
document_keys = st.sampled_from([*BRIDGE, *HUMANS, "mail@example.org", "junk"])
contents = st.dictionaries(document_keys, values, max_size=8)


def dms(rooms: list[RoomId]) -> st.SearchStrategy[list[ManagedDM]]:
    ghosts = st.sampled_from([ROMEO, NURSE, MY_GHOST])
    one = st.tuples(
        ghosts, st.sampled_from(DMState), st.booleans(), st.sets(st.just(OLD_ROMEO), max_size=1)
    )
    return st.lists(one, max_size=len(rooms)).map(
        lambda rows: [
            ManagedDM(room, ghost, state, opted_out, frozenset(aliases))
            for room, (ghost, state, opted_out, aliases) in zip(rooms, rows, strict=False)
        ]
    )


ledgers = dms(MANAGED_ROOMS).map(lambda rows: ledger_of(*rows))


def outcome(ledger: Ledger, document: DirectDocument) -> DirectDocument:
    decision = reconcile(ledger, document)
    assert isinstance(decision, Put | Keep)
    return decision.document if isinstance(decision, Put) else document


def held(document: DirectDocument, room: RoomId) -> set[UserId]:
    return {key for key, value in document.entries() if value == room}


@given(ledgers, contents)
def test_entries_that_are_not_managed_never_change(ledger: Ledger, content: Any) -> None:
    before = parse(content)
    after = outcome(ledger, before)
    assert all(room in ledger.managed for _, room in before.entries() ^ after.entries())


@given(ledgers, contents)
def test_everything_that_is_no_entry_survives_outside_our_own_keys(
    ledger: Ledger, content: Any
) -> None:
    ours = {key for key, _ in ledger.wanted()}
    after = outcome(ledger, parse(content)).content()
    for key, value in content.items():
        if isinstance(value, list) and key.startswith("@"):
            value = [item for item in value if not is_room_id(item)]
            remainder = [item for item in after.get(key, []) if not is_room_id(item)]
        else:
            remainder = after[key]
        assert key in ours or json.dumps(remainder) == json.dumps(value)


@given(ledgers, contents)
def test_foreign_lists_keep_order_and_duplicates(ledger: Ledger, content: Any) -> None:
    ours = {key for key, _ in ledger.wanted()}
    after = outcome(ledger, parse(content)).content()
    for key, value in content.items():
        if isinstance(value, list) and key not in ours:
            rest = [item for item in value if item not in MANAGED_ROOMS]
            assert [item for item in after.get(key, []) if item not in MANAGED_ROOMS] == rest


@given(ledgers, contents)
def test_a_wanted_room_ends_under_its_ghost_alone(ledger: Ledger, content: Any) -> None:
    after = outcome(ledger, parse(content))
    for room, dm in ledger.managed.items():
        if dm.wanted:
            assert held(after, room) == {dm.ghost}


@given(ledgers, contents)
def test_pending_rooms_are_where_they_were(ledger: Ledger, content: Any) -> None:
    before = parse(content)
    after = outcome(ledger, before)
    for room, dm in ledger.managed.items():
        if dm.state is PENDING:
            assert held(after, room) == held(before, room)


@given(ledgers, contents)
def test_a_retired_or_opted_out_room_leaves_its_ghost_and_nobody_else(
    ledger: Ledger, content: Any
) -> None:
    before = parse(content)
    after = outcome(ledger, before)
    for room, dm in ledger.managed.items():
        if dm.state is RETIRED or (dm.state is ACTIVE and dm.opted_out):
            assert held(after, room) == held(before, room) - {dm.ghost, *dm.aliases}


@given(ledgers, contents, st.sets(st.sampled_from(MANAGED_ROOMS)))
def test_a_room_that_is_fought_over_never_moves(
    ledger: Ledger, content: Any, yielded: set[RoomId]
) -> None:
    before = parse(content)
    decision = reconcile(ledger, before, yielded=frozenset(yielded))
    if isinstance(decision, Put):
        for room in yielded:
            assert held(decision.document, room) == held(before, room)


@given(ledgers, contents)
def test_one_write_suffices_and_the_second_look_finds_nothing_to_do(
    ledger: Ledger, content: Any
) -> None:
    first = reconcile(ledger, parse(content))
    if isinstance(first, Put):
        again = parse(first.document.to_json())
        assert again.same_meaning(first.document)
        assert isinstance(reconcile(ledger, again), Keep)


@given(ledgers, contents)
def test_a_write_always_changes_the_meaning_and_always_says_why(
    ledger: Ledger, content: Any
) -> None:
    before = parse(content)
    decision = reconcile(ledger, before)
    if isinstance(decision, Put):
        assert not decision.document.same_meaning(before)
        explained = {(reason.key, reason.room) for reason in decision.reasons}
        for key, room in before.entries() ^ decision.document.entries():
            assert (key, room) in explained or (key, None) in explained


@given(ledgers, contents)
@example(romeo(), {ROMEO: [ROOM, None, ROOM, FOREIGN, FOREIGN]})
def test_what_is_written_under_our_own_keys_passes_a_strict_parser(
    ledger: Ledger, content: Any
) -> None:
    decision = reconcile(ledger, parse(content))
    if isinstance(decision, Put):
        after = decision.document.content()
        for key, room in ledger.wanted() & decision.document.entries():
            assert room in after[key]
            assert all(map(is_room_id, after[key]))
            assert len(set(after[key])) == len(after[key])


@given(
    dms(MANAGED_ROOMS[:3]), dms(MANAGED_ROOMS[3:]), contents, st.lists(st.booleans(), max_size=4)
)
def test_two_engines_with_rooms_of_their_own_settle_on_one_document(
    first: list[ManagedDM], second: list[ManagedDM], content: Any, turns: list[bool]
) -> None:
    engines = [ledger_of(*first), ledger_of(*second)]
    document = parse(content)
    for turn in turns:
        document = outcome(engines[turn], document)
    for engine in (*engines, *engines):
        document = outcome(engine, document)
    for engine in engines:
        assert isinstance(reconcile(engine, document), Keep)


@given(ledgers, contents, st.randoms(use_true_random=False))
def test_the_order_of_the_ledger_carries_no_meaning(
    ledger: Ledger, content: Any, random: Any
) -> None:
    rows = list(ledger.managed.values())
    shuffled = ledger_of(*random.sample(rows, len(rows)))
    document = parse(content)
    assert outcome(ledger, document).same_meaning(outcome(shuffled, document))


@given(ledgers, contents)
def test_a_decision_does_not_change_what_it_was_made_from(ledger: Ledger, content: Any) -> None:
    document = parse(content)
    text = document.to_json()
    first = reconcile(ledger, document)
    second = reconcile(ledger, document)
    assert document.to_json() == text
    assert outcome_text(first) == outcome_text(second)


def outcome_text(decision: Put | Keep | Refuse) -> object:
    if isinstance(decision, Put):
        return decision.document.to_json(), decision.reasons
    return decision


def test_retiring_everything_restores_the_document_that_was_there_before() -> None:
    before = parse({HUMAN: [FOREIGN, FOREIGN], "junk": None, BOT: []})
    ledger = ledger_of(ManagedDM(ROOM, ROMEO, ACTIVE), ManagedDM(NEW_ROOM, NURSE, ACTIVE))
    marked = outcome(ledger, before)
    cleared = outcome(retire(retire(ledger, ROOM), NEW_ROOM), marked)
    assert marked.to_json() != before.to_json()
    assert cleared.to_json() == before.to_json()


# Speed


@pytest.mark.parametrize("managed", [100, 10_000])
@pytest.mark.parametrize("missing", [0, 1])
def test_a_document_of_ten_thousand_entries_is_decided_in_milliseconds(
    managed: int, missing: int
) -> None:
    rows = [(f"@dm_xmpp_{n}:example.org", f"!room{n}:example.org") for n in range(10_000)]
    ledger = ledger_of(
        *(ManagedDM(RoomId(room), UserId(key), ACTIVE) for key, room in rows[:managed])
    )
    document = parse({key: [room] for key, room in rows[missing:]})
    fastest = float("inf")
    for _ in range(5):
        start = time.process_time()
        decision = reconcile(ledger, document)
        fastest = min(fastest, time.process_time() - start)
    assert isinstance(decision, Put if missing else Keep)
    assert fastest < 0.1  # it takes some 10 ms; the rest is for a machine that does other work
