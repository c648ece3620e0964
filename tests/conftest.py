"""Real servers for the whole suite, each started once, on first use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.synapse import Synapse


@pytest_asyncio.fixture(scope="session")
async def prosody(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prosody]:
    """An XMPP server without TLS; it serves ``localhost`` and ``second.localhost``.

    Shared: make accounts with names of your own, and leave the server running.
    """
    server = await Prosody.start(
        tmp_path_factory.mktemp("prosody"), extra_domains=("second.localhost",)
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
