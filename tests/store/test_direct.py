"""The ledger in the database: what is managed, what is settled, what is forgotten."""

from __future__ import annotations

import contextlib

import pytest

from dm_bridge.direct import opt_out as decided
from dm_bridge.direct.ledger import DMState, Ledger, ManagedDM
from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.direct import DirectStore

from .stored import GHOST, OWNER

ROOM, OTHER = RoomId("!room"), RoomId("!other")
NURSE = UserId("@xmpp_nurse:example.org")


@pytest.fixture
def store(database: Database) -> DirectStore:
    return DirectStore(database)


async def settle_all(store: DirectStore, account: UserId = OWNER) -> None:
    await store.settle(account, await store.managed(account))


async def test_what_is_managed_is_read_back_and_waits_to_be_written(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.PENDING)
    await store.manage(OWNER, OTHER, NURSE, DMState.ACTIVE)
    assert await store.managed(OWNER) == [
        ManagedDM(OTHER, NURSE, DMState.ACTIVE),
        ManagedDM(ROOM, GHOST, DMState.PENDING),
    ]
    assert await store.unsettled() == [OWNER]
    assert await store.managed(GHOST) == []


async def test_managing_the_same_again_is_no_new_work(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await settle_all(store)
    assert await store.unsettled() == []
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    assert await store.unsettled() == []


async def test_what_is_active_does_not_become_pending_again(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await settle_all(store)
    await store.manage(OWNER, ROOM, GHOST, DMState.PENDING)
    assert await store.managed(OWNER) == [ManagedDM(ROOM, GHOST, DMState.ACTIVE)]
    assert await store.unsettled() == []
    await store.manage(OWNER, ROOM, NURSE, DMState.PENDING)
    assert [dm.state for dm in await store.managed(OWNER)] == [DMState.ACTIVE]


@pytest.mark.parametrize(("ghost", "state"), [(NURSE, DMState.ACTIVE), (GHOST, DMState.RETIRED)])
async def test_managing_it_otherwise_is_new_work(
    store: DirectStore, ghost: UserId, state: DMState
) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await settle_all(store)
    await store.manage(OWNER, ROOM, ghost, state)
    aliases = frozenset({GHOST} - {ghost})
    assert await store.managed(OWNER) == [ManagedDM(ROOM, ghost, state, aliases=aliases)]
    assert await store.unsettled() == [OWNER]


async def test_what_changed_while_it_was_written_stays_unsettled(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.PENDING)
    seen = await store.managed(OWNER)
    assert await store.set_state(ROOM, DMState.ACTIVE, OWNER) == [OWNER]
    await store.settle(OWNER, seen)
    assert await store.unsettled() == [OWNER]


async def test_what_was_added_while_it_was_written_stays_unsettled(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    seen = await store.managed(OWNER)
    await store.manage(OWNER, OTHER, NURSE, DMState.ACTIVE)
    await store.settle(OWNER, seen)
    assert await store.unsettled() == [OWNER]


async def test_a_change_of_state_names_the_accounts_that_it_concerns(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.PENDING)
    await store.manage(GHOST, ROOM, OWNER, DMState.ACTIVE)
    await store.manage(OWNER, OTHER, NURSE, DMState.PENDING)
    assert await store.set_state(ROOM, DMState.ACTIVE, OWNER) == [OWNER]
    assert await store.set_state(ROOM, DMState.ACTIVE, OWNER) == []
    assert sorted(await store.set_state(ROOM, DMState.RETIRED)) == sorted([OWNER, GHOST])
    states = {dm.room: dm.state for dm in await store.managed(OWNER)}
    assert states == {ROOM: DMState.RETIRED, OTHER: DMState.PENDING}


async def test_a_retired_room_is_forgotten_only_once_its_mark_was_seen_gone(
    store: DirectStore,
) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await settle_all(store)
    seen = await store.managed(OWNER)
    await store.set_state(ROOM, DMState.RETIRED)
    await store.settle(OWNER, seen)
    assert [dm.state for dm in await store.managed(OWNER)] == [DMState.RETIRED]
    await settle_all(store)
    assert await store.managed(OWNER) == []
    assert await store.unsettled() == []


async def test_settling_one_account_leaves_others_alone(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.RETIRED)
    await store.manage(GHOST, ROOM, OWNER, DMState.RETIRED)
    await settle_all(store)
    assert await store.managed(OWNER) == []
    assert await store.unsettled() == [GHOST]


async def test_a_retired_room_can_be_taken_up_again(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.RETIRED)
    await store.manage(OWNER, ROOM, GHOST, DMState.PENDING)
    await settle_all(store)
    assert await store.managed(OWNER) == [ManagedDM(ROOM, GHOST, DMState.PENDING)]


async def opt_out(store: DirectStore, room: RoomId = ROOM) -> None:
    assert await store.opt(OWNER, room, True)


async def test_managing_a_room_again_keeps_the_users_decision(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await opt_out(store)
    await store.set_state(ROOM, DMState.RETIRED)
    await settle_all(store)
    assert await store.managed(OWNER) == [ManagedDM(ROOM, GHOST, DMState.RETIRED, True)]
    assert await store.unsettled() == []
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    assert await store.managed(OWNER) == [ManagedDM(ROOM, GHOST, DMState.ACTIVE, True)]


async def test_a_ghost_that_comes_back_is_no_alias_of_itself(store: DirectStore) -> None:
    for ghost in (GHOST, NURSE, GHOST):
        await store.manage(OWNER, ROOM, ghost, DMState.ACTIVE)
    assert await store.managed(OWNER) == [
        ManagedDM(ROOM, GHOST, DMState.ACTIVE, aliases=frozenset({NURSE}))
    ]


async def test_only_what_is_managed_and_not_retired_can_be_decided_about(
    store: DirectStore,
) -> None:
    assert not await store.opt(OWNER, ROOM, True)
    await store.manage(OWNER, ROOM, GHOST, DMState.RETIRED)
    assert not await store.opt(OWNER, ROOM, True)
    await store.manage(OWNER, ROOM, GHOST, DMState.PENDING)
    await settle_all(store)
    assert await store.opt(OWNER, ROOM, True)
    assert await store.unsettled() == [OWNER]
    assert not await store.opt(GHOST, ROOM, True)


async def test_a_deleted_chat_is_forgotten_with_the_decision_about_it(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await store.manage(GHOST, ROOM, OWNER, DMState.ACTIVE)
    await opt_out(store)
    assert sorted(await store.forget(ROOM)) == sorted([OWNER, GHOST])
    await settle_all(store)
    assert await store.managed(OWNER) == []
    assert await store.accounts() == [GHOST]


async def test_an_upgraded_room_passes_everything_on(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, NURSE, DMState.ACTIVE)
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await store.manage(GHOST, ROOM, OWNER, DMState.ACTIVE)
    await opt_out(store)
    assert sorted(await store.replace_room(ROOM, OTHER)) == sorted([OWNER, GHOST])
    old = ManagedDM(ROOM, GHOST, DMState.RETIRED, False, frozenset({NURSE}))
    new = ManagedDM(OTHER, GHOST, DMState.ACTIVE, True, frozenset({NURSE}))
    assert await store.managed(OWNER) == [new, old]
    assert {dm.room: dm.state for dm in await store.managed(GHOST)} == {
        ROOM: DMState.RETIRED,
        OTHER: DMState.ACTIVE,
    }
    assert await store.replace_room(ROOM, OTHER) == []


async def test_an_upgrade_to_a_room_that_is_managed_already_joins_both(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, NURSE, DMState.ACTIVE)
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await opt_out(store)
    await store.manage(OWNER, OTHER, GHOST, DMState.PENDING)
    await store.manage(OWNER, OTHER, NURSE, DMState.PENDING)
    await store.replace_room(ROOM, OTHER)
    found = {dm.room: dm for dm in await store.managed(OWNER)}
    assert found[OTHER] == ManagedDM(OTHER, GHOST, DMState.ACTIVE, True, frozenset({NURSE}))
    assert found[ROOM].state is DMState.RETIRED


async def test_the_decision_about_a_retired_room_follows_its_upgrade(store: DirectStore) -> None:
    """The user had logged out when the room was upgraded."""
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await opt_out(store)
    await store.set_state(ROOM, DMState.RETIRED)
    await store.replace_room(ROOM, OTHER)
    await settle_all(store)
    assert await store.managed(OWNER) == [ManagedDM(OTHER, GHOST, DMState.RETIRED, True)]
    await store.manage(OWNER, OTHER, GHOST, DMState.ACTIVE)
    assert await store.managed(OWNER) == [ManagedDM(OTHER, GHOST, DMState.ACTIVE, True)]


async def test_a_retired_rooms_upgrade_does_not_retire_a_living_one(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await opt_out(store)
    await store.set_state(ROOM, DMState.RETIRED)
    await store.manage(OWNER, OTHER, GHOST, DMState.ACTIVE)
    await store.replace_room(ROOM, OTHER)
    found = {dm.room: dm for dm in await store.managed(OWNER)}
    assert found[OTHER] == ManagedDM(OTHER, GHOST, DMState.ACTIVE, True)


async def test_a_renamed_ghost_is_remembered_and_its_own_rooms_move(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await store.manage(OWNER, OTHER, GHOST, DMState.ACTIVE)
    await store.manage(GHOST, ROOM, OWNER, DMState.ACTIVE)
    await opt_out(store)
    await settle_all(store)
    touched = await store.rename_ghost(ROOM, GHOST, NURSE)
    assert sorted(touched) == sorted([OWNER, GHOST, NURSE])
    assert await store.managed(OWNER) == [
        ManagedDM(OTHER, GHOST, DMState.ACTIVE),
        ManagedDM(ROOM, NURSE, DMState.ACTIVE, True, frozenset({GHOST})),
    ]
    assert await store.managed(GHOST) == [ManagedDM(ROOM, OWNER, DMState.RETIRED)]
    assert await store.managed(NURSE) == [ManagedDM(ROOM, OWNER, DMState.ACTIVE)]
    assert sorted(await store.unsettled()) == sorted([OWNER, GHOST, NURSE])


async def test_renaming_back_makes_an_alias_the_ghost_again(store: DirectStore) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await store.manage(GHOST, ROOM, OWNER, DMState.ACTIVE)
    await store.rename_ghost(ROOM, GHOST, NURSE)
    await store.rename_ghost(ROOM, NURSE, GHOST)
    assert await store.managed(OWNER) == [
        ManagedDM(ROOM, GHOST, DMState.ACTIVE, aliases=frozenset({NURSE}))
    ]
    assert await store.managed(GHOST) == [ManagedDM(ROOM, OWNER, DMState.ACTIVE)]
    assert await store.managed(NURSE) == [ManagedDM(ROOM, OWNER, DMState.RETIRED)]


@pytest.mark.parametrize("ghost", [GHOST, UserId("@unknown:example.org")])
async def test_renaming_to_the_same_name_or_an_unknown_ghost_changes_nothing(
    store: DirectStore, ghost: UserId
) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await store.manage(GHOST, ROOM, OWNER, DMState.ACTIVE)
    before = await store.managed(OWNER), await store.managed(GHOST)
    assert await store.rename_ghost(ROOM, ghost, GHOST) == []
    assert (await store.managed(OWNER), await store.managed(GHOST)) == before


async def test_the_users_decisions_are_recorded_with_what_else_was_decided(
    store: DirectStore, database: Database
) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await store.manage(OWNER, OTHER, GHOST, DMState.ACTIVE)
    await store.manage(GHOST, ROOM, OWNER, DMState.ACTIVE)
    await settle_all(store)
    before = Ledger.of(OWNER, await store.managed(OWNER))
    with contextlib.suppress(ZeroDivisionError):
        async with database.transaction() as connection:
            await store.decide(connection, before, decided(before, ROOM))
            raise ZeroDivisionError
    assert not any(dm.opted_out for dm in await store.managed(OWNER))
    async with database.transaction() as connection:
        await store.decide(connection, before, decided(before, ROOM))
    assert {dm.room for dm in await store.managed(OWNER) if dm.opted_out} == {ROOM}
    assert not any(dm.opted_out for dm in await store.managed(GHOST))
    managed, settled = await store.load(OWNER)
    assert len(managed) == 2
    assert not settled
