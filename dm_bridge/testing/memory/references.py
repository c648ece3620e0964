"""References and reactions, in memory.

The rule that must never break: it answers as `ReferenceStore` does.
"""

from __future__ import annotations

from typing import cast

from dm_bridge.ids import EventId, PortalKey, RemoteId
from dm_bridge.store import references as real
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import stored_id
from dm_bridge.store.references import Known, Reaction, ReferenceStore
from dm_bridge.testing.memory.database import MemoryDatabase


class MemoryReferenceStore(ReferenceStore):
    """A `ReferenceStore`."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(cast(Database, database))
        self._memory = database

    async def named(self, key: PortalKey, reference: RemoteId) -> list[Known]:
        wanted = stored_id(reference)

        def work() -> list[Known]:
            tables = self._memory.tables
            found = [
                (False, -row.seq, row.event_id, None, row.event)
                for id_, row in tables.inbox.get(key, {}).items()
                if wanted in (id_, row.reference)
            ] + [
                (True, -row.seq, id_, row.remote, row.event)
                for id_, row in tables.outbox.items()
                if row.portal == key and row.remote == wanted
            ]
            found.sort(key=lambda one: one[:2])
            return [real._known(event, sent, raw, here) for here, _, event, sent, raw in found[:10]]

        return await self._memory.run(work)

    async def of_event(self, key: PortalKey, event: EventId) -> Known | None:
        def work() -> Known | None:
            tables = self._memory.tables
            for row in tables.inbox.get(key, {}).values():
                if row.event_id == event:
                    return real._known(event, None, row.event, False)
            sent = tables.outbox.get(event)
            if sent is None or sent.portal != key:
                return None
            return real._known(event, sent.remote, sent.event, True)

        return await self._memory.run(work)

    async def is_up_to(self, key: PortalKey, one: RemoteId, other: RemoteId) -> bool:
        def work() -> bool:
            rows = self._memory.tables.inbox.get(key, {})
            before, after = (rows.get(RemoteId(stored_id(each))) for each in (one, other))
            return before is not None and after is not None and before.seq < after.seq

        return one == other or await self._memory.run(work)

    async def reactions(
        self, key: PortalKey, target: EventId, *, from_self: bool
    ) -> list[Reaction]:
        def work() -> list[Reaction]:
            return [
                one
                for one in self._memory.tables.reactions.get(key, {}).values()
                if (one.target, one.from_self) == (target, from_self)
            ]

        return await self._memory.run(work)

    async def reaction_of(self, key: PortalKey, event: EventId) -> Reaction | None:
        def work() -> Reaction | None:
            rows = self._memory.tables.reactions.get(key, {}).values()
            return next((one for one in rows if one.event == event), None)

        return await self._memory.run(work)

    async def add_reaction(self, key: PortalKey, reaction: Reaction) -> None:
        def work() -> None:
            rows = self._memory.tables.reactions.setdefault(key, {})
            rows[reaction.target, reaction.from_self, reaction.emoji] = reaction

        await self._memory.run(work)

    async def remove_reaction(self, key: PortalKey, event: EventId) -> None:
        def work() -> None:
            rows = self._memory.tables.reactions.get(key, {})
            for place in [place for place, one in rows.items() if one.event == event]:
                del rows[place]

        await self._memory.run(work)
