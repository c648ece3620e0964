"""What the starters of XMPP servers share: a process, addresses, when it takes clients; and what each can do.

The rule that must never break: they listen on 127.0.0.1 only and talk to no other server.
"""

from __future__ import annotations

import abc
import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dm_bridge.testing.processes import LOOPBACK, ManagedProcess, free_port
from dm_bridge.testing.server import Server

Tls = Literal["none", "starttls", "direct"]


class XmppServer(Server):
    """A running server. ``port``: for clients; ``files_port``: for the files that it keeps, if it does."""

    def __init__(
        self,
        name: str,
        domain: str,
        tls: Tls,
        command: list[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.domain = domain
        self.host = LOOPBACK
        self.port = free_port()
        self.files_port = free_port()
        self.tls = tls
        self.ca_file: Path | None = None
        self._process = ManagedProcess(name, command, log=log, environment=environment)

    @abc.abstractmethod
    async def version(self) -> str:
        """The server's version, such as ``0.12.3``."""

    @abc.abstractmethod
    async def add_user(self, localpart: str, password: str, *, domain: str | None = None) -> str:
        """Make an account; returns its bare JID."""

    @abc.abstractmethod
    async def remove_user(self, localpart: str, *, domain: str | None = None) -> None:
        """Delete an account; its connections are closed."""

    @abc.abstractmethod
    async def change_password(
        self, localpart: str, password: str, *, domain: str | None = None
    ) -> None:
        """Set another password; the account's connections are closed."""

    @abc.abstractmethod
    async def disconnect_user(self, localpart: str, *, domain: str | None = None) -> None:
        """Close all connections of an account, as a server does that is about to restart."""

    async def start_process(self) -> None:
        await self._process.start(self._accepts_clients, timeout=60)

    async def _accepts_clients(self) -> bool:
        context: ssl.SSLContext | None = None
        if self.tls == "direct":
            context = ssl.create_default_context(cafile=self.ca_file)
        reader, writer = await asyncio.open_connection(
            self.host, self.port, ssl=context, server_hostname=self.domain if context else None
        )
        try:
            writer.write(
                f"<?xml version='1.0'?><stream:stream to='{self.domain}' version='1.0'"
                " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>".encode()
            )
            await reader.readuntil(b"</stream:features>")
            writer.write(b"</stream:stream>")
        except asyncio.IncompleteReadError:
            return False
        finally:
            writer.close()
        return True
