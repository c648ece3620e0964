"""The provisioning API: logging in, starting chats and looking after m.direct, over HTTP, for clients.

Compatible with version 3 of the provisioning API of mautrix's bridgev2, and more; see docs/provisioning.md.
"""

from dm_bridge.provisioning.api import Provisioning
from dm_bridge.provisioning.settings import ProvisioningSettings

__all__ = ["Provisioning", "ProvisioningSettings"]
