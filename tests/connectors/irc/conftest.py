"""Real IRC servers, each started once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dm_bridge.testing.inspircd import InspIrcd
from dm_bridge.testing.irc_server import IrcServer
from dm_bridge.testing.ngircd import NgIrcd


@pytest_asyncio.fixture(scope="session")
async def ngircd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NgIrcd]:
    """A server without extensions. Shared: use nicks of your own."""
    server = await NgIrcd.start(tmp_path_factory.mktemp("ngircd"))
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="session")
async def inspircd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InspIrcd]:
    """A server with IRCv3. Shared: use nicks of your own."""
    server = await InspIrcd.start(tmp_path_factory.mktemp("inspircd"))
    yield server
    await server.stop()


@pytest.fixture(params=["ngircd", "inspircd"])
def server(request: pytest.FixtureRequest, ngircd: NgIrcd, inspircd: InspIrcd) -> IrcServer:
    """Each of them."""
    return ngircd if request.param == "ngircd" else inspircd
