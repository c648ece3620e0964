"""Looking at the server of a domain without an account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dm_bridge.connectors.xmpp.config import XmppConfig
from dm_bridge.connectors.xmpp.network import XmppNetwork
from dm_bridge.connectors.xmpp.transport import Route
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ContactId
from dm_bridge.network.reaching import Reachable
from dm_bridge.testing.processes import free_port
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.xmpp_server import Tls


def network_with(domain: str, **entry: Any) -> XmppNetwork:
    return XmppNetwork(XmppConfig.model_validate({"servers": {domain: entry}}))


@pytest.mark.parametrize("tls", ["none", "starttls", "direct"])
async def test_a_server_that_is_right_answers_with_its_certificate(
    tls: Tls, prosodies: dict[Tls, Prosody]
) -> None:
    server = prosodies[tls]
    network = network_with(
        "localhost", host=server.host, port=server.port, tls=tls, ca_file=server.ca_file
    )
    assert isinstance(network, Reachable)
    reached = await network.reach("localhost")
    assert reached.address.endswith(f":{server.port}")
    if tls == "none":
        assert reached.expires is None
    else:
        assert reached.expires is not None
        assert 0 < reached.expires - time.time() < 2 * 86400


@pytest.mark.parametrize("tls", ["starttls", "direct"])
async def test_a_certificate_that_is_not_trusted_is_told(
    tls: Tls, prosodies: dict[Tls, Prosody]
) -> None:
    server = prosodies[tls]
    network = network_with("localhost", host=server.host, port=server.port, tls=tls)
    with pytest.raises(
        NetworkError, match=r"not trusted .* networks\.xmpp\.servers\.localhost\.ca_file"
    ):
        await network.reach("localhost")


@pytest.mark.parametrize(
    ("said", "tls", "words"),
    [
        ("<stream:stream><stream:features/>", "starttls", "offers no encryption"),
        ("<stream:stream><stream:error>", "none", "does not serve this domain"),
        ("220 mail ESMTP\r\n", "starttls", "is no XMPP server"),
        ("220 mail ESMTP\r\n", "direct", r"Check networks\.xmpp\.servers\.x\.test\.tls"),
    ],
)
async def test_what_is_no_server_of_the_domain_is_told(said: str, tls: Tls, words: str) -> None:
    async with saying(said) as port:
        network = network_with("x.test", host="127.0.0.1", port=port, tls=tls)
        with pytest.raises(NetworkError, match=words):
            await network.reach("x.test")


async def test_a_server_that_is_down_and_a_domain_without_addresses_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    network = network_with("x.test", host="127.0.0.1", port=port)
    with pytest.raises(
        NetworkError, match=rf"cannot be reached at 127\.0\.0\.1:{port} .*its records in DNS"
    ):
        await network.reach("x.test")

    async def none(_route: Route) -> list[Any]:
        return []

    monkeypatch.setattr(Route, "targets", none)
    with pytest.raises(NetworkError, match=r"DNS knows no address for x\.test"):
        await network.reach("x.test")


def test_the_servers_are_those_named_and_those_of_accounts_each_once() -> None:
    accounts = [ContactId(each) for each in ("a@x.test", "b@y.test", "c@y.test")]
    assert network_with("x.test").servers(accounts) == ["x.test", "y.test"]


@asynccontextmanager
async def saying(text: str) -> AsyncIterator[int]:
    """The port of a server that says ``text`` to what it hears."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(text.encode())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
