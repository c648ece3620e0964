"""Trouble with the database, as the rest of the program sees it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from dm_bridge.errors import StorageError
from dm_bridge.store import database as database_module
from dm_bridge.store.database import Database, storage_error


async def test_a_block_that_fails_leaves_nothing_behind(database: Database) -> None:
    async def fail_half_way() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO management_room VALUES ('!r', '@u:s')")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError):
        await fail_half_way()
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM management_room") == 0


async def test_a_missing_table_says_what_to_run(empty_database_url: str) -> None:
    database = await Database.open(empty_database_url)
    with pytest.raises(StorageError, match="dm-bridge migrate"):
        async with database.connection() as connection:
            await connection.fetch("SELECT * FROM portal")
    await database.close()


async def test_a_connection_that_the_server_ends_can_be_tried_again(database: Database) -> None:
    async def end_ourselves() -> None:
        async with database.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StorageError) as caught:
        await end_ourselves()
    assert caught.value.retry_after is not None
    assert not caught.value.certain
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_database_that_is_dropped_while_we_run_is_a_storage_error(
    database_url: str, postgres: str
) -> None:
    database = await Database.open(database_url)
    name = database_url.rpartition("?")[0].rpartition("/")[2]
    admin = await asyncpg.connect(postgres)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    for _ in range(2):  # on the connection that was open, and on a new one
        with pytest.raises(StorageError):
            async with database.connection() as connection:
                await connection.fetchval("SELECT 1")
    assert not await database.healthy()
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    await database.close()


async def test_a_value_that_postgres_cannot_hold_is_not_mistaken_for_passing_trouble(
    database: Database,
) -> None:
    for value in ("\ud800", "NUL \0"):
        with pytest.raises(Exception, match=r"(?i)surrogates|0x00") as caught:
            async with database.connection() as connection:
                await connection.fetchval("SELECT $1::text", value)
        assert getattr(caught.value, "retry_after", None) is None


async def test_a_database_that_answers_is_healthy(database: Database) -> None:
    assert await database.healthy()


async def test_a_closed_pool_is_a_storage_error_and_not_healthy(database_url: str) -> None:
    database = await Database.open(database_url)
    await database.close()
    with pytest.raises(StorageError):
        async with database.connection():
            pass
    assert not await database.healthy()


async def test_a_database_that_hangs_is_not_healthy_and_costs_two_seconds(
    database_url: str,
) -> None:
    database = await Database.open(database_url, size=1)
    async with database.connection():
        started = asyncio.get_running_loop().time()
        assert not await database.healthy()
        assert asyncio.get_running_loop().time() - started < 15
    assert await database.healthy()
    await database.close()


async def test_a_question_that_cannot_be_taken_back_delays_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, answered = 0, asyncio.Event()

    class Hanging:
        @asynccontextmanager
        async def acquire(self, timeout: float) -> AsyncIterator[Any]:
            nonlocal asked
            asked += 1
            while (
                not answered.is_set()
            ):  # as asyncpg, when the server does not even take a cancellation
                with contextlib.suppress(asyncio.CancelledError):
                    await answered.wait()
            if asked:
                raise OSError("gone")
            yield

    monkeypatch.setattr(database_module, "PROBE_DEADLINE", 0.05)
    database = Database("", "dm_bridge")
    database._pool = Hanging()  # type: ignore[assignment]
    for _ in range(3):
        async with asyncio.timeout(30):
            assert not await database.healthy()
    assert asked == 1
    answered.set()
    await asyncio.sleep(0.01)
    assert not await database.healthy()
    assert asked == 2


@pytest.mark.parametrize(
    ("error", "certain"),
    [(ConnectionRefusedError(), True), (TimeoutError(), False), (ConnectionResetError(), False)],
)
def test_only_a_refused_connection_surely_had_no_effect(error: Exception, certain: bool) -> None:
    assert storage_error(error).certain is certain


def test_an_error_without_words_is_named_by_its_kind() -> None:
    assert "TimeoutError" in str(storage_error(TimeoutError()))
