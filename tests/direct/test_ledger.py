"""The ledger allows the transitions of its table, and leaves itself alone on every other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dm_bridge.direct.ledger import (
    DMState,
    Ledger,
    LedgerError,
    ManagedDM,
    activate,
    forget,
    manage,
    opt_in,
    opt_out,
    rename_ghost,
    replace_room,
    retire,
)
from dm_bridge.ids import RoomId, UserId

ME = UserId("@me:example.org")
GHOST, NEW_GHOST = UserId("@dm_xmpp_romeo:example.org"), UserId("@dm_xmpp_juliet:example.org")
OTHER = UserId("@dm_xmpp_nurse:example.org")
ROOM, NEW_ROOM, ABSENT = RoomId("!room"), RoomId("!new"), RoomId("!absent")

PENDING, ACTIVE, RETIRED = DMState.PENDING, DMState.ACTIVE, DMState.RETIRED
Transition = Callable[[Ledger, RoomId], Ledger]


def ledger_with(state: DMState, opted_out: bool = False) -> Ledger:
    return Ledger.of(ME, [ManagedDM(ROOM, GHOST, state, opted_out)])


def the_dm(ledger: Ledger, room: RoomId = ROOM) -> ManagedDM:
    return ledger.managed[room]


@pytest.mark.parametrize(
    ("transition", "before", "after"),
    [
        (activate, PENDING, ACTIVE),
        (activate, ACTIVE, ACTIVE),
        (retire, PENDING, RETIRED),
        (retire, ACTIVE, RETIRED),
        (retire, RETIRED, RETIRED),
        (opt_out, PENDING, PENDING),
        (opt_out, ACTIVE, ACTIVE),
        (opt_in, PENDING, PENDING),
        (opt_in, ACTIVE, ACTIVE),
    ],
)
def test_an_allowed_transition_leads_where_the_table_says(
    transition: Transition, before: DMState, after: DMState
) -> None:
    ledger = transition(ledger_with(before), ROOM)
    assert the_dm(ledger).state is after
    assert transition(ledger, ROOM) == ledger


@pytest.mark.parametrize(
    ("transition", "state"),
    [
        (activate, RETIRED),
        (opt_out, RETIRED),
        (opt_in, RETIRED),
        (forget, PENDING),
        (forget, ACTIVE),
        (lambda ledger, room: manage(ledger, room, GHOST), PENDING),
        (lambda ledger, room: manage(ledger, room, GHOST), ACTIVE),
        (lambda ledger, room: replace_room(ledger, room, NEW_ROOM), RETIRED),
        (lambda ledger, room: replace_room(ledger, room, room), ACTIVE),
        (lambda ledger, room: replace_room(ledger, ABSENT, room), ACTIVE),
        (lambda ledger, room: replace_room(ledger, room, room), RETIRED),
        (lambda ledger, _: rename_ghost(ledger, OTHER, NEW_GHOST), ACTIVE),
        (lambda ledger, _: rename_ghost(ledger, GHOST, UserId("nobody")), ACTIVE),
        (lambda ledger, room: replace_room(ledger, room, RoomId("nowhere")), ACTIVE),
    ],
)
def test_an_illegal_transition_raises_and_leaves_the_ledger_as_it_was(
    transition: Transition, state: DMState
) -> None:
    ledger = ledger_with(state)
    with pytest.raises(LedgerError):
        transition(ledger, ROOM)
    assert ledger == ledger_with(state)


@pytest.mark.parametrize("transition", [activate, retire, opt_out, opt_in, forget])
def test_a_room_that_is_not_managed_has_no_transitions(transition: Transition) -> None:
    with pytest.raises(LedgerError, match="!absent is not managed"):
        transition(ledger_with(ACTIVE), ABSENT)


def test_a_managed_room_begins_pending_and_unwanted() -> None:
    ledger = manage(Ledger.of(ME), ROOM, GHOST)
    assert the_dm(ledger) == ManagedDM(ROOM, GHOST, PENDING)
    assert ledger.wanted() == frozenset()


def test_a_transition_returns_a_new_ledger_and_keeps_the_old() -> None:
    before = ledger_with(PENDING)
    activate(before, ROOM)
    assert the_dm(before).state is PENDING


def test_a_ledger_cannot_be_changed_from_outside() -> None:
    ledger: Any = ledger_with(ACTIVE)
    with pytest.raises(TypeError):
        ledger.managed[ROOM] = None
    with pytest.raises(AttributeError):
        ledger.account = GHOST


@pytest.mark.parametrize("state", list(DMState))
@pytest.mark.parametrize("opted_out", [False, True])
def test_only_active_rooms_without_an_opt_out_are_wanted(state: DMState, opted_out: bool) -> None:
    wanted = state is ACTIVE and not opted_out
    ledger = ledger_with(state, opted_out)
    assert ledger.wanted() == (frozenset({(GHOST, ROOM)}) if wanted else frozenset())


def test_an_opt_out_survives_joining_upgrades_and_renames_until_it_is_taken_back() -> None:
    ledger = opt_out(ledger_with(PENDING), ROOM)
    ledger = activate(ledger, ROOM)
    ledger = rename_ghost(ledger, GHOST, NEW_GHOST)
    ledger = replace_room(ledger, ROOM, NEW_ROOM)
    assert the_dm(ledger, NEW_ROOM).opted_out
    assert ledger.wanted() == frozenset()
    assert opt_in(ledger, NEW_ROOM).wanted() == {(NEW_GHOST, NEW_ROOM)}


def test_a_renamed_ghost_keeps_its_old_id_as_an_alias_in_all_its_rooms_and_no_others() -> None:
    ledger = Ledger.of(
        ME,
        [
            ManagedDM(ROOM, GHOST, ACTIVE),
            ManagedDM(NEW_ROOM, GHOST, PENDING),
            ManagedDM(ABSENT, OTHER, ACTIVE),
        ],
    )
    renamed = rename_ghost(ledger, GHOST, NEW_GHOST)
    for room in (ROOM, NEW_ROOM):
        assert the_dm(renamed, room).ghost == NEW_GHOST
        assert the_dm(renamed, room).aliases == {GHOST}
    assert the_dm(renamed, ABSENT) == the_dm(ledger, ABSENT)


def test_a_ghost_that_is_renamed_back_is_no_alias_of_itself() -> None:
    there = rename_ghost(ledger_with(ACTIVE), GHOST, NEW_GHOST)
    assert the_dm(rename_ghost(there, NEW_GHOST, GHOST)).aliases == {NEW_GHOST}


def test_renaming_a_ghost_to_itself_changes_nothing() -> None:
    assert rename_ghost(ledger_with(ACTIVE), GHOST, GHOST) == ledger_with(ACTIVE)


def test_an_upgraded_room_hands_everything_over_and_retires() -> None:
    before = Ledger.of(ME, [ManagedDM(ROOM, GHOST, ACTIVE, aliases=frozenset({OTHER}))])
    after = replace_room(before, ROOM, NEW_ROOM)
    assert the_dm(after, NEW_ROOM) == ManagedDM(NEW_ROOM, GHOST, ACTIVE, aliases=frozenset({OTHER}))
    assert the_dm(after).state is RETIRED
    assert after.wanted() == {(GHOST, NEW_ROOM)}


def test_a_retired_room_is_forgotten_and_can_be_managed_anew() -> None:
    forgotten = forget(ledger_with(RETIRED), ROOM)
    assert forgotten == Ledger.of(ME)
    assert the_dm(manage(forgotten, ROOM, OTHER)).ghost == OTHER


@pytest.mark.parametrize("opted_out", [False, True])
def test_a_retired_room_that_is_managed_again_waits_for_the_user_and_keeps_their_decision(
    opted_out: bool,
) -> None:
    again = manage(ledger_with(RETIRED, opted_out), ROOM, OTHER)
    assert the_dm(again) == ManagedDM(ROOM, OTHER, PENDING, opted_out, frozenset({GHOST}))


def test_a_retired_room_that_is_managed_again_under_an_earlier_id_has_no_alias_of_itself() -> None:
    renamed = rename_ghost(ledger_with(ACTIVE), GHOST, NEW_GHOST)
    again = manage(retire(renamed, ROOM), ROOM, GHOST)
    assert the_dm(again).aliases == {NEW_GHOST}


@pytest.mark.parametrize("transition", [opt_out, opt_in, forget])
def test_several_rooms_change_at_once_and_none_changes_nothing(transition: Any) -> None:
    state = RETIRED if transition is forget else ACTIVE
    rooms = [RoomId(f"!r{n}") for n in range(3)]
    ledger = Ledger.of(ME, [ManagedDM(room, GHOST, state, transition is opt_in) for room in rooms])
    together = transition(ledger, *rooms)
    one_by_one = ledger
    for room in rooms:
        one_by_one = transition(one_by_one, room)
    assert together == one_by_one != ledger
    assert transition(ledger) == ledger


@pytest.mark.parametrize("transition", [opt_out, opt_in, forget])
def test_of_several_rooms_one_that_may_not_change_keeps_all_as_they_were(transition: Any) -> None:
    state = RETIRED if transition is forget else ACTIVE
    ledger = Ledger.of(ME, [ManagedDM(ROOM, GHOST, state)])
    with pytest.raises(LedgerError):
        transition(ledger, ROOM, ABSENT)
    assert the_dm(ledger) == ManagedDM(ROOM, GHOST, state)


def test_an_upgrade_takes_the_opt_out_along_and_leaves_none_behind() -> None:
    after = replace_room(ledger_with(ACTIVE, opted_out=True), ROOM, NEW_ROOM)
    assert the_dm(after, NEW_ROOM).opted_out
    assert not the_dm(after).opted_out


@pytest.mark.parametrize("state", [PENDING, ACTIVE])
@pytest.mark.parametrize("decided", [(False, False), (True, False), (False, True)])
def test_an_upgrade_to_a_managed_room_unites_what_was_decided(
    state: DMState, decided: tuple[bool, bool]
) -> None:
    old = ManagedDM(ROOM, GHOST, ACTIVE, decided[0], frozenset({NEW_GHOST}))
    before = Ledger.of(ME, [old, ManagedDM(NEW_ROOM, OTHER, state, decided[1])])
    after = replace_room(before, ROOM, NEW_ROOM)
    aliases = frozenset({NEW_GHOST, OTHER})
    assert the_dm(after, NEW_ROOM) == ManagedDM(NEW_ROOM, GHOST, ACTIVE, any(decided), aliases)
    assert the_dm(after) == ManagedDM(ROOM, GHOST, RETIRED, False, frozenset({NEW_GHOST}))


@pytest.mark.parametrize("state", [None, PENDING, ACTIVE])
def test_of_a_retired_room_an_upgrade_takes_over_the_decision_alone(state: DMState | None) -> None:
    known = [] if state is None else [ManagedDM(NEW_ROOM, GHOST, state)]
    before = Ledger.of(ME, [ManagedDM(ROOM, GHOST, RETIRED, opted_out=True), *known])
    after = replace_room(before, ROOM, NEW_ROOM)
    assert the_dm(after, NEW_ROOM) == ManagedDM(NEW_ROOM, GHOST, state or RETIRED, opted_out=True)
    assert not the_dm(after).opted_out


@pytest.mark.parametrize(
    ("keys", "marked"),
    [((GHOST,), True), ((OTHER, NEW_GHOST), True), ((OTHER,), False), ((), False)],
)
def test_a_room_is_marked_by_its_ghost_under_any_id_it_ever_had(
    keys: tuple[UserId, ...], marked: bool
) -> None:
    assert ManagedDM(ROOM, GHOST, aliases=frozenset({NEW_GHOST})).is_marked_by(keys) is marked


def test_the_users_of_the_bridge_are_the_account_its_never_keys_ghosts_and_their_aliases() -> None:
    ledger = Ledger.of(ME, [ManagedDM(ROOM, GHOST, aliases=frozenset({NEW_GHOST}))], [OTHER])
    assert ledger.bridge_users == {ME, OTHER, GHOST, NEW_GHOST}
    assert ledger.is_bridge_user(NEW_GHOST)
    assert not ledger.is_bridge_user("@human:example.org")


def test_one_room_cannot_be_managed_twice() -> None:
    with pytest.raises(LedgerError, match="twice"):
        Ledger.of(ME, [ManagedDM(ROOM, GHOST), ManagedDM(ROOM, OTHER)])


@pytest.mark.parametrize(
    ("room", "ghost", "aliases"),
    [("room", GHOST, ()), (ROOM, "romeo", ()), (ROOM, GHOST, (GHOST,))],
)
def test_an_ill_formed_row_never_becomes_part_of_a_ledger(
    room: str, ghost: str, aliases: tuple[UserId, ...]
) -> None:
    with pytest.raises(LedgerError):
        ManagedDM(RoomId(room), UserId(ghost), aliases=frozenset(aliases))
