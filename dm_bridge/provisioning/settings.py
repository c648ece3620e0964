"""What the admin has decided about the provisioning API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dm_bridge.ids import GhostNamespace, UserId, server_name


@dataclass(frozen=True, slots=True)
class ProvisioningSettings:
    """``domain``: the homeserver's server name. ``permitted``: whether the admin lets a user use the bridge.

    ``shared_secret``: who has it acts for everybody; None: nobody does. ``matrix_auth``: users may act for
    themselves, with tokens of their homeserver. ``administers``: whether a user is an admin of the bridge.
    """

    domain: str
    bot: UserId
    ghosts: GhostNamespace
    permitted: Callable[[UserId], bool]
    shared_secret: str | None = field(default=None, repr=False)
    matrix_auth: bool = True
    administers: Callable[[UserId], bool] = lambda user: False

    def may_use(self, user: UserId) -> bool:
        """Whether the API serves ``user``: a person whom the admin permits, and nobody of the bridge's own."""
        return self.permitted(user) and user != self.bot and not self.ghosts.owns(user)

    def is_local(self, user: UserId) -> bool:
        """Whether ``user`` is one of our homeserver."""
        return server_name(user) == self.domain
