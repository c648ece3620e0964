"""Fixtures of the tests of what talks to the homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from .scripted import Script, scripted


@pytest_asyncio.fixture
async def script() -> AsyncIterator[Script]:
    """A homeserver that answers from a script."""
    async with scripted() as script:
        yield script
