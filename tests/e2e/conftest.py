"""The whole bridge on real servers, started once for each room version."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack


@pytest_asyncio.fixture(scope="session", params=["12", "11"], ids=["v12", "v11"])
async def stack(
    request: pytest.FixtureRequest,
    prosody: Prosody,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Stack]:
    """A running bridge. Shared: make users with names of your own."""
    directory = tmp_path_factory.mktemp(f"stack-v{request.param}")
    stack = await Stack.start(
        directory,
        prosody=prosody,
        domain=f"v{request.param}.localhost",
        room_version=request.param,
        config={"logging": {"level": "debug"}},
    )
    yield stack
    await stack.stop()
