"""XMPP as a network: what the configuration names, built.

The rule that must never break: nothing here talks to a server but `reach`; logins and sessions do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dm_bridge.connectors.xmpp.addresses import bare_jid, contact_uri, readable
from dm_bridge.connectors.xmpp.config import XmppConfig
from dm_bridge.connectors.xmpp.login import XmppLogin
from dm_bridge.connectors.xmpp.quiet import quiet_slixmpp
from dm_bridge.connectors.xmpp.reaching import reach
from dm_bridge.connectors.xmpp.sasl import use_bounded_scram
from dm_bridge.connectors.xmpp.session import XmppSession
from dm_bridge.connectors.xmpp.transport import Routes
from dm_bridge.connectors.xmpp.upload import Uploads, UploadService
from dm_bridge.ids import ChatId, ContactId, NetworkName
from dm_bridge.network.api import EventSink, Login
from dm_bridge.network.reaching import Reached

NAME = NetworkName("xmpp")
TITLE = "XMPP"


class XmppNetwork:
    """See `dm_bridge.network.api.Network`."""

    name = NAME
    title = TITLE

    def __init__(self, config: XmppConfig) -> None:
        self._config = config
        self._routes = Routes(dict(config.servers))
        self._uploads = Uploads()

    async def start(self) -> None:
        """Raises `ConfigError` when an authority file of the configuration cannot be used."""
        quiet_slixmpp()
        use_bounded_scram()
        await asyncio.to_thread(self._routes.load)

    async def stop(self) -> None:
        await self._uploads.close()

    def start_login(self) -> XmppLogin:
        return XmppLogin(self._config, self._routes)

    def open_session(self, login: Login, sink: EventSink) -> XmppSession:
        route = self._routes.to(login.remote.rpartition("@")[2])
        uploads = UploadService(route, self._uploads.to(route), self._config.connect_timeout)
        return XmppSession(login, route, self._config, sink, uploads)

    def parse_contact(self, text: str) -> ContactId:
        return bare_jid(text)

    def contact_of(self, chat: ChatId) -> ContactId:
        return ContactId(chat)

    def contact_uri(self, contact: ContactId) -> str:
        return contact_uri(contact)

    def readable(self, contact: ContactId) -> str:
        """See `dm_bridge.network.people.Readable`."""
        return readable(contact)

    def servers(self, accounts: Sequence[ContactId]) -> Sequence[str]:
        """See `dm_bridge.network.reaching.Reachable`."""
        domains = [account.rpartition("@")[2] for account in accounts]
        return list(dict.fromkeys([*self._config.servers, *domains]))

    async def reach(self, server: str) -> Reached:
        """See `dm_bridge.network.reaching.Reachable`."""
        return await reach(self._routes.to(server))
