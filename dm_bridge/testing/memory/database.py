"""What the stores in memory share: the tables, and how a call reaches them.

The rule that must never break: a statement happens at one moment, wholly or not at all; a transaction that does
not commit leaves every table as it was.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from dm_bridge.direct import Journal
from dm_bridge.direct.ledger import DMState
from dm_bridge.ids import (
    ContactId,
    EventId,
    LoginId,
    NetworkName,
    PortalKey,
    RemoteId,
    RoomId,
    UserId,
)
from dm_bridge.store.database import Connection, Database
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.portals import GhostRow, PortalRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """A row of `inbox`."""

    seq: int
    event: bytes
    received_at: float
    state: str = "waiting"
    event_id: EventId | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """A row of `outbox`."""

    seq: int
    room: RoomId
    sender: UserId
    event: bytes
    received_at: float
    state: str = "waiting"
    portal: PortalKey | None = None
    remote: RemoteId | None = None
    reason: str = ""
    attempted_at: float | None = None
    notice: EventId | None = None
    verdict: EventId | None = None


@dataclass(frozen=True, slots=True)
class DirectEntry:
    """A row of `direct_dm`."""

    ghost: UserId
    state: DMState
    opted_out: bool = False
    aliases: frozenset[UserId] = frozenset()
    settled: bool = False


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """A row of `direct_account`, with its rows of `direct_version`."""

    journal: Journal = field(default_factory=Journal)
    head: bytes | None = None
    refused: str = ""
    observed_at: float | None = None
    observed_by: str = ""
    revision: int = 0
    writer: str = ""
    lease_until: float = float("-inf")


@dataclass(slots=True)
class Tables:
    """The database itself, which outlives who uses it. Rows are never changed, only replaced.

    ``connected``: names of the processes that are there. ``clock``: the database's own, seconds since the epoch.
    """

    clock: Callable[[], float] = time.time
    connected: set[str] = field(default_factory=set)
    logins: dict[LoginId, LoginRow] = field(default_factory=dict)
    positions: dict[LoginId, str | None] = field(default_factory=dict)
    ghosts: dict[tuple[NetworkName, ContactId], GhostRow] = field(default_factory=dict)
    portals: dict[PortalKey, PortalRow] = field(default_factory=dict)
    former: dict[RoomId, PortalKey] = field(default_factory=dict)
    inbox: dict[PortalKey, dict[RemoteId, InboxEntry]] = field(default_factory=dict)
    outbox: dict[EventId, OutboxEntry] = field(default_factory=dict)
    direct: dict[UserId, dict[RoomId, DirectEntry]] = field(default_factory=dict)
    accounts: dict[UserId, AccountEntry] = field(default_factory=dict)
    management: dict[RoomId, UserId] = field(default_factory=dict)
    secrets_asked: set[RoomId] = field(default_factory=set)
    refused: set[UserId] = field(default_factory=set)
    numbers: int = 0

    def number(self) -> int:
        """The next number of a sequence."""
        self.numbers += 1
        return self.numbers


class Link(Protocol):
    """How one process reaches the database. May raise `StorageError`, before or after what it is for."""

    async def statement(self, work: Callable[[], T]) -> T:
        """Have ``work`` done."""
        ...

    async def commit(self, take_back: Callable[[], None]) -> None:
        """Commit what has been done; or ``take_back``, and raise."""
        ...


class NoFaults:
    """A database that always works, at once."""

    async def statement(self, work: Callable[[], T]) -> T:
        return work()

    async def commit(self, take_back: Callable[[], None]) -> None: ...


class MemoryDatabase(Database):
    """A process's way to ``tables``. ``instance``: the name of the process."""

    def __init__(
        self, tables: Tables | None = None, link: Link | None = None, instance: str = "dm_bridge 0"
    ) -> None:
        self.tables = tables or Tables()
        self.instance = instance
        self.pooled = False
        self.link: Link = link or NoFaults()
        self.tables.connected.add(instance)

    async def close(self) -> None:
        """Nobody of this name is connected any more."""
        self.tables.connected.discard(self.instance)

    async def run(self, work: Callable[[], T]) -> T:
        """One statement."""
        return await self.link.statement(work)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Statements of the stores of m.direct that belong together; in the block, nothing else is awaited."""
        await self.link.statement(lambda: None)
        tables = self.tables
        direct = {account: dict(rows) for account, rows in tables.direct.items()}
        accounts = dict(tables.accounts)

        def take_back() -> None:
            tables.direct, tables.accounts = direct, accounts

        try:
            yield cast(Any, self)
        except BaseException:
            take_back()
            raise
        await self.link.commit(take_back)

    async def healthy(self) -> bool:
        """Always."""
        return True
