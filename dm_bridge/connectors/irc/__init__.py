"""IRC: private messages on the networks that the configuration names, or by way of a bouncer.

Found through the entry point ``dm_bridge.connectors``; `connector` satisfies `dm_bridge.network.api.Connector`.
"""

from __future__ import annotations

from pydantic import BaseModel

from dm_bridge.connectors.irc.config import IrcConfig
from dm_bridge.connectors.irc.network import NAME, TITLE, IrcNetwork
from dm_bridge.errors import ConfigError
from dm_bridge.network.api import API_VERSION, Connector


class IrcConnector:
    """See `dm_bridge.network.api.Connector`."""

    name = NAME
    title = TITLE
    api_version = API_VERSION
    config_model: type[BaseModel] = IrcConfig

    def build(self, config: BaseModel) -> IrcNetwork:
        if not isinstance(config, IrcConfig):
            raise ConfigError("networks.irc: this is not an IRC configuration.")
        if not config.servers:
            raise ConfigError(
                "networks.irc.servers: name at least one IRC network, or set networks.irc.enabled to false."
            )
        return IrcNetwork(config)


connector: Connector = IrcConnector()
