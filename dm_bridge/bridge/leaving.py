"""A user leaves for good: logs them out, ends their chats, and erases all that is stored about them.

What is to be erased is recorded first, and whoever has the user carries it out, from the beginning as often as it
is cut short: every step can be done twice. The user's rooms stay with their homeserver; the bridge leaves them.

The rule that must never break: the rows go last, in one transaction; before that, whatever happens, it is taken up
again, and after it the user is a stranger.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection

import structlog

from dm_bridge.bridge.access import MatrixTokens
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.portal import Portals
from dm_bridge.bridge.silence import Silence
from dm_bridge.errors import BridgeError, HomeserverError, NotYet, may_pass
from dm_bridge.ids import UserId, digest_id
from dm_bridge.matrix.accounts import Access
from dm_bridge.matrix.formatting import notice
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.store.audit_log import erased_subject
from dm_bridge.store.erasing import Erasure, ErasureStore
from dm_bridge.store.rooms import RoomStore
from dm_bridge.store.sealing import SealingKey
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 60.0
WRITTEN_WITHIN = 30.0
"""Seconds for which is waited for m.direct to be written without the chats, each time."""
PATIENCE = 10
"""Attempts for which a homeserver that does not let m.direct be written keeps the rest waiting."""


class _NotOurs(Exception):
    """The user has been let go, and not all is done: another process may have them already."""


class Leaving:
    """``let_go(user, work)``: ends all that is under way for a user, does ``work``, and has them no more.

    ``key``: makes what stands for the user in the audit log afterwards.
    """

    def __init__(
        self,
        store: ErasureStore,
        logins: Logins,
        portals: Portals,
        keeper: Keeper,
        silence: Silence,
        tokens: MatrixTokens,
        homeserver: Homeserver,
        rooms: RoomStore,
        bot: UserId,
        key: SealingKey,
        let_go: Callable[[UserId, Callable[[], Awaitable[object]]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._logins = logins
        self._portals = portals
        self._keeper = keeper
        self._silence = silence
        self._tokens = tokens
        self._homeserver = homeserver
        self._rooms = rooms
        self._bot = bot
        self._key = key
        self._let_go = let_go
        self._under_way: dict[UserId, asyncio.Task[None]] = {}

    async def taken(self, users: Collection[UserId] | None = None) -> None:
        """These users are ours: take up what is to be erased of them. Raises `StorageError`."""
        for erasure in await self._store.pending(users):
            self.begin(erasure)

    def begin(self, erasure: Erasure) -> None:
        """Erase a user of ours, in the background, unless that is under way."""
        if erasure.user not in self._under_way:
            task = asyncio.create_task(self._run(erasure), name=f"erase {erasure.user}")
            self._under_way[erasure.user] = task
            task.add_done_callback(lambda _: self._under_way.pop(erasure.user, None))

    async def stop(self) -> None:
        """Give up what is under way; whoever has the user next takes it up again."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, erasure: Erasure) -> None:
        user, attempts = erasure.user, 0
        self._logins.guard.leaving(user, leaves=True)
        self._logins.begin(user)  # until all is written, the bridge may act for their account
        try:
            while True:
                try:
                    await self._erase(erasure, last=attempts >= PATIENCE)
                    return
                except _NotOurs:
                    log.warning("whoever takes the user now goes on with an erasure", user=user)
                    return
                except BridgeError as error:
                    attempts += 1
                    log.warning("an erasure pauses", user=user, reason=str(error))
                    pause = max(error.retry_after or 0.0, 2.0 ** min(attempts, 6))
                except Exception:
                    attempts += 1
                    log.exception("an erasure pauses for a reason of our own", user=user)
                    pause = LONGEST_PAUSE
                await asyncio.sleep(min(LONGEST_PAUSE, pause) * random.uniform(0.5, 1))  # noqa: S311
        finally:
            self._logins.end(user)
            self._logins.guard.leaving(user, leaves=False)

    async def _erase(self, erasure: Erasure, *, last: bool) -> None:
        user = erasure.user
        if not await self._store.pending([user]):
            return
        await self._store.collect(user)
        for row in self._logins.of(user):
            await self._logins.logout(row.id, erasure.by, erasure.door)
        await self._end_chats(user)
        await self._silence.end(user)
        await self._write_direct(user, last=last)
        await self._tokens.forget(user)
        await self._say_goodbye(user)
        subject = erased_subject(self._key.digest("user", user))
        try:
            await self._let_go(user, lambda: self._store.erase(erasure, subject))
        except BridgeError as error:
            log.warning("an erasure was broken off", user=user, reason=str(error))
            raise _NotOurs from error
        log.info("the data of a user were erased")

    async def _end_chats(self, user: UserId) -> None:
        """Leave the rooms of all chats."""
        for row in await self._portals.store.of_owner(user):
            login = await self._logins.row(row.key.login)
            if login is not None:
                await self._portals.delete(row, login)

    async def _write_direct(self, user: UserId, *, last: bool) -> None:
        """See to it that the chats are taken out of m.direct, where that can be written. Raises `NotYet`."""
        accounts = await self._unwritten(user)
        for account in accounts:
            self._keeper.urge(account)
        await self._keeper.settled(*accounts, within=WRITTEN_WITHIN)
        if await self._unwritten(user) and not last:
            raise NotYet(phrase("data-direct-chats-first"), 2.0)

    async def _unwritten(self, user: UserId) -> list[UserId]:
        reached = self._tokens.access(user) is not Access.NONE
        accounts = await self._store.unwritten(user)
        return [account for account in accounts if reached or account != user]

    async def _say_goodbye(self, user: UserId) -> None:
        """Tell the user in their rooms with the bot, and leave these."""
        for room in await self._rooms.management_rooms(user):
            for step in (
                lambda room=room: self._homeserver.send(
                    room,
                    "m.room.message",
                    notice(phrase("data-deleted")),
                    digest_id("erased", room),
                    user=self._bot,
                ),
                lambda room=room: self._homeserver.leave(room, user=self._bot),
            ):
                try:
                    await step()
                except HomeserverError as error:
                    if may_pass(error):
                        raise
                    log.debug("the bot has left already", room=room, reason=str(error))
