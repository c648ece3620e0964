"""The inbox and the outbox, in memory.

The rule that must never break: they answer as `InboxStore` and `OutboxStore` do.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import asyncpg
import orjson

from dm_bridge.ids import EventId, LoginId, PortalKey, RemoteId, RoomId, UserId
from dm_bridge.network.events import ContactMoved, RemoteEvent
from dm_bridge.store import inbox as real_inbox
from dm_bridge.store import outbox as real_outbox
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import Delivered, InboxOutcome, InboxRow, InboxStore
from dm_bridge.store.instances import CHANNEL, Errand
from dm_bridge.store.outbox import OutboxRow, OutboxStore, _Change, _Outcome
from dm_bridge.store.reasons import storable
from dm_bridge.testing.memory.database import InboxEntry, MemoryDatabase, OutboxEntry


class MemoryInboxStore(InboxStore):
    """An `InboxStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(cast(Database, database))
        self._memory = database

    async def _add(
        self, groups: Sequence[Sequence[tuple[LoginId, RemoteEvent]]]
    ) -> Sequence[set[PortalKey]]:
        return await self._memory.run(lambda: [self._insert(items) for items in groups])

    async def add_at(
        self, login: LoginId, events: Sequence[RemoteEvent], before: str | None, position: str
    ) -> tuple[set[PortalKey], bool]:
        def work() -> tuple[set[PortalKey], bool]:
            tables = self._memory.tables
            chats = self._insert([(login, event) for event in events])
            moved = login in tables.logins and tables.positions.get(login) in (before, position)
            if moved:
                tables.positions[login] = position
            return chats, moved

        return await self._memory.run(work)

    def _insert(self, items: Sequence[tuple[LoginId, RemoteEvent]]) -> set[PortalKey]:
        tables = self._memory.tables
        columns = zip(*real_inbox._columns(items), strict=True) if items else ()
        new: list[tuple[PortalKey, RemoteId, InboxEntry]] = []
        for login, chat, remote, event, other, sent, reference in columns:
            key = PortalKey(login, chat)
            if login not in tables.logins:
                raise asyncpg.ForeignKeyViolationError(f"no login {login}")
            there = tables.inbox.get(key, {})
            if other is not None and other in there:
                continue
            if self._is_late_copy(there.values(), remote):
                continue
            if sent is not None and self._was_sent(key, sent):
                continue
            entry = InboxEntry(0, event, tables.clock(), reference=reference, other_id=other)
            new.append((key, RemoteId(remote), entry))
        added = set()
        for key, id_, entry in new:
            chat_rows = tables.inbox.setdefault(key, {})
            if id_ not in chat_rows:
                chat_rows[id_] = replace(entry, seq=tables.number())
                added.add(key)
        return added

    def _is_late_copy(self, there: Iterable[InboxEntry], remote: str) -> bool:
        return any(row.other_id == remote for row in there)

    def _was_sent(self, key: PortalKey, remote: str) -> bool:
        rows = self._memory.tables.outbox.values()
        return any(row.portal == key and row.remote == remote for row in rows)

    async def _read(self, wanted: Sequence[tuple[PortalKey, int]]) -> Sequence[list[InboxRow]]:
        def read(key: PortalKey, limit: int) -> list[InboxRow]:
            rows = self._memory.tables.inbox.get(key, {})
            waiting = [(row.seq, id_, row) for id_, row in rows.items() if row.state == "waiting"]
            return [
                InboxRow(key, id_, real_inbox._decode(row.event), row.received_at)
                for _, id_, row in sorted(waiting, key=lambda one: one[0])[:limit]
            ]

        return await self._memory.run(lambda: [read(key, limit) for key, limit in wanted])

    async def chats_waiting(self, owners: Collection[UserId] | None = None) -> list[PortalKey]:
        def work() -> list[PortalKey]:
            tables = self._memory.tables
            return [
                key
                for key, rows in tables.inbox.items()
                if any(row.state == "waiting" for row in rows.values())
                and (owners is None or tables.logins[key.login].owner in owners)
            ]

        return await self._memory.run(work)

    async def moves_before(self, key: PortalKey, id_: RemoteId) -> list[ContactMoved]:
        def work() -> list[ContactMoved]:
            inbox = self._memory.tables.inbox
            limit = inbox[key][id_].seq if id_ in inbox.get(key, {}) else 0
            return self._moves(key.login, limit)

        return await self._memory.run(work)

    async def moves_waiting(self, login: LoginId) -> list[ContactMoved]:
        return await self._memory.run(lambda: self._moves(login, math.inf))

    def _moves(self, login: LoginId, limit: float) -> list[ContactMoved]:
        rows = [
            (row.seq, row.event)
            for key, chat_rows in self._memory.tables.inbox.items()
            for remote, row in chat_rows.items()
            if key.login == login and row.state == "waiting" and row.seq < limit
            if remote.startswith("moved:")
        ]
        return real_inbox._moves(event for _, event in sorted(rows))

    async def _record(
        self, changes: Sequence[tuple[PortalKey, Sequence[InboxOutcome]]]
    ) -> Sequence[None]:
        def work() -> None:
            for key, outcomes in changes:
                rows = self._memory.tables.inbox.get(key, {})
                for outcome in outcomes:
                    row = rows.get(outcome.id)
                    if row is not None and _may_end(row.state, outcome.state):
                        rows[outcome.id] = replace(
                            row,
                            state=outcome.state,
                            event_id=outcome.event,
                            reason=storable(outcome.reason),
                        )

        await self._memory.run(work)
        return [None] * len(changes)

    async def delivered(self, key: PortalKey, message: RemoteId) -> Delivered | None:
        def work() -> Delivered | None:
            row = self._memory.tables.inbox.get(key, {}).get(message)
            if row is None:
                return None
            event = real_inbox._decode(row.event)
            own = getattr(event, "from_self", False)
            return Delivered(row.event_id, row.state == "waiting", own)

        return await self._memory.run(work)


class MemoryOutboxStore(OutboxStore):
    """An `OutboxStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(cast(Database, database))
        self._memory = database

    async def add(
        self, rows: Sequence[OutboxRow], errands: Sequence[Errand] = ()
    ) -> list[OutboxRow]:
        def work() -> list[OutboxRow]:
            tables = self._memory.tables
            added = []
            for row in rows:
                if row.id not in tables.outbox:
                    now = tables.clock()
                    tables.outbox[row.id] = OutboxEntry(
                        tables.number(), row.room, row.sender, real_outbox._encode(row.event), now
                    )
                    added.append(replace(row, received_at=now))
            for errand in errands:
                tables.errands[tables.number()] = errand
            if errands:
                tables.notify(CHANNEL)
            return added

        return await self._memory.run(work)

    async def _read(self, wanted: Sequence[tuple[RoomId, int]]) -> Sequence[list[OutboxRow]]:
        def read(room: RoomId, limit: int) -> list[OutboxRow]:
            waiting = [
                (row.seq, id_, row)
                for id_, row in self._memory.tables.outbox.items()
                if row.state == "waiting" and row.room == room
            ]
            return [
                _outbox_row(id_, row)
                for _, id_, row in sorted(waiting, key=lambda one: one[0])[:limit]
            ]

        return await self._memory.run(lambda: [read(room, limit) for room, limit in wanted])

    async def _record(self, changes: Sequence[_Change]) -> Sequence[bool]:
        def write(event: EventId, outcome: _Outcome | None) -> bool:
            row = self._memory.tables.outbox.get(event)
            if outcome is None:
                if row is not None and row.attempted_at is None:
                    self._change(event, attempted_at=self._memory.tables.clock())
                return True
            if row is None:
                return False
            state, login, chat, remote, reason = outcome
            ends = _may_end(row.state, state)
            if ends:
                portal = None if login is None or chat is None else PortalKey(login, chat)
                self._change(event, state=state, portal=portal, remote=remote, reason=reason)
            return ends

        return await self._memory.run(lambda: [write(*change) for change in changes])

    async def not_attempted(self, row: OutboxRow) -> None:
        await self._memory.run(lambda: self._change(row.id, attempted_at=None))

    async def set_notices(
        self, row: OutboxRow, *, notice: EventId | None, verdict: EventId | None
    ) -> None:
        await self._memory.run(lambda: self._change(row.id, notice=notice, verdict=verdict))

    async def forget_notices(self, row: OutboxRow, *, verdict: bool) -> None:
        def work() -> None:
            stored = self._memory.tables.outbox.get(row.id)
            if stored is None:
                return
            if stored.notice == row.notice:
                self._change(row.id, notice=None)
            if verdict and stored.verdict == row.verdict:
                self._change(row.id, verdict=None)

        await self._memory.run(work)

    def _change(self, event: EventId, **changes: Any) -> None:
        outbox = self._memory.tables.outbox
        if event in outbox:
            outbox[event] = replace(outbox[event], **changes)

    async def unsettled_notices(self, limit: int) -> list[tuple[OutboxRow, bool]]:
        def work() -> list[tuple[OutboxRow, bool]]:
            found = []
            for id_, row in self._memory.tables.outbox.items():
                delivered = row.state == "delivered"
                waits = row.notice is not None and row.state != "waiting"
                if waits or (row.verdict is not None and delivered):
                    told = OutboxRow(
                        id_,
                        row.room,
                        row.sender,
                        {},
                        row.received_at,
                        notice=row.notice,
                        verdict=row.verdict,
                    )
                    found.append((told, delivered))
            return found[:limit]

        return await self._memory.run(work)

    async def rooms_waiting(self) -> list[RoomId]:
        def work() -> list[RoomId]:
            rows = self._memory.tables.outbox.values()
            return list(dict.fromkeys(row.room for row in rows if row.state == "waiting"))

        return await self._memory.run(work)

    async def sent_as(self, portal: PortalKey, remote: RemoteId) -> OutboxRow | None:
        def work() -> OutboxRow | None:
            for id_, row in self._memory.tables.outbox.items():
                if row.portal == portal and row.remote == remote:
                    return _outbox_row(id_, row)
            return None

        return await self._memory.run(work)

    async def sent_back(
        self, row: OutboxRow, portal: PortalKey, remote: RemoteId, reason: str
    ) -> None:
        def work() -> None:
            stored = self._memory.tables.outbox.get(row.id)
            if stored is not None and stored.state in ("waiting", "delivered", "failed"):
                now = {"state": "failed", "portal": portal, "remote": remote, "attempted_at": None}
                self._change(row.id, reason=storable(reason), verdict=row.verdict, **now)

        await self._memory.run(work)


def _outbox_row(event: EventId, row: OutboxEntry) -> OutboxRow:
    return OutboxRow(
        event,
        row.room,
        row.sender,
        orjson.loads(row.event),
        row.received_at,
        row.attempted_at,
        row.notice,
        row.verdict,
    )


def _may_end(state: str, outcome: str) -> bool:
    return state == "waiting" or (state == "dropped" and outcome == "delivered")
