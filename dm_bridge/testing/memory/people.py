"""What is known of people, in memory.

The rule that must never break: it answers as `PeopleStore` does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, cast

import asyncpg

from dm_bridge.ids import ContactId, LoginId, NetworkName, PortalKey, RoomId, UserId
from dm_bridge.store.database import Database
from dm_bridge.store.logins import LoginState
from dm_bridge.store.people import MAX_REQUESTS, Called, PeopleStore, RequestRow
from dm_bridge.store.portals import GhostRow
from dm_bridge.testing.memory.database import MemoryDatabase


class MemoryPeopleStore(PeopleStore):
    """A `PeopleStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(cast(Database, database))
        self._memory = database

    async def ghosts(
        self, network: NetworkName, contacts: Collection[ContactId]
    ) -> dict[ContactId, GhostRow]:
        def work() -> dict[ContactId, GhostRow]:
            rows = (self._memory.tables.ghosts.get((network, contact)) for contact in contacts)
            return {row.contact: row for row in rows if row is not None and row.registered}

        return await self._memory.run(work)

    async def claim(self, ghost: UserId, login: LoginId) -> bool:
        def work() -> bool:
            tables = self._memory.tables
            if all(row.user_id != ghost for row in tables.ghosts.values()):
                return False
            source = tables.sources.get(ghost, login)
            if source != login and tables.logins[source].state is LoginState.ACTIVE:
                return False
            tables.sources[ghost] = login
            return True

        return await self._memory.run(work)

    async def set_name(self, ghost: UserId, name: str) -> None:
        await self._set(ghost, name=name)

    async def set_avatar(self, ghost: UserId, avatar: str, url: str | None) -> None:
        await self._set(ghost, avatar=avatar, avatar_url=url)

    async def _set(self, ghost: UserId, **changes: Any) -> None:
        def work() -> None:
            ghosts = self._memory.tables.ghosts
            for key, row in ghosts.items():
                if row.user_id == ghost:
                    ghosts[key] = replace(row, **changes)

        await self._memory.run(work)

    async def named_privately(self, ghost: UserId) -> list[PortalKey]:
        def work() -> list[PortalKey]:
            return [
                key
                for key, row in self._memory.tables.portals.items()
                if row.ghost == ghost and row.private_name is not None and row.room is not None
            ]

        return await self._memory.run(work)

    async def called(self, account: UserId) -> dict[RoomId, Called]:
        def work() -> dict[RoomId, Called]:
            tables = self._memory.tables
            ghosts = {row.user_id: row for row in tables.ghosts.values()}
            private = {row.room: row.private_name for row in tables.portals.values()}
            return {
                room: Called(ghost.user_id, ghost.contact, private.get(room) or ghost.name)
                for room, row in tables.direct.get(account, {}).items()
                if (ghost := ghosts.get(row.ghost)) is not None
            }

        return await self._memory.run(work)

    async def ask(self, login: LoginId, contact: ContactId, name: str | None) -> bool:
        def work() -> bool:
            tables = self._memory.tables
            row = tables.requests.get((login, contact))
            of_login = [each for each, _ in tables.requests if each == login]
            if row is None and len(of_login) >= MAX_REQUESTS:
                return False
            if row is None and login not in tables.logins:
                raise asyncpg.ForeignKeyViolationError(f"no login {login}")
            if row is None:
                row = RequestRow(login, contact, name, False)
            elif name is not None:
                row = replace(row, name=name)
            tables.requests[login, contact] = row
            return not row.told

        return await self._memory.run(work)

    async def set_told(self, login: LoginId, contacts: Sequence[ContactId]) -> None:
        def work() -> None:
            requests = self._memory.tables.requests
            for contact in contacts:
                if (login, contact) in requests:
                    requests[login, contact] = replace(requests[login, contact], told=True)

        await self._memory.run(work)

    async def answered(self, login: LoginId, contacts: Collection[ContactId]) -> None:
        def work() -> None:
            for contact in contacts:
                self._memory.tables.requests.pop((login, contact), None)

        await self._memory.run(work)

    async def requests(self, login: LoginId) -> list[RequestRow]:
        def work() -> list[RequestRow]:
            requests = self._memory.tables.requests
            return [row for (of, _), row in requests.items() if of == login]

        return await self._memory.run(work)
