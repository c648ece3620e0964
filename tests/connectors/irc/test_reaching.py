"""Looking at an IRC server without an account."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from dm_bridge.errors import NetworkError
from dm_bridge.network.reaching import Reachable
from dm_bridge.testing.certificates import write_certificate
from dm_bridge.testing.ngircd import NgIrcd
from dm_bridge.testing.processes import free_port

from .support import network_for
from .test_login import network_at, scripted


async def test_a_server_that_is_there_is_reached(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd)
    assert isinstance(network, Reachable)
    assert network.servers([]) == ["net"]
    reached = await network.reach("net")
    assert (reached.address, reached.expires) == (f"{ngircd.host}:{ngircd.port}", None)


async def test_a_certificate_is_looked_at_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    files = write_certificate(tmp_path, ["localhost"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    async with scripted(lambda line: [], context) as port:
        network = await network_at(port, tls="direct", ca_file=files.authority)
        expires = (await network.reach("net")).expires
        assert expires is not None
        assert 0 < expires - time.time() < 2 * 86400
        network = await network_at(port, tls="direct", ca_file=None)
        with pytest.raises(NetworkError, match=r"not trusted.* Check networks\.irc\.servers\.net"):
            await network.reach("net")


async def test_a_server_that_is_down_is_told() -> None:
    network = await network_at(free_port())
    with pytest.raises(NetworkError, match=r"No server answers .* nothing blocks the way"):
        await network.reach("net")
