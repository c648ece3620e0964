"""IRC as a network: the servers that the configuration names.

The rule that must never break: nothing here talks to a server but `reach`; logins and sessions do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dm_bridge.connectors.irc.addresses import parse, parts, uri
from dm_bridge.connectors.irc.casemap import CaseMapping
from dm_bridge.connectors.irc.config import IrcConfig
from dm_bridge.connectors.irc.credentials import Credentials
from dm_bridge.connectors.irc.login import IrcLogin
from dm_bridge.connectors.irc.reaching import reach
from dm_bridge.connectors.irc.session import IrcSession
from dm_bridge.connectors.irc.transport import Route, make_route
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, ContactId, NetworkName
from dm_bridge.network.api import EventSink, Login
from dm_bridge.network.reaching import Reached
from dm_bridge.texts import phrase

NAME = NetworkName("irc")
TITLE = "IRC"


class IrcNetwork:
    """See `dm_bridge.network.api.Network`."""

    name = NAME
    title = TITLE

    def __init__(self, config: IrcConfig) -> None:
        self._config = config
        self._routes: dict[str, Route] = {}
        self._mappings = dict.fromkeys(config.servers, CaseMapping.RFC1459)

    async def start(self) -> None:
        """Raises `ConfigError` when an authority file of the configuration cannot be used."""
        for name, server in self._config.servers.items():  # TLS contexts take 20 ms each
            self._routes[name] = await asyncio.to_thread(make_route, name, server)

    async def stop(self) -> None:
        return

    def start_login(self) -> IrcLogin:
        return IrcLogin(self._config, self._routes)

    def open_session(self, login: Login, sink: EventSink) -> IrcSession:
        credentials = Credentials.parse(login.credentials)
        name = credentials.network
        route = self._routes.get(name)
        if route is None:
            raise NetworkError(
                phrase("irc-not-configured", network=name),
                retry_after=3600.0,
            )

        def learned(mapping: CaseMapping) -> None:
            self._mappings[name] = mapping

        learned(credentials.casemapping)
        return IrcSession(login, credentials, route, self._config, sink, learned)

    def parse_contact(self, text: str) -> ContactId:
        return parse(text, self._mappings)

    def contact_of(self, chat: ChatId) -> ContactId:
        return ContactId(chat)

    def contact_uri(self, contact: ContactId) -> str:
        server = self._config.servers.get(parts(contact)[2])
        return uri(contact, server.host if server is not None else parts(contact)[2])

    def servers(self, accounts: Sequence[ContactId]) -> Sequence[str]:
        """See `dm_bridge.network.reaching.Reachable`."""
        return list(self._config.servers)

    async def reach(self, server: str) -> Reached:
        """See `dm_bridge.network.reaching.Reachable`."""
        return await reach(self._routes[server])
