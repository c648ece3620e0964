"""A keeper over a homeserver that can be told when to fail, and a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from mautrix.api import PathBuilder

from dm_bridge.bridge.documents import Documents
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.direct import DEFAULT_BOUNDS, Bounds, DMState
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.journals import JournalStore

from .fakes import FakeHomeserver

USER = UserId("@juliet:example.org")
GHOST = UserId("@_ghost_romeo:example.org")
NURSE = UserId("@_ghost_nurse:example.org")
BOT = UserId("@bot:example.org")
OUTSIDER = UserId("@tybalt:example.org")
ROOM, SECOND, THIRD = RoomId("!room"), RoomId("!second"), RoomId("!third")

Hook = Callable[[str, UserId], Awaitable[None]]


class Homeserver(FakeHomeserver):
    """``after``: awaited after a read or a write took effect, before its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.after: Hook | None = None

    async def request_raw(
        self,
        method: str,
        path: PathBuilder,
        *,
        user: UserId | None = None,
        data: bytes | None = None,
        **more: object,
    ) -> bytes:
        answer = await super().request_raw(method, path, user=user, data=data, **more)
        if self.after is not None and user is not None:
            await self.after(method, user)
        return answer


class Kept:
    """One process of the bridge: ``keeper`` and what it is made of."""

    def __init__(
        self,
        database: Database,
        homeserver: Homeserver | None = None,
        bounds: Bounds = DEFAULT_BOUNDS,
    ) -> None:
        self.homeserver = homeserver or Homeserver()
        self.allowed = {USER}
        self.database = database
        self.store = DirectStore(database)
        accounts = Accounts(self.homeserver, "example.org", lambda user: user in self.allowed)  # type: ignore[arg-type]
        accounts.available = True
        self.accounts = accounts
        self.journals = JournalStore(database)
        self.keeper = Keeper(
            Documents(self.homeserver, accounts, lambda user: user.startswith("@_ghost_")),  # type: ignore[arg-type]
            database,
            self.store,
            self.journals,
            lambda account: [BOT],
            Metrics(),
            bounds,
        )

    async def manage(self, *rooms: RoomId, ghost: UserId = GHOST) -> None:
        """Manage these rooms as chats of the user, active."""
        for room in rooms:
            await self.store.manage(USER, room, ghost, DMState.ACTIVE)

    async def keep(self, *accounts: UserId) -> None:
        for account in accounts or (USER,):
            self.keeper.touch(account)
        await self.settled(*accounts)

    async def settled(self, *accounts: UserId) -> None:
        """Wait until the keeper has nothing to do any more."""
        async with asyncio.timeout(60):
            for account in accounts or (USER,):
                while account in self.keeper._work:
                    await self.keeper.settled(account, within=10)
                    await asyncio.sleep(0.005)

    def document(self, user: UserId = USER) -> Any:
        return json.loads(self.homeserver.documents[user])

    def write(self, content: object, user: UserId = USER) -> bytes:
        """Another client writes; what."""
        self.homeserver.documents[user] = json.dumps(content).encode()
        return self.homeserver.documents[user]

    def exchange(self) -> list[str]:
        return [verb for verb, _, _ in self.homeserver.verbs("GET", "PUT")]

    @property
    def puts(self) -> int:
        return self.exchange().count("PUT")

    async def opted_out(self) -> set[RoomId]:
        return {dm.room for dm in await self.store.managed(USER) if dm.opted_out}

    async def die(self) -> None:
        """End all work at once, as a kill would: nothing is released, nothing more is recorded."""
        self.keeper._stopped = True
        tasks = [work.task for work in self.keeper._work.values() if work.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def busy() -> HomeserverError:
    """What a proxy says while its homeserver is away: nobody knows whether a write took effect."""
    return HomeserverError(
        "The homeserver answered 502.", status=502, retry_after=0.0, certain=False
    )
