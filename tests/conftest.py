"""Real servers for the whole suite, each started once, on first use."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import settings

from dm_bridge.store.database import Database
from dm_bridge.store.embedded import EmbeddedPostgres
from dm_bridge.store.migrate import migrate
from dm_bridge.testing.pgbouncer import PgBouncer
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.synapse import Synapse
from dm_bridge.texts import be_strict

_BUSY = ("docs", "e2e", "faults", "cli", "simulator", "testing")
"""Directories whose tests keep the processors busy; the others wait as well, for servers or in vain."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files of busy directories evenly among all others: workers take one after the other."""
    files = list(dict.fromkeys(item.path for item in items))
    kinds = [[f for f in files if (f.parent.name in _BUSY) is busy] for busy in (True, False)]
    place = {file: n / len(kind) for kind in kinds for n, file in enumerate(kind)}
    items.sort(key=lambda item: place[item.path])


# The suite plays the same examples everywhere; to look for others: --hypothesis-profile=explore
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile("suite")

be_strict()  # a message that is missing or wrong fails the test that meets it


@pytest_asyncio.fixture(scope="session")
async def prosody(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prosody]:
    """An XMPP server without TLS; it serves ``localhost`` and ``second.localhost``.

    Shared: make accounts with names of your own, and leave the server running.
    """
    server = await Prosody.start(
        tmp_path_factory.mktemp("prosody"),
        extra_domains=("second.localhost",),
        largest_file=100_000_000,
    )
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="session")
async def synapse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Synapse]:
    """A homeserver that knows no application service, ``demo.localhost``.

    Shared: make accounts with names of your own, and leave the server running.
    """
    server = await Synapse.start(tmp_path_factory.mktemp("synapse"))
    yield server
    await server.stop()


_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="session")
async def postgres() -> AsyncIterator[str]:
    """The URL of an embedded PostgreSQL whose database ``template_of_tests`` has our schema.

    Its data is not below pytest's own directory: started by root, PostgreSQL runs as another user, and
    every pytest that starts takes that directory away from other users again.
    """
    directory = Path(tempfile.mkdtemp(prefix="dm_bridge_tests_"))
    server = await EmbeddedPostgres.start(directory)
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        await _run(server.url, f"ALTER SYSTEM SET {setting} = off")  # nobody crashes it
    await _run(server.url, "SELECT pg_reload_conf()")
    await _run(server.url, "CREATE DATABASE template_of_tests")
    await migrate(_named(server.url, "template_of_tests"))
    yield server.url
    await server.stop()
    shutil.rmtree(directory)


@pytest_asyncio.fixture
async def empty_database_url(postgres: str) -> AsyncIterator[str]:
    """A database of the test's own, without a schema."""
    name = f"empty_{next(_numbers)}"
    await _run(postgres, f"CREATE DATABASE {name}")
    yield _named(postgres, name)
    await _run(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture
async def database_url(postgres: str) -> AsyncIterator[str]:
    """A database of the test's own, with our schema."""
    async with a_copy(postgres, "template_of_tests", f"test_{next(_numbers)}") as url:
        yield url


@pytest_asyncio.fixture
async def pooled_url(database_url: str) -> AsyncIterator[str]:
    """`database_url` by way of a PgBouncer in transaction mode."""
    directory = Path(tempfile.mkdtemp(prefix="dm_bridge_pgbouncer_"))
    pooler = await PgBouncer.start(directory, database_url)
    yield pooler.url
    await pooler.stop()
    shutil.rmtree(directory)


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """`database_url`, opened."""
    database = await Database.open(database_url)
    yield database
    await database.close()


@asynccontextmanager
async def a_copy(postgres: str, template: str, name: str) -> AsyncIterator[str]:
    """The URL of a database that is a copy of another one, to which nobody is connected; dropped at the end."""
    await _run(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _named(postgres, name)
    await _run(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def _named(url: str, name: str) -> str:
    return url.replace("/postgres?", f"/{name}?")


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
