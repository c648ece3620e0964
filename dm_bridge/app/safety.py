"""Builds what users and admins need to be safe: limits, their data, commands for admins, and what prunes.

The rule that must never break: what an admin does to a user is done by the process that has the user.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from dm_bridge.app.keeping import Keeping
from dm_bridge.bridge.audit_log import BOT, AuditLog
from dm_bridge.bridge.commands.admin import AdminCommands
from dm_bridge.bridge.commands.data import DataCommands
from dm_bridge.bridge.data_export import DataExport
from dm_bridge.bridge.deeds import Ask
from dm_bridge.bridge.guard import GuardSettings
from dm_bridge.bridge.leaving import Leaving
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.portal import Portals
from dm_bridge.bridge.silence import Silence
from dm_bridge.bridge.spaces import Spaces
from dm_bridge.config import Config
from dm_bridge.ids import UserId
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.media import MediaRepository
from dm_bridge.store.audit_log import AuditStore, about
from dm_bridge.store.database import Database
from dm_bridge.store.erasing import ErasureStore
from dm_bridge.store.exporting import ExportStore
from dm_bridge.store.instances import Errand
from dm_bridge.store.logins import LoginLimits
from dm_bridge.store.queue import QueueStore
from dm_bridge.store.rooms import RoomStore
from dm_bridge.store.safeguards import SafeguardStore
from dm_bridge.store.sealing import SealingKey
from dm_bridge.store.users import UserStore

ERASE = "erase"
"""The kind of errand that says that a user's data are to be erased."""


class Safety:
    """``leaving``, ``data`` and ``admin``. ``ask``, ``leave``, ``forget``: by way of whoever has a user."""

    def __init__(
        self,
        config: Config,
        database: Database,
        key: SealingKey,
        audit: AuditLog,
        homeserver: Homeserver,
        keeping: Keeping,
        logins: Logins,
        portals: Portals,
        silence: Silence,
        spaces: Spaces,
        *,
        ask: Ask,
        leave: Callable[[Collection[Errand]], Awaitable[None]],
        forget: Callable[[UserId, Callable[[], Awaitable[object]]], Awaitable[None]],
    ) -> None:
        self._erasures = erasures = ErasureStore(database)
        self._leave = leave
        bot = config.bot_user_id
        self.leaving = Leaving(
            erasures,
            logins,
            portals,
            keeping.keeper,
            silence,
            keeping.tokens,
            homeserver,
            RoomStore(database),
            bot,
            key,
            forget,
            spaces,
        )
        media = MediaRepository(homeserver)
        export = DataExport(ExportStore(database), homeserver, media, bot, audit)
        self.data = DataCommands(export, self._erase_oneself, logins, portals.store)
        self.admin = AdminCommands(
            lambda user: config.permission_of(user).may_administer,
            ask,
            self._erase,
            lambda user: about(user, key.digest("user", user)),
            UserStore(database),
            SafeguardStore(database),
            erasures,
            QueueStore(database),
            AuditStore(database),
            audit,
        )

    async def _erase_oneself(self, user: UserId) -> None:
        await self._erase(user, user)

    async def _erase(self, user: UserId, by: str) -> None:
        """Record it; then it is done, by whoever has the user, even when this process ends here."""
        await self._erasures.ask(user, by, BOT)
        await self._leave([Errand(user, ERASE, "")])


def guard_settings(config: Config) -> GuardSettings:
    """Who may log in, and how often."""

    def limits(user: UserId) -> LoginLimits:
        return LoginLimits(config.max_logins_of(user), config.limits.max_logins)

    return GuardSettings(
        lambda user: config.permission_of(user).may_use,
        limits,
        config.login_attempts,
        config.limits.login_failures,
    )


def pruner(config: Config, database: Database) -> Callable[[], Awaitable[None]]:
    """Removes what is remembered for some time only."""
    audit, safeguards = AuditStore(database), SafeguardStore(database)

    async def prune() -> None:
        await audit.prune(config.audit.keep_days)
        await safeguards.prune()

    return prune
