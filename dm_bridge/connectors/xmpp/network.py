"""XMPP as a network: what the configuration names, built.

The rule that must never break: nothing here talks to a server; only logins and sessions do.
"""

from __future__ import annotations

from dm_bridge.connectors.xmpp.addresses import bare_jid, contact_uri
from dm_bridge.connectors.xmpp.config import XmppConfig
from dm_bridge.connectors.xmpp.login import XmppLogin
from dm_bridge.connectors.xmpp.quiet import quiet_slixmpp
from dm_bridge.connectors.xmpp.sasl import use_bounded_scram
from dm_bridge.connectors.xmpp.session import XmppSession
from dm_bridge.connectors.xmpp.spacing import Spacing
from dm_bridge.connectors.xmpp.transport import Routes
from dm_bridge.ids import ChatId, ContactId, NetworkName
from dm_bridge.network.api import EventSink, Login

NAME = NetworkName("xmpp")
TITLE = "XMPP"


class XmppNetwork:
    """See `dm_bridge.network.api.Network`."""

    name = NAME
    title = TITLE

    def __init__(self, config: XmppConfig) -> None:
        self._config = config
        self._routes = Routes(dict(config.servers))
        self._spacing = Spacing()

    async def start(self) -> None:
        """Raises `ConfigError` when an authority file of the configuration cannot be used."""
        quiet_slixmpp()
        use_bounded_scram()
        self._routes.check()

    async def stop(self) -> None:
        return

    def start_login(self) -> XmppLogin:
        return XmppLogin(self._config, self._routes)

    def open_session(self, login: Login, sink: EventSink) -> XmppSession:
        domain = login.remote.rpartition("@")[2]
        return XmppSession(login, self._routes.to(domain), self._config, sink, self._spacing)

    def parse_contact(self, text: str) -> ContactId:
        return bare_jid(text)

    def contact_of(self, chat: ChatId) -> ContactId:
        return ContactId(chat)

    def contact_uri(self, contact: ContactId) -> str:
        return contact_uri(contact)
