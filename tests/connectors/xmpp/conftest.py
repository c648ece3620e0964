"""Real XMPP servers with encryption, next to the plain one of the whole suite."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dm_bridge.connectors.xmpp.quiet import quiet_slixmpp
from dm_bridge.connectors.xmpp.sasl import use_bounded_scram
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.xmpp_server import Tls


@pytest.fixture(scope="session", autouse=True)
def _process_wide_settings() -> None:
    quiet_slixmpp()
    use_bounded_scram()


@pytest_asyncio.fixture(scope="session")
async def starttls_prosody(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prosody]:
    server = await Prosody.start(tmp_path_factory.mktemp("starttls"), tls="starttls")
    yield server
    await server.stop()


@pytest_asyncio.fixture(scope="session")
async def direct_prosody(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prosody]:
    server = await Prosody.start(tmp_path_factory.mktemp("direct"), tls="direct")
    yield server
    await server.stop()


@pytest.fixture(scope="session")
def prosodies(
    prosody: Prosody, starttls_prosody: Prosody, direct_prosody: Prosody
) -> dict[Tls, Prosody]:
    """One server of each kind."""
    return {"none": prosody, "starttls": starttls_prosody, "direct": direct_prosody}


@pytest_asyncio.fixture
async def own_prosody(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prosody]:
    """A server for one test that stops, restarts or reconfigures it."""
    server = await Prosody.start(tmp_path_factory.mktemp("own"))
    yield server
    await server.stop()
