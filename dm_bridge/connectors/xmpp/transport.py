"""Where the server of a domain is, and how its certificate is checked.

The rule that must never break: a certificate is verified against the domain of the user's address,
never against a host name that DNS or the configuration gave (RFC 6120, section 13.7.2).
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from slixmpp.xmlstream.resolver import default_resolver, resolve

from dm_bridge.connectors.xmpp.addresses import ascii_domain, normal_jid
from dm_bridge.connectors.xmpp.config import ServerConfig
from dm_bridge.errors import ConfigError

STARTTLS_PORT = 5222
DIRECT_PORT = 5223
_DIRECT_SERVICE = "xmpps-client"
_STARTTLS_SERVICE = "xmpp-client"


@dataclass(frozen=True, slots=True)
class Target:
    """One address to try. ``direct``: TLS from the first byte (XEP-0368)."""

    host: str
    port: int
    direct: bool


@dataclass(frozen=True, slots=True)
class Route:
    """How to reach one domain. ``encrypted`` is False only where the configuration says ``none``."""

    domain: str
    server: ServerConfig | None
    starttls_context: ssl.SSLContext
    direct_context: ssl.SSLContext

    @property
    def dns_name(self) -> str:
        """The domain as DNS and certificates spell it."""
        return ascii_domain(self.domain)

    @property
    def encrypted(self) -> bool:
        return self.server is None or self.server.tls != "none"

    async def targets(self) -> list[Target]:
        """The addresses to try, best first; asks DNS when the configuration names none."""
        server = self.server or ServerConfig()
        direct = server.tls == "direct"
        if server.host is not None or server.port is not None:
            port = server.port or (DIRECT_PORT if direct else STARTTLS_PORT)
            return [Target((server.host or self.dns_name).strip("[]"), port, direct)]
        if self.server is None:
            services = [_DIRECT_SERVICE, _STARTTLS_SERVICE]
        else:
            services = [_DIRECT_SERVICE if direct else _STARTTLS_SERVICE]
        port = DIRECT_PORT if direct else STARTTLS_PORT
        loop = asyncio.get_running_loop()
        resolver = default_resolver(loop)
        try:
            found = await resolve(
                self.dns_name, port, loop=loop, services=services, resolver=resolver
            )
        finally:
            if resolver is not None and hasattr(resolver, "close"):
                await resolver.close()
        return [
            Target(address, port, service == _DIRECT_SERVICE or (not service and direct))
            for service, _, address, port in found
        ]


@dataclass(slots=True)
class Routes:
    """The routes of all domains; TLS contexts are made once and shared by all sessions.

    One that trusts the system's authorities takes 20 ms and half a megabyte.
    """

    servers: dict[str, ServerConfig]
    _contexts: dict[tuple[Path | None, bool], ssl.SSLContext] = field(default_factory=dict)

    def load(self) -> None:
        """Make all contexts that will be needed; this takes a while. Raises `ConfigError`."""
        self._contexts_for(None)
        for domain, server in self.servers.items():
            try:
                self._contexts_for(server.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(
                    f"networks.xmpp.servers.{domain}.ca_file: {server.ca_file} cannot be read as a"
                    f" PEM file of certificates ({error.strerror or type(error).__name__})."
                ) from error

    def to(self, domain: str) -> Route:
        """The route to ``domain``, in any spelling."""
        domain = normal_jid(domain).domain
        server = self.servers.get(domain)
        ca_file = None if server is None else server.ca_file
        return Route(domain, server, *self._contexts_for(ca_file))

    def _contexts_for(self, ca_file: Path | None) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        return self._context(ca_file, direct=False), self._context(ca_file, direct=True)

    def _context(self, ca_file: Path | None, *, direct: bool) -> ssl.SSLContext:
        context = self._contexts.get((ca_file, direct))
        if context is None:
            context = ssl.create_default_context(cafile=ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if direct:
                context.set_alpn_protocols(["xmpp-client"])
            self._contexts[ca_file, direct] = context
        return context
