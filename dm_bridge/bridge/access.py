"""Tokens that users gave for their own accounts: verified, sealed, used, forgotten.

The rule that must never break: a token is kept only for the user it belongs to, who gave it; and in
clear it is in memory only.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection

import structlog
from mautrix.api import Path

from dm_bridge.bridge.audit_log import BOT, BRIDGE, AuditLog
from dm_bridge.errors import BridgeError, HomeserverError, UserError
from dm_bridge.ids import UserId
from dm_bridge.matrix.accounts import Access, Accounts, TokenHomeserver, get_direct
from dm_bridge.matrix.discovery import ClientApi, Discovery
from dm_bridge.store.audit_log import Act
from dm_bridge.store.sealing import SealingKey
from dm_bridge.store.tokens import TokenStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

_TOKEN = re.compile(r"[\x21-\x7E]{8,4096}\Z")


class MatrixTokens:
    """The tokens that users gave.

    ``tell``: how to reach a user. ``on_access``: called when an account can be acted for that could not be.
    ``refusal``: see `Homeserver`.
    """

    def __init__(
        self,
        accounts: Accounts,
        discovery: Discovery,
        store: TokenStore,
        key: SealingKey,
        tell: Callable[[UserId, str], Awaitable[None]],
        on_access: Callable[[UserId], None],
        refusal: Callable[[], str | None] = lambda: None,
        audit: AuditLog | None = None,
    ) -> None:
        self._audit = audit or AuditLog()
        self._accounts = accounts
        self._discovery = discovery
        self._store = store
        self._key = key
        self._tell = tell
        self._on_access = on_access
        self._refusal = refusal
        self._sealed: dict[UserId, bytes] = {}  # as stored, for every token that is kept and usable
        self._changing = asyncio.Lock()  # held while what is stored follows what is used
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, users: Collection[UserId] | None = None) -> None:
        """Take up the tokens of users, or of all; one that cannot be used never stops another one."""
        for row in await self._store.all(users):
            try:
                kept = self._key.unseal(_binding(row.user), row.sealed)
                api = self._discovery.recall(row.user, kept["homeserver"])
            except (BridgeError, KeyError) as error:
                log.error("a user's token cannot be used", user=row.user, reason=str(error))
                continue
            self._sealed[row.user] = row.sealed
            self._accounts.use_token(self._homeserver(row.user, api, kept["token"]))

    def drop(self, users: Collection[UserId]) -> None:
        """Use the tokens of these users no more; they stay stored."""
        for user in users:
            self._sealed.pop(user, None)
            self._accounts.drop_token(user)

    async def stop(self) -> None:
        """End what is under way; a token that was just found to be lost is found so again."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def access(self, user: UserId) -> Access:
        """How the bridge acts for ``user`` now."""
        return self._accounts.access(user)

    async def give(self, user: UserId, token: str) -> str:
        """Verify a token that ``user`` gave, keep it and use it; the URL of their homeserver.

        Raises `UserError` when it is not theirs or does not work, `HomeserverError` when that cannot be
        found out now.
        """
        if _TOKEN.match(token) is None:
            raise UserError(phrase("access-no-token"))
        api = await self._discovery.find(user)
        homeserver = self._homeserver(user, api, token)
        await _verify(homeserver)
        sealed = self._key.seal(_binding(user), {"token": token, "homeserver": api.url})
        async with self._changing:
            await self._store.keep(user, api.url, sealed)
            self._sealed[user] = sealed
            self._accounts.use_token(homeserver)
        log.info("a user gave a token for their account", user=user, homeserver=api.url)
        self._on_access(user)
        await self._audit.record(user, Act.TOKEN_GIVEN, user, {"homeserver": api.url}, BOT)
        return api.url

    async def forget(self, user: UserId) -> bool:
        """Forget the token of ``user``; whether there was one. It is not logged out."""
        async with self._changing:
            gone = await self._store.forget(user)
            self._sealed.pop(user, None)
            self._accounts.drop_token(user)
        if gone:
            log.info("a user took their token back", user=user)
            await self._audit.record(user, Act.TOKEN_REMOVED, user, {}, BOT)
        return gone

    def _homeserver(self, user: UserId, api: ClientApi, token: str) -> TokenHomeserver:
        return TokenHomeserver(user, api.url, token, api.session, self._refused, self._refusal)

    # -- tokens that end

    def _refused(self, homeserver: TokenHomeserver) -> None:
        if not self._accounts.uses_token(homeserver):
            return
        self._accounts.drop_token(homeserver.owner)
        task = asyncio.create_task(
            self._lost(homeserver, self._sealed[homeserver.owner]),
            name=f"token of {homeserver.owner}",
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _lost(self, homeserver: TokenHomeserver, sealed: bytes) -> None:
        """Ask once more; then use the token again, or tell its owner and forget it."""
        user = homeserver.owner
        works = await _still_works(homeserver)
        async with self._changing:
            if self._sealed.get(user) != sealed:
                return  # taken back or replaced in the meantime
            if works:
                self._accounts.use_token(homeserver)
                self._on_access(user)
                return
            del self._sealed[user]
        log.warning("a user's token does not work any more", user=user)
        try:
            needed = not self._accounts.can_act_for(user)
            rest = phrase("access-way-back" if needed else "access-not-needed")
            await self._tell(user, f"{phrase('access-lost')} {rest}")
            await self._store.forget(user, sealed)
            details = {"reason": phrase("access-token-removed")}
            await self._audit.record("bridge", Act.TOKEN_REMOVED, user, details, BRIDGE)
        except BridgeError as error:  # it is found to be lost again after the next start
            log.warning("a user could not be told", user=user, reason=str(error))


async def _verify(homeserver: TokenHomeserver) -> None:
    """Make sure that the token is its owner's, and can read their m.direct."""
    try:
        answer = await homeserver.request("GET", Path.v3.account.whoami, deadline=10)
        if answer.get("user_id") != homeserver.owner:
            raise UserError(phrase("access-other-account"))
        await get_direct(homeserver, homeserver.owner)
    except HomeserverError as error:
        if error.status == 401:
            raise UserError(phrase("access-unknown-token")) from error
        if error.status == 403:
            raise UserError(phrase("access-no-settings")) from error
        raise HomeserverError(
            phrase("access-no-answer"),
            status=error.status,
            errcode=error.errcode,
            certain=error.certain,
            retry_after=error.retry_after,
        ) from error


async def _still_works(homeserver: TokenHomeserver) -> bool:
    """False when the homeserver says again that it does not know the token; in doubt, True."""
    try:
        await homeserver.request("GET", Path.v3.account.whoami, deadline=10)
    except HomeserverError as error:
        return not (error.status == 401 and error.errcode == "M_UNKNOWN_TOKEN")
    return True


def _binding(user: UserId) -> str:
    return f"matrix-token:{user}"
