"""The schema: from nothing, again, at the same time, from the future; and a database that is not there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from dm_bridge.errors import StorageError
from dm_bridge.store.database import Database
from dm_bridge.store.migrate import migrate
from dm_bridge.store.schema import (
    check_schema,
    latest_revision,
    migrations_directory,
    revisions,
)
from dm_bridge.testing.processes import free_port


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_an_empty_database_gets_the_whole_schema(empty_database_url: str) -> None:
    assert await migrate(empty_database_url) == (None, latest_revision())
    await check_schema(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    tables = {
        name
        for (name,) in await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
    }
    await connection.close()
    assert tables >= {"login", "ghost", "portal", "inbox", "outbox", "direct_dm", "management_room"}


async def test_migrating_again_changes_nothing(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    await execute(
        empty_database_url, "INSERT INTO management_room (room_id, user_id) VALUES ('!r', '@u:s')"
    )
    assert await migrate(empty_database_url) == (latest_revision(), latest_revision())
    connection = await asyncpg.connect(empty_database_url)
    kept = await connection.fetchval("SELECT count(*) FROM management_room")
    await connection.close()
    assert kept == 1


async def test_an_existing_schema_is_upgraded_with_all_that_it_holds(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = command.upgrade
    with monkeypatch.context() as earlier:
        earlier.setattr(command, "upgrade", lambda config, _head: upgrade(config, "0003"))
        await migrate(empty_database_url)
    await execute(
        empty_database_url,
        "INSERT INTO outbox (event_id, room_id, sender, event, state, reason) VALUES "
        "('$1', '!r', '@u:s', 'x', 'waiting', ''), ('$2', '!r', '@u:s', 'x', 'parked', 'odd')",
    )
    assert await migrate(empty_database_url) == ("0003", latest_revision())
    await check_schema(empty_database_url)
    connection = await asyncpg.connect(empty_database_url)
    kept = await connection.fetch("SELECT event_id, state, requeued_at FROM outbox ORDER BY seq")
    await connection.close()
    assert [tuple(row) for row in kept] == [("$1", "waiting", None), ("$2", "parked", None)]


async def test_programs_that_migrate_at_the_same_time_wait_for_each_other(
    empty_database_url: str,
) -> None:
    results = await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    assert sorted(results, key=str) == sorted(
        [(None, latest_revision()), *[(latest_revision(), latest_revision())] * 3], key=str
    )
    await check_schema(empty_database_url)


async def test_a_newer_schema_is_left_alone_and_named(database_url: str) -> None:
    await execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match=r"9999.*upgrade dm_bridge"):
        await migrate(database_url)
    with pytest.raises(StorageError, match=r"9999.*upgrade dm_bridge"):
        await check_schema(database_url)
    connection = await asyncpg.connect(database_url)
    found = await connection.fetchval("SELECT version_num FROM alembic_version")
    await connection.close()
    assert found == "9999"


async def test_a_missing_schema_says_what_to_run(empty_database_url: str) -> None:
    with pytest.raises(StorageError, match="dm-bridge migrate"):
        await check_schema(empty_database_url)


async def test_an_emptied_version_table_counts_as_no_schema(database_url: str) -> None:
    await execute(database_url, "DELETE FROM alembic_version")
    with pytest.raises(StorageError, match="dm-bridge migrate"):
        await check_schema(database_url)


async def test_a_schema_that_we_may_not_make_is_a_storage_error(
    empty_database_url: str, postgres: str
) -> None:
    role = f"guest_{os.getpid()}"
    await execute(postgres, f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises(StorageError, match="permission denied"):
            await migrate(empty_database_url.replace("postgres:@", f"{role}:@"))
    finally:
        await execute(postgres, f"DROP ROLE {role}")


async def test_foreign_tables_in_the_way_are_a_storage_error(empty_database_url: str) -> None:
    await execute(empty_database_url, "CREATE TABLE login (somebody_elses text)")
    with pytest.raises(StorageError, match=r"login.*exists"):
        await migrate(empty_database_url)
    with pytest.raises(StorageError, match="no dm_bridge schema"):
        await check_schema(empty_database_url)


@pytest.mark.parametrize("use", [migrate, check_schema, Database.open])
async def test_a_database_that_is_not_there_is_said_so(use: object) -> None:
    assert callable(use)
    with pytest.raises(StorageError, match=r"Check that it runs and that database\.url is right"):
        await use(f"postgresql://postgres@127.0.0.1:{free_port()}/nothing")


@pytest.mark.parametrize("use", [migrate, check_schema, Database.open])
async def test_a_database_name_that_does_not_exist_is_said_so(use: object, postgres: str) -> None:
    assert callable(use)
    with pytest.raises(StorageError, match=r"no such database.*absent"):
        await use(postgres.replace("/postgres?", "/absent?"))


@pytest.mark.parametrize("use", [migrate, check_schema, Database.open])
async def test_an_address_that_is_none_is_said_so(use: object) -> None:
    assert callable(use)
    with pytest.raises(StorageError, match=r"database\.url"):
        await use("postgresql://host:not-a-port/x")


async def lets_in(url: str) -> bool:
    try:
        await (await asyncpg.connect(url)).close()
    except asyncpg.InvalidPasswordError:
        return False
    return True


@pytest_asyncio.fixture
async def guarded_url(postgres: str) -> AsyncIterator[str]:
    """A server address at which the password of ``guarded`` counts."""
    connection = await asyncpg.connect(postgres)
    rules = Path(await connection.fetchval("SHOW hba_file"))
    before = rules.read_text()
    await connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    rules.write_text("local all guarded scram-sha-256\n" + before)
    await connection.execute("SELECT pg_reload_conf()")
    url = postgres.replace("postgres:@", "guarded:wrong@")
    async with asyncio.timeout(60):
        while await lets_in(url):  # noqa: ASYNC110 - the server takes a moment to read it
            await asyncio.sleep(0.01)
    yield url
    rules.write_text(before)
    await connection.execute("SELECT pg_reload_conf()")
    await connection.execute("DROP ROLE guarded")
    await connection.close()


@pytest.mark.parametrize("use", [migrate, check_schema, Database.open])
async def test_a_wrong_password_is_said_so_without_quoting_it(
    use: object, guarded_url: str
) -> None:
    assert callable(use)
    with pytest.raises(StorageError, match="refuses our user or password") as caught:
        await use(guarded_url)
    assert "wrong" not in str(caught.value)


def test_the_migrations_are_found_in_a_source_checkout() -> None:
    assert (migrations_directory() / "versions").is_dir()


def test_migrations_come_in_one_line_and_are_named_after_it() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_directory()))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    assert script.get_current_head() == latest_revision()
    in_order = [item.revision for item in script.walk_revisions()]
    assert tuple(reversed(in_order)) == revisions()


def test_a_start_does_not_load_what_only_a_change_of_the_schema_needs() -> None:
    program = "import sys, dm_bridge.app.app; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
