"""Logins and the bot's rooms, in memory.

The rule that must never break: they answer as `LoginStore` and `RoomStore` do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from dm_bridge.ids import ContactId, LoginId, NetworkName, RoomId, UserId, digest_id
from dm_bridge.store.logins import (
    NO_LIMITS,
    Full,
    LoginCounts,
    LoginLimits,
    LoginRow,
    LoginState,
    LoginStore,
)
from dm_bridge.store.rooms import RoomStore
from dm_bridge.testing.memory.database import MemoryDatabase


class MemoryLoginStore(LoginStore):
    """A `LoginStore`. A login's id follows from whose it is."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._memory = database

    async def reserve(
        self, owner: UserId, network: NetworkName, remote: ContactId, name: str
    ) -> LoginId:
        def work() -> LoginId:
            tables = self._memory.tables
            login = LoginId(digest_id(owner, network, remote)[:12])
            known = tables.logins.get(login)
            tables.logins[login] = (
                replace(known, name=name)
                if known is not None
                else LoginRow(login, owner, network, remote, name, LoginState.LOGGED_OUT, "", None)
            )
            tables.positions.setdefault(login, None)
            return login

        return await self._memory.run(work)

    async def activate(
        self,
        login: LoginId,
        sealed: bytes,
        position: str | None = None,
        *,
        imports: bool = False,
        limits: LoginLimits = NO_LIMITS,
    ) -> Full | None:
        def work() -> Full | None:
            tables = self._memory.tables
            row = tables.logins.get(login)
            if row is None:
                return None if limits == NO_LIMITS else Full.USER
            full = self._counts(row.owner).full(limits)
            if full is not None and row.state is LoginState.LOGGED_OUT:
                if login not in tables.activated:
                    del tables.logins[login], tables.positions[login]
                return full
            tables.activated.add(login)
            tables.logins[login] = replace(row, sealed=sealed, state=LoginState.ACTIVE, reason="")
            if tables.positions[login] is None:
                tables.positions[login] = position
            return None

        return await self._memory.run(work)

    def _counts(self, owner: UserId) -> LoginCounts:
        rows = self._memory.tables.logins.values()
        owners = [row.owner for row in rows if row.state is not LoginState.LOGGED_OUT]
        return LoginCounts(owners.count(owner), len(owners))

    async def counts(self, owner: UserId) -> LoginCounts:
        return await self._memory.run(lambda: self._counts(owner))

    async def position(self, login: LoginId) -> str | None:
        return await self._memory.run(lambda: self._memory.tables.positions.get(login))

    async def set_state(self, login: LoginId, state: LoginState, reason: str) -> None:
        def work() -> None:
            tables = self._memory.tables
            row = tables.logins.get(login)
            if row is None:
                return
            out = state is LoginState.LOGGED_OUT
            sealed = None if out else row.sealed
            tables.logins[login] = replace(row, state=state, reason=reason, sealed=sealed)
            if out:
                tables.positions[login] = None

        await self._memory.run(work)

    async def get(self, login: LoginId) -> LoginRow | None:
        return await self._memory.run(lambda: self._memory.tables.logins.get(login))

    async def all(self) -> list[LoginRow]:
        return await self._memory.run(lambda: list(self._memory.tables.logins.values()))

    async def of(self, owners: Collection[UserId]) -> list[LoginRow]:
        rows = await self.all()
        return [row for row in rows if row.owner in owners]


class MemoryRoomStore(RoomStore):
    """A `RoomStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._memory = database

    async def add_management(self, room: RoomId, user: UserId) -> None:
        await self._memory.run(lambda: self._memory.tables.management.update({room: user}))

    async def remove_management(self, room: RoomId) -> None:
        def work() -> None:
            self._memory.tables.management.pop(room, None)
            self._memory.tables.secrets_asked.discard(room)

        await self._memory.run(work)

    async def management_user(self, room: RoomId) -> UserId | None:
        return await self._memory.run(lambda: self._memory.tables.management.get(room))

    async def ask_secret(self, room: RoomId) -> None:
        def work() -> None:
            if room in self._memory.tables.management:
                self._memory.tables.secrets_asked.add(room)

        await self._memory.run(work)

    async def take_secret_asked(self, room: RoomId) -> bool:
        def work() -> bool:
            asked = room in self._memory.tables.secrets_asked
            self._memory.tables.secrets_asked.discard(room)
            return asked

        return await self._memory.run(work)

    async def management_rooms(self, user: UserId) -> list[RoomId]:
        def work() -> list[RoomId]:
            rooms = self._memory.tables.management.items()
            return [room for room, of in rooms if of == user]

        return await self._memory.run(work)

    async def refuse_once(self, user: UserId) -> bool:
        def work() -> bool:
            new = user not in self._memory.tables.refused
            self._memory.tables.refused.add(user)
            return new

        return await self._memory.run(work)
