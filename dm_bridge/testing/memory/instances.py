"""Processes, their shares, and errands, in memory.

The rule that must never break: they answer as `InstanceStore` does; and a process is buried in three steps,
between which anything may happen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import asyncpg

from dm_bridge.ids import LoginId, RoomId, UserId
from dm_bridge.store.database import Buried
from dm_bridge.store.instances import (
    CHANNEL,
    ERRANDS_AT_ONCE,
    Errand,
    Instance,
    InstanceStore,
    Loads,
)
from dm_bridge.store.logins import LoginState
from dm_bridge.testing.memory.database import InstanceEntry, MemoryDatabase, ShareEntry, Tables


class MemoryInstanceStore(InstanceStore):
    """An `InstanceStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self._memory = database

    # -- being there

    async def join(
        self, identity: str, lease: float, place: str, process: str, version: str
    ) -> str | None:
        def work() -> str | None:
            tables = self._memory.tables
            for row in tables.instances.values():
                if row.identity != identity:
                    return row.identity
            if self.id in tables.instances:
                raise asyncpg.UniqueViolationError(f"{self.id} is there already")
            tables.instances[self.id] = InstanceEntry(
                identity, lease, place, process, tables.number()
            )
            return None

        other = await self._memory.run(work)
        if other is None:
            self._memory.fence()
        return other

    async def beat(self) -> list[Instance]:
        def work() -> list[Instance]:
            rows = self._memory.tables.instances
            seen = [
                Instance(name, row.lease, row.place, row.process, row.beat)
                for name, row in sorted(rows.items(), key=lambda item: item[1].joined)
            ]
            own = rows.get(self.id)
            if own is None or own.beat < 0:
                raise Buried
            rows[self.id] = replace(own, beat=own.beat + 1)
            return seen

        return await self._memory.run(work)

    async def loads(self) -> Loads:
        def work() -> Loads:
            tables = self._memory.tables
            loads: dict[str | None, int] = {}
            for user, share in tables.shares.items():
                loads[share.holder] = loads.get(share.holder, 0) + _weight(tables, user)
            free = loads.pop(None, None)
            return Loads({name: n for name, n in loads.items() if name is not None}, free)

        return await self._memory.run(work)

    async def leave(self) -> None:
        def work() -> None:
            _remove(self._memory.tables, self.id)

        await self._memory.run(work)

    async def bury(self, instance: Instance) -> bool:
        def mark() -> bool:
            row = self._memory.tables.instances.get(instance.id)
            if row is None or (row.beat != instance.beat and row.beat >= 0):
                return False
            self._memory.tables.instances[instance.id] = replace(row, beat=-1)
            return True

        def end() -> None:
            if instance.id != self.id:  # nobody ends their own connections
                self._memory.tables.ended.add(instance.id)
                self._memory.tables.disconnect(instance.id)

        if not await self._memory.run(mark):
            return False
        await self._memory.run(end)
        return await self._forget(instance)

    async def _forget(self, instance: Instance) -> bool:
        def work() -> None:
            row = self._memory.tables.instances.get(instance.id)
            if row is not None and row.beat < 0:
                _remove(self._memory.tables, instance.id)
            self._memory.tables.notify(CHANNEL)

        await self._memory.run(work)
        return True

    # -- shares

    async def take(self, most: int, users: int, *, at_least_one: bool) -> dict[UserId, int]:
        def work() -> dict[UserId, int]:
            tables = self._memory.tables
            free = sorted(user for user, share in tables.shares.items() if share.holder is None)
            weighed = [(_weight(tables, user), user) for user in free[:users]]
            taken, so_far = {}, 0
            for logins, user in sorted(weighed, key=lambda each: (-each[0], each[1])):
                so_far += logins
                first = at_least_one and so_far == logins
                if so_far <= most or logins == 0 or first:
                    taken[user] = self._hold(user)
            return taken

        return await self._memory.run(work)

    def _hold(self, user: UserId) -> int:
        tables = self._memory.tables
        if self.id not in tables.instances:
            raise asyncpg.ForeignKeyViolationError(f"no process {self.id}")
        epoch = tables.shares.get(user, ShareEntry()).epoch + 1
        tables.shares[user] = ShareEntry(self.id, epoch)
        return epoch

    async def take_new(self, users: Collection[UserId]) -> dict[UserId, int]:
        def work() -> dict[UserId, int]:
            known = self._memory.tables.shares
            return {user: self._hold(user) for user in users if user not in known}

        return await self._memory.run(work)

    async def give(self, users: Collection[UserId]) -> None:
        def work() -> None:
            tables = self._memory.tables
            for user in users:
                share = tables.shares.get(user)
                if share is not None and share.holder == self.id:
                    tables.shares[user] = replace(share, holder=None)
            tables.notify(CHANNEL)

        await self._memory.run(work)

    async def held(self) -> list[UserId]:
        def work() -> list[UserId]:
            shares = self._memory.tables.shares.items()
            return [user for user, share in shares if share.holder == self.id]

        return await self._memory.run(work)

    async def weights(self, users: Collection[UserId]) -> dict[UserId, int]:
        listed = list(users)
        return await self._memory.run(
            lambda: {user: _weight(self._memory.tables, user) for user in listed}
        )

    # -- whose a room is

    async def users_of(
        self, rooms: Collection[RoomId]
    ) -> tuple[dict[RoomId, UserId], dict[RoomId, UserId]]:
        listed = list(rooms)

        def work() -> tuple[dict[RoomId, UserId], dict[RoomId, UserId]]:
            tables = self._memory.tables
            logins = {room: _login(tables, room) for room in listed}
            chats = {
                room: tables.logins[login].owner
                for room, login in logins.items()
                if login is not None
            }
            managed = {
                room: tables.management[room] for room in listed if room in tables.management
            }
            return chats, managed

        return await self._memory.run(work)

    async def first_senders(self, rooms: Collection[RoomId]) -> dict[RoomId, UserId]:
        listed = set(rooms)

        def work() -> dict[RoomId, UserId]:
            found: dict[RoomId, UserId] = {}
            rows = self._memory.tables.outbox.values()
            for row in sorted(rows, key=lambda row: row.seq):
                if row.state == "waiting" and row.room in listed:
                    found.setdefault(row.room, row.sender)
            return found

        return await self._memory.run(work)

    # -- errands

    async def leave_errands(self, errands: Sequence[Errand]) -> None:
        def work() -> None:
            tables = self._memory.tables
            for errand in errands:
                if UserId(errand.for_whom) in tables.shares or errand.for_whom in tables.instances:
                    tables.errands[tables.number()] = errand
            tables.notify(CHANNEL)

        await self._memory.run(work)

    async def take_errands(self) -> list[Errand]:
        def work() -> list[Errand]:
            tables = self._memory.tables
            ours = {self.id} | {
                user for user, share in tables.shares.items() if share.holder == self.id
            }
            numbers = [n for n, errand in sorted(tables.errands.items()) if errand.for_whom in ours]
            return [tables.errands.pop(number) for number in numbers[:ERRANDS_AT_ONCE]]

        return await self._memory.run(work)


def _weight(tables: Tables, user: UserId) -> int:
    """How many logins of a user count."""
    return sum(
        row.owner == user and row.state is not LoginState.LOGGED_OUT
        for row in tables.logins.values()
    )


def _login(tables: Tables, room: RoomId) -> LoginId | None:
    """Whose chat's room it is, was, or is about to be."""
    portals = tables.portals.values()
    for row in portals:
        if row.room == room:
            return row.key.login
    if room in tables.former:
        return tables.former[room].login
    return next((row.key.login for row in portals if row.successor == room), None)


def _remove(tables: Tables, instance: str) -> None:
    """A process is not there any more, and has nothing."""
    tables.instances.pop(instance, None)
    for number, errand in list(tables.errands.items()):
        if errand.for_whom == instance:
            del tables.errands[number]
    for user, share in list(tables.shares.items()):
        if share.holder == instance:
            tables.shares[user] = replace(share, holder=None)
    tables.notify(CHANNEL)
