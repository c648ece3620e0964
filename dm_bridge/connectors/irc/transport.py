"""A connection to a server, encrypted: how it is opened, and how its certificate is checked.

The rule that must never break: nothing is sent to a server that did not prove to be the one that the
configuration names, by its name or by its certificate itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
import tempfile
from dataclasses import dataclass

from dm_bridge.connectors.irc import failures
from dm_bridge.connectors.irc.config import ServerConfig
from dm_bridge.connectors.irc.lines import MAX_LINE
from dm_bridge.errors import ConfigError, UserError
from dm_bridge.texts import phrase

ALPN = ["irc"]


@dataclass(frozen=True, slots=True)
class Route:
    """How one IRC network is reached. ``name``: what users call it. ``context``: None without encryption."""

    name: str
    server: ServerConfig
    context: ssl.SSLContext | None

    @property
    def address(self) -> str:
        """Host and port, for people."""
        return f"{self.server.host}:{self.server.port}"

    async def connect(
        self, certificate: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection; ``certificate``: the client's, with its key, in PEM. The caller sets the deadline.

        Raises `NetworkError`.
        """
        context = self.context
        if context is not None and certificate:
            context = await asyncio.to_thread(tls_context, self.server, certificate)
        host = self.server.host.strip("[]")
        try:
            reader, writer = await asyncio.open_connection(
                host,
                self.server.port,
                ssl=context,
                server_hostname=host if context is not None else None,
                limit=MAX_LINE,
            )
        except OSError as error:
            raise failures.unreachable(self.name, self.address, error) from error
        if context is not None and self.server.fingerprints and not self._is_pinned(writer):
            await close(writer)
            raise failures.not_pinned(self.name, self.address)
        return reader, writer

    def _is_pinned(self, writer: asyncio.StreamWriter) -> bool:
        shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
        raw = shown.getpeercert(binary_form=True)
        return raw is not None and hashlib.sha256(raw).hexdigest() in self.server.fingerprints


def make_route(name: str, server: ServerConfig) -> Route:
    """The route to a server. Raises `ConfigError` when its authority file cannot be used."""
    if server.tls == "none":
        return Route(name, server, None)
    try:
        return Route(name, server, tls_context(server))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"networks.irc.servers.{name}.ca_file: {server.ca_file} cannot be read as a PEM file of"
            f" certificates ({getattr(error, 'strerror', None) or type(error).__name__})."
        ) from error


def tls_context(server: ServerConfig, certificate: str = "") -> ssl.SSLContext:
    """TLS as the configuration asks for it. Raises OSError, `UserError` for the client's certificate."""
    context = ssl.create_default_context(cafile=server.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    if server.fingerprints:  # checked once connected, before anything is sent
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        load_certificate(context, certificate)
    return context


def load_certificate(context: ssl.SSLContext, pem: str) -> None:
    """Use a client certificate and its key. Raises `UserError` when they are none.

    OpenSSL reads them from a file only; it is ours alone, and gone at once.
    """
    descriptor, path = tempfile.mkstemp(prefix="dm_bridge_")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(pem)
        context.load_cert_chain(path, password=lambda: "")
    except (OSError, ssl.SSLError, ValueError):
        raise UserError(phrase("irc-login-no-certificate")) from None
    finally:
        os.unlink(path)


async def close(writer: asyncio.StreamWriter, seconds: float = 1.0) -> None:
    """Close, at once if need be."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            await writer.wait_closed()
    writer.transport.abort()
