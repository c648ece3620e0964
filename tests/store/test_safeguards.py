"""Limits that hold whoever asks at the same time, in whichever process."""

from __future__ import annotations

import asyncio

import pytest

from dm_bridge.ids import ContactId, LoginId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.logins import Full, LoginLimits, LoginState, LoginStore
from dm_bridge.store.safeguards import OF_ALL, SafeguardStore, _wait

from .stored import OWNER, XMPP

NURSE = UserId("@nurse:example.org")


async def add(
    store: LoginStore, number: int, limits: LoginLimits, owner: UserId = OWNER
) -> tuple[LoginId, Full | None]:
    login = await store.reserve(owner, XMPP, ContactId(f"me{number}@example.com"), "me")
    return login, await store.activate(login, b"sealed", limits=limits)


@pytest.mark.parametrize(
    ("limits", "full"),
    [(LoginLimits(user=3), Full.USER), (LoginLimits(bridge=3), Full.BRIDGE)],
)
async def test_attempts_of_two_processes_at_once_never_exceed_a_maximum(
    database_url: str, limits: LoginLimits, full: Full
) -> None:
    databases = [await Database.open(database_url) for _ in range(2)]
    stores = [LoginStore(database) for database in databases]
    outcomes = await asyncio.gather(*(add(stores[n % 2], n, limits) for n in range(12)))
    assert sorted(str(outcome) for _, outcome in outcomes) == sorted(3 * ["None"] + 9 * [str(full)])
    counts = await stores[0].counts(OWNER)
    assert (counts.user, counts.bridge) == (3, 3)
    assert len(await stores[0].all()) == 3  # of those that were refused, nothing is left
    for database in databases:
        await database.close()


async def test_a_login_that_is_there_can_be_made_anew_at_the_maximum(database: Database) -> None:
    store, limits = LoginStore(database), LoginLimits(user=1)
    login, outcome = await add(store, 1, limits)
    assert outcome is None
    await store.set_state(login, LoginState.BAD_CREDENTIALS, "changed")
    assert await add(store, 1, limits) == (login, None)
    assert (await add(store, 2, limits))[1] is Full.USER
    assert (await add(store, 3, limits, NURSE))[1] is None
    await store.set_state(login, LoginState.LOGGED_OUT, "")
    assert (await add(store, 2, limits))[1] is None
    assert await add(store, 1, limits) == (login, Full.USER)  # was logged out, and is one more
    assert await store.get(login) is not None  # its chats are kept for when there is room
    assert (await add(store, 5, LoginLimits(user=0), NURSE))[1] is Full.USER


async def test_tries_at_an_account_are_counted_before_their_outcome(database_url: str) -> None:
    databases = [await Database.open(database_url) for _ in range(2)]
    stores = [SafeguardStore(database) for database in databases]
    tries = await asyncio.gather(
        *(stores[n % 2].try_account(b"account", b"juliet", 3) for n in range(10))
    )
    counted = [seq for seq, wait in tries if not wait]
    assert len(counted) == 3
    assert all(3590 < wait <= 3600 for seq, wait in tries if not seq)
    assert (await stores[0].try_account(b"other", b"juliet", 3))[1] == 0
    # the network could not be asked after all
    await stores[0].not_in_vain(counted[0])
    assert (await stores[1].try_account(b"account", b"juliet", 3))[1] == 0
    # another user has tries of their own, until all together had so many
    free = [(await stores[0].try_account(b"account", f"{n}".encode(), 3))[1] for n in range(12)]
    assert free.count(0) == OF_ALL * 3 - 3
    await stores[0].succeeded(b"account")
    assert (await stores[1].try_account(b"account", b"juliet", 3))[1] == 0
    async with databases[0].connection() as connection:
        await connection.execute("UPDATE login_failure SET at = at - interval '2 hours'")
    await stores[0].prune()
    async with databases[0].connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM login_failure") == 0
    for database in databases:
        await database.close()


def test_the_wait_ends_when_the_oldest_that_is_too_many_does_not_count_any_more() -> None:
    assert _wait([3000, 2000, 100], 3) == 600
    assert _wait([3500, 3000, 2000, 100], 3) == 600
    assert _wait([3000, 2000], 3) == 0


async def test_who_is_stopped_stays_so_until_allowed(database: Database) -> None:
    store = SafeguardStore(database)
    await store.stop(OWNER, "@admin:example.org", "spam")
    await store.stop(OWNER, "@admin:example.org", "more spam")
    assert {user: stop.reason for user, stop in (await store.stopped()).items()} == {
        OWNER: "more spam"
    }
    assert await store.stopped([NURSE]) == {}
    assert await store.allow(OWNER)
    assert not await store.allow(OWNER)
