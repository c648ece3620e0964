"""One API for most tests of a module; who changes how it is set up makes one of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from .world import Api, provisioned


@pytest_asyncio.fixture
async def api() -> AsyncIterator[Api]:
    async with provisioned() as api:
        yield api
