"""Builds the bridge's own page, where the admin has said at which address it is.

The rule that must never break: what is done there is done by what answers the provisioning API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from dm_bridge.bridge.audit_log import PAGE, AuditLog
from dm_bridge.bridge.commands.page import PageCommand, signed_in
from dm_bridge.config import Config
from dm_bridge.ids import UserId
from dm_bridge.network.api import Network
from dm_bridge.page import Page, PageSettings, Sessions
from dm_bridge.provisioning.calls import Run
from dm_bridge.store.audit_log import Act
from dm_bridge.store.database import Database
from dm_bridge.store.page import PageStore


class Paged:
    """``command``: of the bot; None where there is no page. ``tell``: says something to a user. `stop` it."""

    def __init__(
        self,
        config: Config,
        database: Database,
        audit: AuditLog,
        tell: Callable[[UserId, str], Awaitable[None]],
    ) -> None:
        self._audit = audit
        self._tell = tell
        self._telling: set[asyncio.Task[None]] = set()
        self._sessions: Sessions | None = None
        self.command: PageCommand | None = None
        if config.page.public_url is not None:
            self._settings = PageSettings(
                config.page.public_url,
                config.page.link_minutes * 60.0,
                config.page.session_hours * 3600.0,
                config.bot_user_id,
                lambda user: config.permission_of(user).may_use,
                lambda user: config.permission_of(user).may_administer,
            )
            self._sessions = Sessions(PageStore(database), self._settings, self._entered)
            self.command = PageCommand(self._sessions)

    def endpoints(
        self, run: Run, networks: Sequence[Network], counted: Callable[[str], None]
    ) -> list[Callable[[web.Application], None]]:
        """What is served: nothing, or the page.

        ``run``: answers a call, wherever its user is. ``counted``: is told how each request ended.
        """
        if self._sessions is None:
            return []
        named = [(network.name, network.title) for network in networks]
        return [Page(self._settings, self._sessions, run, named, counted).add_routes]

    async def stop(self) -> None:
        """Tell nobody any more."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    def _entered(self, user: UserId) -> None:
        task = asyncio.create_task(self._say(user))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _say(self, user: UserId) -> None:
        await self._audit.record(user, Act.SIGN_IN, user, door=PAGE)
        await self._tell(user, signed_in())
