"""The plans of hot queries: an index answers them, however much history lies around."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest_asyncio

from dm_bridge.store.database import Database

from .stored import a_login

FILL = (
    """
    INSERT INTO inbox (login_id, chat_id, remote_id, event, state)
    SELECT $1, 'chat' || n % 50, 'id' || n, 'x', CASE WHEN n % 400 = 0 THEN 'waiting' ELSE 'delivered' END
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO outbox (event_id, room_id, sender, event, state, login_id, chat_id, remote_id)
    SELECT 'event' || n, '!room' || n % 50, '@u:s', 'x',
           CASE WHEN n % 400 = 0 THEN 'waiting' ELSE 'delivered' END, $1, 'chat' || n % 50, 'remote' || n
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO portal (login_id, chat_id, contact, ghost, room_id, state)
    SELECT $1, 'chat' || n, 'contact', '@ghost:s', '!room' || n, 'open' FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO direct_dm (account, room_id, ghost, state, settled)
    SELECT '@account' || n % 500 || ':s', '!room' || n, '@ghost:s', 'active', n % 1000 <> 0 AND $1 <> ''
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO management_room (room_id, user_id)
    SELECT '!room' || n, '@user' || n || ':s' || left($1, 0) FROM generate_series(1, 5000) AS n
    """,
)


@pytest_asyncio.fixture
async def full(database: Database) -> Database:
    """A database with some history, analysed."""
    login = await a_login(database)
    async with database.connection() as connection:
        for statement in FILL:
            await connection.execute(statement, login)
        await connection.execute("ANALYZE")
    return database


async def plan(database: Database, query: str, *values: object) -> dict[str, Any]:
    async with database.connection() as connection:
        answer = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *values)
    node: dict[str, Any] = json.loads(answer)[0]["Plan"]
    return node


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)


def indexes(node: dict[str, Any]) -> set[str]:
    assert all(part["Node Type"] != "Seq Scan" for part in nodes(node)), node
    return {part["Index Name"] for part in nodes(node) if "Index Name" in part}


async def test_what_waits_in_a_chat_is_found_through_the_partial_index(full: Database) -> None:
    found = await plan(
        full,
        """
        SELECT remote_id, event, extract(epoch FROM received_at)::float8 FROM inbox
        WHERE login_id = $1 AND chat_id = $2 AND state = 'waiting' ORDER BY seq LIMIT $3
        """,
        "login", "chat1", 50,
    )  # fmt: skip
    assert indexes(found) == {"inbox_waiting"}
    assert all(part["Node Type"] != "Sort" for part in nodes(found))


async def test_what_waits_in_a_room_is_found_through_the_partial_index(full: Database) -> None:
    found = await plan(
        full,
        """
        SELECT event_id, sender, event, extract(epoch FROM received_at)::float8 FROM outbox
        WHERE room_id = $1 AND state = 'waiting' ORDER BY seq LIMIT $2
        """,
        "!room1", 50,
    )  # fmt: skip
    assert indexes(found) == {"outbox_waiting"}
    assert all(part["Node Type"] != "Sort" for part in nodes(found))


async def test_where_something_waits_is_found_without_reading_history(full: Database) -> None:
    waiting = "SELECT DISTINCT login_id, chat_id FROM inbox WHERE state = 'waiting'"
    assert indexes(await plan(full, waiting)) == {"inbox_waiting"}
    waiting = "SELECT DISTINCT room_id FROM outbox WHERE state = 'waiting'"
    assert indexes(await plan(full, waiting)) == {"outbox_waiting"}


async def test_the_portal_of_a_room_is_found_through_its_index(full: Database) -> None:
    found = await plan(full, "SELECT * FROM portal WHERE room_id = $1", "!room77")
    assert indexes(found) == {"portal_room_id_key"}


async def test_the_event_of_a_remote_message_is_found_through_its_index(full: Database) -> None:
    found = await plan(
        full,
        "SELECT event_id FROM outbox WHERE login_id = $1 AND chat_id = $2 AND remote_id = $3",
        "login", "chat1", "remote1",
    )  # fmt: skip
    assert indexes(found) == {"outbox_remote"}


async def test_a_room_that_changes_state_is_found_through_an_index(full: Database) -> None:
    found = await plan(
        full,
        """
        UPDATE direct_dm SET state = $2, settled = false
        WHERE room_id = $1 AND state <> $2 AND ($3::text IS NULL OR account = $3)
        RETURNING account
        """,
        "!room77", "retired", None,
    )  # fmt: skip
    assert indexes(found)


async def test_the_ledger_of_an_account_and_what_is_unsettled_are_found_through_indexes(
    full: Database,
) -> None:
    ledger = await plan(full, "SELECT * FROM direct_dm WHERE account = $1", "@account7:s")
    assert indexes(ledger) == {"direct_dm_pkey"}
    unsettled = await plan(full, "SELECT DISTINCT account FROM direct_dm WHERE NOT settled")
    assert indexes(unsettled) == {"direct_dm_unsettled"}


async def test_the_management_rooms_of_a_user_are_found_through_an_index(full: Database) -> None:
    found = await plan(full, "SELECT room_id FROM management_room WHERE user_id = $1", "@user7:s")
    assert indexes(found) == {"management_room_user"}


async def test_plans_stand_for_statements_that_exist(full: Database) -> None:
    with_typo = "SELECT nothing FROM inbox"
    try:
        await plan(full, with_typo)
    except asyncpg.UndefinedColumnError:
        return
    raise AssertionError("the plan of a wrong statement was not refused")
