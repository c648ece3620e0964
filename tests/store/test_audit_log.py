"""The audit log: appended to, read in part, pruned, and never changed."""

from __future__ import annotations

import asyncpg
import pytest

from dm_bridge.bridge.audit_log import AGAIN_AFTER, AuditLog
from dm_bridge.errors import StorageError
from dm_bridge.store.audit_log import Act, AuditEntry, AuditStore, about, details_text
from dm_bridge.store.database import Database
from dm_bridge.store.sealing import SealingKey

from .stored import OWNER

ADMIN = "@admin:example.org"


async def test_entries_are_found_by_user_act_and_time(database: Database) -> None:
    store, log = AuditStore(database), AuditLog(AuditStore(database))
    await log.record(OWNER, Act.LOGIN, OWNER, {"network": "xmpp"}, "bot")
    await log.record(ADMIN, Act.LOGOUT, OWNER, {"login": "a1"}, "bot")
    await log.record(ADMIN, Act.ADMIN, None, {"command": "users"}, "bot")
    every = await store.latest(10)
    assert [entry.act for entry in every] == ["login", "logout", "admin"]
    assert every[0].details == {"network": "xmpp"}
    assert [entry.act for entry in await store.latest(2)] == ["logout", "admin"]
    assert [entry.act for entry in await store.latest(10, users=[OWNER])] == ["login", "logout"]
    assert len(await store.latest(10, users=[ADMIN])) == 2
    assert [e.actor for e in await store.latest(10, act="logout")] == [ADMIN]
    assert await store.latest(10, since=every[-1].at + 60) == []


async def test_nothing_that_was_recorded_can_be_changed(database: Database) -> None:
    await AuditLog(AuditStore(database)).record(OWNER, Act.LOGIN, OWNER)
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        async with database.connection() as connection:
            await connection.execute("UPDATE audit_log SET actor = 'nobody'")


async def test_what_is_too_old_is_pruned(database: Database) -> None:
    store = AuditStore(database)
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO audit_log (at, actor, act, door) VALUES (now() - interval '91 days', 'a', 'login', 'bot')"
        )
    await AuditLog(store).record(OWNER, Act.LOGIN, OWNER)
    assert await store.prune(90) == 1
    assert [entry.actor for entry in await store.latest(10)] == [OWNER]


class Away:
    """A database that is away."""

    async def add(self, entry: AuditEntry) -> None:
        raise StorageError("It is away.")


async def test_an_act_of_a_user_does_not_fail_because_it_cannot_be_recorded() -> None:
    log = AuditLog(Away())
    await log.record(OWNER, Act.LOGIN, OWNER)
    with pytest.raises(StorageError):
        await log.insist(ADMIN, Act.STOPPED, OWNER)


async def test_what_is_done_all_the_time_is_recorded_once_in_a_while(database: Database) -> None:
    now = [0.0]
    log = AuditLog(AuditStore(database), lambda: now[0])
    for _ in range(3):
        await log.record_now_and_then("shared secret", Act.SECRET_USED, OWNER, {}, "api")
    now[0] += AGAIN_AFTER
    await log.record_now_and_then("shared secret", Act.SECRET_USED, OWNER, {}, "api")
    assert len(await AuditStore(database).latest(10)) == 2


def test_details_are_few_and_short() -> None:
    text = details_text({f"k{n}": "x" * 1000 for n in range(50)})
    assert len(text) < 12 * 320


def test_who_was_erased_is_found_by_those_who_have_the_key_only() -> None:
    key, other = SealingKey(bytes(32)), SealingKey(bytes(31) + b"x")
    names = about(OWNER, key.digest("user", OWNER))
    assert names[0] == OWNER
    assert OWNER not in names[1]
    assert names != about(OWNER, other.digest("user", OWNER))
    assert about(OWNER, None) == [OWNER]
