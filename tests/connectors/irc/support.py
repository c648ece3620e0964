"""What the IRC tests share: short-lived sessions on real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from dm_bridge.connectors.irc.config import IrcConfig
from dm_bridge.connectors.irc.network import IrcNetwork
from dm_bridge.connectors.irc.session import IrcSession
from dm_bridge.ids import ChatId, ContactId, LoginId, RemoteId
from dm_bridge.network.api import Login, OutgoingMessage
from dm_bridge.network.events import SessionStatus, Text
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.irc_server import IrcServer
from tests.connectors.xmpp.support import Sink, until

__all__ = ["Sink", "message", "network_for", "running", "until", "user"]

FAST = {"retry_min": 0.05, "retry_max": 0.2, "connect_timeout": 10.0, "send_timeout": 10.0}
SERVER: dict[str, Any] = {"rate": 50.0, "burst": 50}


class Address(Protocol):
    """Where a server is."""

    host: str
    port: int
    tls: Any

    @property
    def ca_file(self) -> Path | None: ...


async def network_for(
    server: Address, *, settings: dict[str, Any] | None = None, **options: Any
) -> IrcNetwork:
    """A network whose one server is called ``net``; ``options`` are of that, ``settings`` of the section."""
    entry = {
        **SERVER,
        "host": server.host,
        "port": server.port,
        "tls": server.tls,
        "ca_file": server.ca_file,
        **options,
    }
    network = IrcNetwork(
        IrcConfig.model_validate({**FAST, "servers": {"net": entry}, **(settings or {})})
    )
    await network.start()
    return network


@asynccontextmanager
async def running(
    network: IrcNetwork,
    nick: str,
    *,
    position: str | None = None,
    connected: bool = True,
    credentials: Mapping[str, str] | None = None,
) -> AsyncIterator[tuple[IrcSession, Sink]]:
    """A session and its sink."""
    sink = Sink()
    login = Login(
        LoginId(f"login-{nick}"),
        ContactId(f"{nick.lower()}@net"),
        {"network": "net", "nick": nick, "method": "none", **(credentials or {})},
        position,
    )
    session = network.open_session(login, sink)
    await session.connect()
    try:
        if connected:
            await sink.status(SessionStatus.CONNECTED)
        yield session, sink
    finally:
        await session.disconnect()


def user(server: IrcServer, nick: str, **options: Any) -> IrcUser:
    """Somebody else on the server."""
    return IrcUser(nick, server.host, server.port, ca_file=server.ca_file, **options)


_count = iter(range(1, 1_000_000))


def message(nick: str, text: str | Text, *, attempted: float | None = None) -> OutgoingMessage:
    content = Text(text) if isinstance(text, str) else text
    return OutgoingMessage(
        ChatId(f"{nick}@net"), RemoteId(f"out-{next(_count)}"), content, attempted
    )
