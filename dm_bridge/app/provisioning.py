"""Builds the provisioning API.

The rule that must never break: what it does is done by the same parts that the bot's commands use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import aiohttp

from dm_bridge.bridge.commands.direct import DirectView
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.portal import Portals
from dm_bridge.bridge.second_tries import SecondTries
from dm_bridge.bridge.shares import Shares
from dm_bridge.bridge.steward import Steward
from dm_bridge.config import Config
from dm_bridge.ids import UserId
from dm_bridge.matrix.budget import Budget
from dm_bridge.matrix.identity import Identities
from dm_bridge.ops.metrics import Metrics
from dm_bridge.provisioning import Provisioning, ProvisioningSettings
from dm_bridge.provisioning.admin import Vitals
from dm_bridge.provisioning.api import runner
from dm_bridge.provisioning.authentication import Authentication
from dm_bridge.provisioning.logins import LoginProcesses
from dm_bridge.provisioning.relay import Relay
from dm_bridge.provisioning.services import services_of
from dm_bridge.store.database import Database
from dm_bridge.store.overview import OverviewStore
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.queue import QueueStore
from dm_bridge.store.rooms import RoomStore
from dm_bridge.store.sealing import SealingKey
from dm_bridge.store.spaces import SpaceStore
from dm_bridge.store.stamps import StampStore


class Provisioned:
    """The API of one process. ``adopt``: takes users with whom the bridge never had to do.

    ``endpoint``: None where the admin has switched it off. ``relay`` does what other processes ask for. `stop` it.
    ``counted``: is told how each request ended. ``steward``: does what admins have done to users.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        session: aiohttp.ClientSession,
        budget: Budget,
        key: SealingKey,
        logins: Logins,
        portals: Portals,
        view: DirectView,
        tries: SecondTries,
        shares: Shares,
        adopt: Callable[[Collection[UserId]], Awaitable[None]],
        metrics: Metrics,
        vitals: Vitals,
        steward: Steward,
    ) -> None:
        secret = config.provisioning.shared_secret
        settings = ProvisioningSettings(
            config.homeserver.domain,
            config.bot_user_id,
            config.ghosts,
            lambda user: config.permission_of(user).may_use,
            None if secret is None else secret.get_secret_value(),
            config.provisioning.matrix_auth,
            lambda user: config.permission_of(user).may_administer,
        )
        self._processes = LoginProcesses(logins)
        self._services = services = services_of(
            settings,
            logins,
            portals,
            self._processes,
            RoomStore(database),
            PeopleStore(database),
            view,
            tries,
            StampStore(database).of,
            OverviewStore(database),
            QueueStore(database),
            vitals,
            SpaceStore(database).rooms_of,
        )
        self.relay = Relay(
            database.instance,
            key,
            shares.holds,
            adopt,
            shares.leave_errands,
            runner(services, steward),
            shares.refusal,
        )
        self.counted: Callable[[str], None] = lambda outcome: metrics.provisioning.labels(
            outcome
        ).inc()
        self.endpoint: Provisioning | None = None
        if config.provisioning.enabled:
            identities = Identities(config.homeserver.url, settings.domain, session, budget)
            self.endpoint = Provisioning(
                Authentication(settings, identities, audit=logins.guard.audit).user_of,
                self.relay.answer,
                self.counted,
            )

    async def stop(self) -> None:
        """Give up what is under way."""
        self._services.watching.stop()
        await self._processes.stop()
        await self.relay.stop()
