"""What a database is, on real ones."""

from __future__ import annotations

import asyncpg

from dm_bridge.store.database import Database
from dm_bridge.store.looking import DatabaseFacts, look


async def looked(url: str) -> DatabaseFacts:
    database = await Database.open(url, size=1)
    try:
        return await look(database)
    finally:
        await database.close()


async def test_a_database_of_ours_is_ours(database_url: str) -> None:
    facts = await looked(database_url)
    assert facts.number >= 140000
    assert facts.version.startswith(str(facts.number // 10000))
    assert (facts.pooled, facts.may_create, facts.foreign, facts.readable) == (False, True, 0, True)
    assert (facts.read_only, facts.encoding, facts.bridged) == (False, "UTF8", False)
    assert 0 < facts.free <= 100
    assert facts.asked - 1 <= facts.clock <= facts.answered + 1


async def test_a_bridge_that_uses_it_and_a_server_that_may_not_be_written_are_seen(
    database: Database, database_url: str
) -> None:
    async with database.connection():
        facts = await looked(database_url + "&options=-c%20default_transaction_read_only%3Don")
    assert (facts.bridged, facts.read_only) == (True, True)


async def test_a_pooler_is_seen(pooled_url: str) -> None:
    assert (await looked(pooled_url)).pooled


async def test_tables_and_rights_of_others_are_seen(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE ROLE looker LOGIN")
    try:
        url = database_url.replace("postgres:@", "looker:@")
        facts = await looked(url)
        assert (facts.may_create, facts.foreign, facts.readable) == (False, 5, False)
        await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker")
        facts = await looked(url)
        assert (facts.foreign, facts.readable) == (5, True)
    finally:
        await connection.execute("DROP OWNED BY looker")
        await connection.execute("DROP ROLE looker")
        await connection.close()
