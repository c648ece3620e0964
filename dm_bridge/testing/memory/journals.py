"""Journals of m.direct, in memory.

The rule that must never break: they answer as `JournalStore` does, leases and revisions included.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import replace
from types import MappingProxyType

from dm_bridge.direct import Journal, Source
from dm_bridge.ids import UserId
from dm_bridge.store import journals as real
from dm_bridge.store.database import Connection
from dm_bridge.store.journals import LEASE, Busy, JournalStore, Remembered, Seen
from dm_bridge.testing.memory.database import AccountEntry, MemoryDatabase


class MemoryJournalStore(JournalStore):
    """A `JournalStore`, as one writer."""

    def __init__(
        self, database: MemoryDatabase, writer: str | None = None, *, is_instance: bool = False
    ) -> None:
        self._memory = database
        name = f"{database.instance}/0"
        self._writer = writer or (f"instance {name}" if is_instance else name)
        self._cache: OrderedDict[UserId, Remembered] = OrderedDict()

    async def claim(self, account: UserId) -> Remembered:
        def work() -> Remembered:
            tables = self._memory.tables
            row = tables.accounts.get(account, AccountEntry())
            instance, separator, _ = row.writer.partition("/")
            if row.writer.startswith("instance "):
                dead = bool(separator) and instance[9:] not in tables.instances
            else:
                dead = (
                    bool(separator)
                    and row.writer.startswith("dm_bridge ")
                    and instance not in tables.connected
                )
            free = row.lease_until < tables.clock() or row.writer == self._writer
            if not free and not dead:
                raise Busy(account)
            tables.accounts[account] = replace(
                row, writer=self._writer, lease_until=tables.clock() + LEASE
            )
            cached = self._cache.get(account)
            if cached is None or cached.revision != row.revision:
                cached = _remembered(row)
            return cached

        cached = await self._memory.run(work)
        self._remember(account, cached)
        return cached

    async def release(self, account: UserId) -> None:
        def work() -> None:
            row = self._memory.tables.accounts.get(account)
            if row is not None and row.writer == self._writer:
                self._memory.tables.accounts[account] = replace(row, lease_until=float("-inf"))

        await self._memory.run(work)

    async def record(
        self,
        connection: Connection,
        account: UserId,
        before: Remembered,
        after: Journal,
        *,
        source: Source,
        refused: str | None = "",
    ) -> Remembered:
        head = before.head if after.head is before.journal.head else real._text(after.head)
        known = {version.seq: version for version in before.journal.versions}
        changed = (
            head != before.head
            or any(known.get(version.seq) is not version for version in after.versions)
            or len(after.versions) != len(known)
            or after.doubt is not before.journal.doubt
            or after.struggles != before.journal.struggles
        )
        tables = self._memory.tables
        row = tables.accounts.get(account)
        if row is None or row.writer != self._writer or row.revision != before.revision:
            self._cache.pop(account, None)
            raise Busy(account)
        revision = row.revision + int(changed)
        tables.accounts[account] = replace(
            row,
            refused=row.refused if refused is None else refused,
            observed_at=tables.clock(),
            observed_by=source.value,
            revision=revision,
            lease_until=tables.clock() + LEASE,
            journal=after if changed else row.journal,
            head=head if changed else row.head,
        )
        return Remembered(replace(after, echoes=True), revision, head)

    async def written(self, account: UserId, remembered: Remembered) -> None:
        attempted = replace(remembered.journal.sending(), attempted=True)
        self._remember(account, replace(remembered, journal=attempted))

        def work() -> None:
            row = self._memory.tables.accounts.get(account)
            if row is not None and (row.writer, row.revision) == (
                self._writer,
                remembered.revision,
            ):
                journal = replace(row.journal, doubt=None)
                self._memory.tables.accounts[account] = replace(row, journal=journal)

        await self._memory.run(work)

    async def trouble(self, account: UserId, sentence: str) -> None:
        def work() -> None:
            row = self._memory.tables.accounts.get(account)
            if row is not None:
                self._memory.tables.accounts[account] = replace(row, refused=sentence)

        await self._memory.run(work)

    async def read(self, account: UserId) -> Journal:
        def work() -> Journal:
            return _remembered(self._memory.tables.accounts.get(account)).journal

        return await self._memory.run(work)

    async def seen(self, account: UserId) -> Seen:
        def work() -> Seen:
            row = self._memory.tables.accounts.get(account, AccountEntry())
            return Seen(row.observed_at, row.observed_by, row.refused)

        return await self._memory.run(work)

    async def last_seen(self, accounts: Collection[UserId] | None = None) -> dict[UserId, float]:
        def work() -> dict[UserId, float]:
            return {
                who: row.observed_at
                for who, row in self._memory.tables.accounts.items()
                if row.observed_at is not None and (accounts is None or who in accounts)
            }

        return await self._memory.run(work)

    async def at_peace(self, account: UserId) -> None:
        def work() -> None:
            row = self._memory.tables.accounts.get(account)
            if row is not None and row.journal.struggles:
                journal = replace(row.journal, struggles=MappingProxyType({}))
                self._memory.tables.accounts[account] = replace(
                    row, journal=journal, revision=row.revision + 1
                )

        await self._memory.run(work)


def _remembered(row: AccountEntry | None) -> Remembered:
    """As after a start: what only the process that wrote it could know is not known."""
    if row is None:
        return Remembered(Journal(), 0)
    journal = replace(row.journal, echoes=True, attempted=False, sent=True)
    return Remembered(journal, row.revision, row.head)
