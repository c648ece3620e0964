"""What the configuration says about safety, in the terms of those who see to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dm_bridge.bridge.guard import GuardSettings
from dm_bridge.config import Config
from dm_bridge.ids import UserId
from dm_bridge.store.audit_log import AuditStore
from dm_bridge.store.database import Database
from dm_bridge.store.logins import LoginLimits
from dm_bridge.store.safeguards import SafeguardStore


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
