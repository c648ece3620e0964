"""Builds what keeps m.direct: access to accounts, the keeper, observation, and the view of it all.

The rule that must never break: the token of the second registration reaches `Accounts` and the watched
``/sync``, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack

import aiohttp

from dm_bridge.bridge.access import MatrixTokens
from dm_bridge.bridge.audit_log import AuditLog
from dm_bridge.bridge.direct_view import View
from dm_bridge.bridge.documents import Documents
from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.observation import Observation, ObservationSettings
from dm_bridge.config import Config
from dm_bridge.direct import Bounds
from dm_bridge.ids import UserId
from dm_bridge.matrix.accounts import Access, Accounts
from dm_bridge.matrix.direct_push import DirectPushEndpoint
from dm_bridge.matrix.discovery import Discovery, public_session
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.watch import DirectWatch, watch_session
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.journals import JournalStore
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.sealing import SealingKey
from dm_bridge.store.tokens import TokenStore


class Keeping:
    """Everything about m.direct. ``stack`` stops it again.

    `begin` when the homeserver was met, `observe` when the first users were taken. ``refusal``, ``alone`` and
    ``elsewhere``: see `Homeserver` and `Observation`.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        homeserver: Homeserver,
        session: aiohttp.ClientSession,
        ghosts: Ghosts,
        key: SealingKey,
        metrics: Metrics,
        stack: AsyncExitStack,
        *,
        may_act_for: Callable[[UserId], bool],
        never_keys: Callable[[UserId], Iterable[UserId]],
        tell: Callable[[UserId, str], Awaitable[None]],
        refusal: Callable[[], str | None],
        alone: Callable[[], bool],
        elsewhere: Callable[[UserId], None],
        audit: AuditLog,
    ) -> None:
        token = config.appservice.accounts_token.get_secret_value()
        owns = config.ghosts.owns
        self._stack = stack
        self.as_users = Homeserver(
            config.homeserver.url, token, session, refusal=refusal, budget=homeserver.budget
        )
        self.accounts = Accounts(self.as_users, config.homeserver.domain, may_act_for)
        self.store = DirectStore(database)
        self._journals = journals = JournalStore(database, is_instance=True)
        self.keeper = Keeper(
            Documents(homeserver, self.accounts, owns, ghosts.revived),
            database,
            self.store,
            journals,
            never_keys,
            metrics,
            Bounds(config.direct.journal_versions, config.direct.journal_days * 86400.0),
            wrote=lambda account: self.observation.wrote(account),
        )
        public = public_session()
        stack.push_async_callback(public.close)
        self.tokens = MatrixTokens(
            self.accounts,
            Discovery(
                config.homeserver.domain,
                config.homeserver.url,
                config.direct.homeservers,
                named=session,
                public=public,
            ),
            TokenStore(database),
            key,
            tell,
            self.keeper.urge,
            refusal,
            audit,
        )
        watching = watch_session(config.direct.watch_accounts)
        stack.push_async_callback(watching.close)
        watcher = Homeserver(config.homeserver.url, token, watching, budget=homeserver.budget)
        self.observation = Observation(
            self.keeper,
            lambda account, patience: DirectWatch(watcher, account, self._may_watch, patience),
            self.accounts.access,
            owns,
            self.store.accounts,
            self.keeper.last_seen,
            ObservationSettings(
                config.direct.watch_accounts, sweep_hours=config.direct.sweep_hours
            ),
            alone=alone,
            elsewhere=elsewhere,
        )
        metrics.direct_watched.set_function(lambda: self.observation.watched)
        metrics.direct_pushed_since.set_function(lambda: self.observation.pushed_since or 0.0)
        self.pushes = DirectPushEndpoint(
            config.appservice.hs_token.get_secret_value(), self.observation.receive
        )
        self.view = View(
            self.keeper,
            self.store,
            journals,
            ghosts.contact,
            PeopleStore(database).called,
            self.accounts.access,
            lambda account: self.observation.how(account).sentence,
            time.time,
        )

    def _may_watch(self, account: UserId) -> bool:
        return self.accounts.access(account) is Access.MASQUERADE

    def begin(self) -> None:
        """Be ready to take users."""
        self._stack.push_async_callback(self.keeper.stop)
        self._stack.push_async_callback(self.tokens.stop)

    async def take(self, users: Collection[UserId]) -> None:
        """Keep the accounts of users: what is unwritten, and what others may have written meanwhile."""
        await self.keeper.resume(users)
        self.observation.taken(users)

    async def give(self, users: Collection[UserId]) -> None:
        """Keep the accounts of these users no more."""
        await self.keeper.drop(users)
        self.tokens.drop(users)

    def forget(self, user: UserId) -> None:
        """The user was erased: a journal of theirs begins anew."""
        self._journals.forget(user)

    async def observe(self) -> None:
        """Begin to notice changes."""
        await self.observation.start()
        self._stack.push_async_callback(self.observation.stop)
