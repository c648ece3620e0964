"""XMPP: private chats of XMPP accounts, and of every network that has an XMPP gateway.

Found through the entry point ``dm_bridge.connectors``; `connector` satisfies
`dm_bridge.network.api.Connector`.
"""

from __future__ import annotations

from pydantic import BaseModel

from dm_bridge.connectors.xmpp.config import XmppConfig
from dm_bridge.connectors.xmpp.network import NAME, TITLE, XmppNetwork
from dm_bridge.errors import ConfigError
from dm_bridge.network.api import API_VERSION, Connector


class XmppConnector:
    """See `dm_bridge.network.api.Connector`."""

    name = NAME
    title = TITLE
    api_version = API_VERSION
    config_model: type[BaseModel] = XmppConfig

    def build(self, config: BaseModel) -> XmppNetwork:
        if not isinstance(config, XmppConfig):
            raise ConfigError("networks.xmpp: this is not an XMPP configuration.")
        return XmppNetwork(config)


connector: Connector = XmppConnector()
