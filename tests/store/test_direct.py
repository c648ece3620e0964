"""The ledger in the database: what is managed, what is settled, what is forgotten."""

from __future__ import annotations

import pytest

from dm_bridge.direct.ledger import DMState, ManagedDM
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


@pytest.mark.parametrize(("ghost", "state"), [(NURSE, DMState.ACTIVE), (GHOST, DMState.PENDING)])
async def test_managing_it_otherwise_is_new_work(
    store: DirectStore, ghost: UserId, state: DMState
) -> None:
    await store.manage(OWNER, ROOM, GHOST, DMState.ACTIVE)
    await settle_all(store)
    await store.manage(OWNER, ROOM, ghost, state)
    assert await store.managed(OWNER) == [ManagedDM(ROOM, ghost, state)]
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
