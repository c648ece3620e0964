"""Nothing about a user is left, nothing of anybody else goes, and all of it was shown before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from dm_bridge.ids import UserId
from dm_bridge.store import erasing
from dm_bridge.store.audit_log import AuditStore
from dm_bridge.store.database import Database
from dm_bridge.store.erasing import KEPT, PLAN, ErasureStore
from dm_bridge.store.exporting import SECTIONS, ExportStore

JULIET = UserId("@juliet:example.org")
NURSE = UserId("@nurse:example.org")

FILL: Sequence[str] = (
    "INSERT INTO login (login_id, owner, network, remote, name, credentials, state) "
    "VALUES ('{n}', '{user}', 'xmpp', '{n}@secret.example', '{n}', 'SEALED-{n}', 'active')",
    "INSERT INTO ghost (network, contact, user_id, name, source) "
    "VALUES ('xmpp', 'only-{n}', '@_dm_only-{n}:s', 'x', '{n}')",
    "INSERT INTO ghost (network, contact, user_id, name, source) "
    "VALUES ('xmpp', 'both', '@_dm_both:s', 'x', '{n}') "
    "ON CONFLICT DO NOTHING",
    "INSERT INTO portal (login_id, chat_id, contact, ghost, room_id, state, membership) "
    "VALUES ('{n}', 'only', 'only-{n}', '@_dm_only-{n}:s', '!only-{n}', 'open', 'join')",
    "INSERT INTO portal (login_id, chat_id, contact, ghost, room_id, state, membership) "
    "VALUES ('{n}', 'both', 'both', '@_dm_both:s', '!both-{n}', 'open', 'join')",
    "INSERT INTO former_room VALUES ('!former-{n}', '{n}', 'only')",
    "INSERT INTO space (login_id, mode, room_id) VALUES ('{n}', 'on', '!space-{n}')",
    "INSERT INTO inbox (login_id, chat_id, remote_id, event) VALUES ('{n}', 'only', 'r', 'WRITTEN-{n}')",
    "INSERT INTO outbox (event_id, room_id, sender, event) "
    "VALUES ('$1-{n}', '!only-{n}', '{user}', 'WRITTEN-{n}')",
    "INSERT INTO outbox (event_id, room_id, sender, event) "
    "VALUES ('$2-{n}', '!bot-{n}', '@bot:s', 'WRITTEN-{n}')",
    "INSERT INTO reaction (login_id, chat_id, target, from_self, emoji, event_id) "
    "VALUES ('{n}', 'only', '$t', true, 'x', '$e')",
    "INSERT INTO contact_request (login_id, contact) VALUES ('{n}', 'someone-{n}')",
    "INSERT INTO history_import (login_id) VALUES ('{n}')",
    "INSERT INTO history_chat (login_id, chat_id, state) VALUES ('{n}', 'only', 'shown')",
    "INSERT INTO direct_dm (account, room_id, ghost, state) "
    "VALUES ('{user}', '!only-{n}', '@_dm_only-{n}:s', 'active')",
    "INSERT INTO direct_dm (account, room_id, ghost, state) "
    "VALUES ('@_dm_only-{n}:s', '!only-{n}', '{user}', 'active')",
    "INSERT INTO direct_account (account, head) VALUES ('{user}', '{{}}')",
    "INSERT INTO direct_version (account, seq, at, source, detail) VALUES ('{user}', 1, 0, 'read', '{{}}')",
    "INSERT INTO matrix_token (user_id, homeserver_url, sealed) VALUES ('{user}', 'https://hs', 'SEALED-{n}')",
    "INSERT INTO management_room (room_id, user_id) VALUES ('!bot-{n}', '{user}')",
    "INSERT INTO refused_stranger (user_id) VALUES ('{user}')",
    "INSERT INTO share (user_id) VALUES ('{user}')",
    "INSERT INTO errand (for_whom, kind, subject) VALUES ('{user}', 'room', '!only-{n}')",
    "INSERT INTO page_link (hash, matrix_user, expires_at) VALUES ('SEALED-{n}', '{user}', now())",
    "INSERT INTO page_session (hash, matrix_user, expires_at) VALUES ('SEALED-{n}', '{user}', now())",
    "INSERT INTO audit_log (actor, act, subject, door) VALUES ('{user}', 'login', '{user}', 'bot')",
    "INSERT INTO audit_log (actor, act, subject, door) VALUES ('@admin:s', 'logout', '{user}', 'bot')",
)


async def fill(database: Database, user: UserId, n: str) -> None:
    async with database.connection() as connection:
        for statement in FILL:
            await connection.execute(statement.format(user=user, n=n))


async def tables(database: Database) -> dict[str, list[str]]:
    """Every table, with its rows as text."""
    async with database.connection() as connection:
        names = await connection.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        return {
            name: [
                str(row["t"])
                for row in await connection.fetch(f"SELECT t::text FROM {name} AS t")  # noqa: S608
            ]
            for (name,) in names
        }


async def export(database: Database, user: UserId) -> Any:
    return json.loads(b"".join([part async for part in ExportStore(database).export(user)]))


async def test_every_table_is_erased_or_kept_for_a_reason(database: Database) -> None:
    """A new table goes into `PLAN`, or into `KEPT` with the reason; and into the export."""
    every = set(await tables(database))
    assert every == PLAN.keys() | KEPT.keys()
    assert PLAN.keys().isdisjoint(KEPT)
    assert SECTIONS.keys() == PLAN.keys() | {"stopped_user"}


async def test_nothing_of_a_user_is_left_and_nothing_of_others_goes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "AT_ONCE", 1)  # in several steps
    await fill(database, NURSE, "n1")
    before = await tables(database)
    await fill(database, JULIET, "j1")
    async with database.connection() as connection:  # an admin has named them
        await connection.execute(
            "INSERT INTO outbox (event_id, room_id, sender, event, state) "
            "VALUES ('$a', '!bot-n1', '@n:s', $1, 'handled')",
            f"admin user {JULIET}".encode(),
        )
    filled = await tables(database)
    assert {name for name in PLAN if len(filled[name]) == len(before[name])} == {"erasure"}
    store = ErasureStore(database)
    await store.ask(JULIET, "@admin:s", "bot")
    await store.ask(JULIET, JULIET, "bot")  # once is enough
    [erasure] = await store.pending([JULIET, NURSE])
    assert erasure.by == "@admin:s"
    await store.collect(JULIET)
    assert await store.erase(erasure, "erased 123")
    after = await tables(database)
    [line] = [row for row in after["audit_log"] if "erased 123" in row]
    assert '""login"":1' in line.replace(" ", "")  # how much there was, and no more
    after["audit_log"].remove(line)
    assert after == before
    assert not await store.erase(erasure, "erased 123")  # it was done before
    assert not await store.knows(JULIET)
    assert len(await AuditStore(database).latest(10, users=["erased 123"])) == 1


async def test_what_others_did_in_a_room_that_is_forgotten_does_not_name_them(
    database: Database,
) -> None:
    """Such as a room with the bot that the user has left, or into which somebody else came."""
    statement = (
        "INSERT INTO outbox (event_id, room_id, sender, event, state) "
        "VALUES ($1, '!gone', $2, $3, 'handled')"
    )
    async with database.connection() as connection:
        await connection.execute(statement, "$nurse", NURSE, b"hello")
    before = await tables(database)
    async with database.connection() as connection:
        await connection.execute(statement, "$juliet", JULIET, b"hello")
        await connection.execute(statement, "$bot", "@bot:s", f"invited by {JULIET}".encode())
    store = ErasureStore(database)
    await store.ask(JULIET, JULIET, "bot")
    await store.collect(JULIET)
    [erasure] = await store.pending()
    assert await store.erase(erasure, "erased 123")
    assert (await tables(database))["outbox"] == before["outbox"]


async def test_it_can_be_broken_off_and_taken_up_at_any_time(database: Database) -> None:
    await fill(database, JULIET, "j1")
    store = ErasureStore(database)
    await store.ask(JULIET, JULIET, "bot")
    await store.collect(JULIET)
    async with database.connection() as connection:  # as far as an earlier attempt came
        await connection.execute("DELETE FROM former_room")
        await connection.execute("DELETE FROM portal")
    await store.collect(JULIET)
    [erasure] = await store.pending()
    assert await store.erase(erasure, "erased 123")
    left = await tables(database)
    assert not [(n, r) for n, rows in left.items() for r in rows if "j1" in r or JULIET in r]


async def test_a_user_is_told_all_but_secrets_and_what_was_written(database: Database) -> None:
    await fill(database, JULIET, "j1")
    await fill(database, NURSE, "n1")
    told = await export(database, JULIET)
    assert told["user_id"] == JULIET
    empty = {name for name, rows in told["tables"].items() if not rows}
    assert empty == {"stopped_user", "erasure"}
    text = json.dumps(told)
    for secret in ("SEALED", "WRITTEN", "n1", NURSE, "@admin:s"):
        assert secret not in text
    assert told["left_out"]["tables"] == []
    nothing = await export(database, UserId("@nobody:example.org"))
    assert not any(nothing["tables"].values())
