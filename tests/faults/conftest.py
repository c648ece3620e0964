"""One world for each worker, started on first use."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.faults.world import World, running


@pytest_asyncio.fixture(scope="session")
async def world() -> AsyncIterator[World]:
    """A bridge to do harm to, with proxies all around it.

    Its files are not below pytest's own directory, which PostgreSQL's user could not enter.
    """
    base = Path(tempfile.mkdtemp(prefix="dm_bridge_faults_"))
    async with running(base / "world") as world:
        yield world
    shutil.rmtree(base, ignore_errors=True)
