"""The ledgers of m.direct, in memory.

The rule that must never break: they answer as `DirectStore` does; and what is given a connection happens at
once, so that its transaction can be taken back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from dm_bridge.direct.ledger import DMState, Ledger, ManagedDM
from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.database import Connection
from dm_bridge.store.direct import DirectStore
from dm_bridge.testing.memory.database import DirectEntry, MemoryDatabase

Rows = dict[RoomId, DirectEntry]


class MemoryDirectStore(DirectStore):
    """A `DirectStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._memory = database

    async def load(self, account: UserId) -> tuple[list[ManagedDM], bool]:
        def work() -> tuple[list[ManagedDM], bool]:
            rows = self._rows(account)
            managed = [
                ManagedDM(room, row.ghost, row.state, row.opted_out, row.aliases)
                for room, row in sorted(rows.items())
            ]
            return managed, all(row.settled for row in rows.values())

        return await self._memory.run(work)

    async def manage(self, account: UserId, room: RoomId, ghost: UserId, state: DMState) -> None:
        def work() -> None:
            rows = self._memory.tables.direct.setdefault(account, {})
            row = rows.get(room)
            if row is None:
                rows[room] = DirectEntry(ghost, state)
                return
            late = (row.state, state) == (DMState.ACTIVE, DMState.PENDING)
            after, aliases = row.state if late else state, row.aliases
            if row.ghost != ghost:
                aliases = (aliases - {ghost}) | {row.ghost}
            if (row.ghost, row.state) != (ghost, after):
                rows[room] = replace(row, ghost=ghost, state=after, settled=False, aliases=aliases)

        await self._memory.run(work)

    async def set_state(
        self, room: RoomId, state: DMState, account: UserId | None = None
    ) -> list[UserId]:
        def work() -> list[UserId]:
            changed = []
            for who, rows in self._memory.tables.direct.items():
                row = rows.get(room)
                if row is not None and row.state is not state and account in (None, who):
                    rows[room] = replace(row, state=state, settled=False)
                    changed.append(who)
            return changed

        return await self._memory.run(work)

    async def replace_room(self, old: RoomId, new: RoomId) -> list[UserId]:
        def work() -> list[UserId]:
            changed = []
            for who, rows in self._memory.tables.direct.items():
                before = rows.get(old)
                if before is None or (before.state is DMState.RETIRED and not before.opted_out):
                    continue
                rows[old] = replace(before, state=DMState.RETIRED, opted_out=False, settled=False)
                there = rows.get(new)
                if there is None:
                    rows[new] = replace(before, settled=False)
                else:
                    retired = before.state is DMState.RETIRED
                    rows[new] = DirectEntry(
                        before.ghost,
                        there.state if retired else before.state,
                        before.opted_out or there.opted_out,
                        (there.aliases | before.aliases | {there.ghost}) - {before.ghost},
                    )
                changed.append(who)
            return changed

        return await self._memory.run(work)

    async def rename_ghost(self, room: RoomId, old: UserId, new: UserId) -> list[UserId]:
        def work() -> list[UserId]:
            if old == new:
                return []
            tables, changed = self._memory.tables, set()
            own = tables.direct.get(old, {}).get(room)
            left_behind = None if own is None or own.state is DMState.RETIRED else own
            for who, rows in tables.direct.items():
                row = rows.get(room)
                if row is not None and row.ghost == old:
                    aliases = (row.aliases - {new, old}) | {old}
                    rows[room] = replace(row, ghost=new, settled=False, aliases=aliases)
                    changed.add(who)
            if left_behind is not None:
                tables.direct[old][room] = replace(
                    left_behind, state=DMState.RETIRED, settled=False
                )
                rows = tables.direct.setdefault(new, {})
                there = rows.get(room)
                fresh = DirectEntry(left_behind.ghost, DMState.ACTIVE)
                rows[room] = (
                    fresh
                    if there is None
                    else replace(
                        there, ghost=left_behind.ghost, state=DMState.ACTIVE, settled=False
                    )
                )
                changed |= {old, new}
            return sorted(changed)

        return await self._memory.run(work)

    async def opt(self, account: UserId, room: RoomId, out: bool) -> bool:
        def work() -> bool:
            rows = self._rows(account)
            if room not in rows or rows[room].state is DMState.RETIRED:
                return False
            rows[room] = replace(rows[room], opted_out=out, settled=False)
            return True

        return await self._memory.run(work)

    async def forget(self, room: RoomId) -> list[UserId]:
        def work() -> list[UserId]:
            changed = []
            for who, rows in self._memory.tables.direct.items():
                if room in rows:
                    rows[room] = replace(
                        rows[room], state=DMState.RETIRED, opted_out=False, settled=False
                    )
                    changed.append(who)
            return changed

        return await self._memory.run(work)

    async def accounts(self, users: Collection[UserId] | None = None) -> list[UserId]:
        def work() -> list[UserId]:
            return [who for who, rows in self._of(users) if rows]

        return await self._memory.run(work)

    async def unsettled(self, users: Collection[UserId] | None = None) -> list[UserId]:
        def work() -> list[UserId]:
            return [
                who
                for who, rows in self._of(users)
                if any(
                    not row.settled
                    and (users is None or who in users or room in self._rooms(users))
                    for room, row in rows.items()
                )
            ]

        return await self._memory.run(work)

    def _of(self, users: Collection[UserId] | None) -> list[tuple[UserId, Rows]]:
        """All accounts; or these users, and whoever else is managed in a room of theirs."""
        everybody = list(self._memory.tables.direct.items())
        if users is None:
            return everybody
        rooms = self._rooms(users)
        return [(who, rows) for who, rows in everybody if who in users or rooms & rows.keys()]

    def _rooms(self, users: Collection[UserId]) -> set[RoomId]:
        return {room for user in users for room in self._rows(user)}

    async def decide(self, connection: Connection, before: Ledger, after: Ledger) -> None:
        rows = self._rows(after.account)
        for room, dm in after.managed.items():
            if dm.opted_out != before.managed[room].opted_out and room in rows:
                rows[room] = replace(rows[room], opted_out=dm.opted_out, settled=False)

    async def settle(
        self, account: UserId, seen: Iterable[ManagedDM], connection: Connection | None = None
    ) -> None:
        listed = list(seen)
        if connection is None:
            await self._memory.run(lambda: _settle(self._rows(account), listed))
        else:
            _settle(self._rows(account), listed)

    def _rows(self, account: UserId) -> Rows:
        return self._memory.tables.direct.get(account, {})


def _settle(rows: Rows, seen: list[ManagedDM]) -> None:
    for dm in seen:
        row = rows.get(dm.room)
        if row is None:
            continue
        retired = row.state is DMState.RETIRED and not row.opted_out
        if retired and dm.state is DMState.RETIRED:
            del rows[dm.room]
        elif not retired and (row.ghost, row.state, row.opted_out) == (
            dm.ghost,
            dm.state,
            dm.opted_out,
        ):
            rows[dm.room] = replace(row, settled=True)
