"""One world for each worker, started on first use."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest_asyncio

from tests.faults.world import World, running


@asynccontextmanager
async def _world(*, pooled: bool = False) -> AsyncIterator[World]:
    """Its files are not below pytest's own directory, which PostgreSQL's user could not enter."""
    base = Path(tempfile.mkdtemp(prefix="dm_bridge_faults_"))
    try:
        async with running(base / "world", pooled=pooled) as world:
            yield world
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest_asyncio.fixture(scope="session")
async def world() -> AsyncIterator[World]:
    """A bridge to do harm to, with proxies all around it."""
    async with _world() as world:
        yield world


@pytest_asyncio.fixture(scope="session")
async def pooled_world() -> AsyncIterator[World]:
    """The same with a PgBouncer in transaction mode before the database."""
    async with _world(pooled=True) as world:
        yield world
