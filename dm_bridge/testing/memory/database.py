"""What the stores in memory share: the tables, and how a call reaches them.

The rule that must never break: a statement happens at one moment, wholly or not at all; a transaction that does
not commit leaves every table as it was; and once the connections of a buried process have been ended, nothing that
it has under way happens any more (`Database.fence`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from dm_bridge.direct import Journal
from dm_bridge.direct.ledger import DMState
from dm_bridge.errors import StorageError
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
from dm_bridge.store.database import Buried, Connection, Database, storage_error
from dm_bridge.store.instances import Errand
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.people import RequestRow
from dm_bridge.store.portals import GhostRow, PortalRow
from dm_bridge.store.references import Reaction

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
    reference: RemoteId | None = None
    other_id: RemoteId | None = None


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


@dataclass(frozen=True, slots=True)
class InstanceEntry:
    """A row of `instance`."""

    identity: str
    lease: float
    place: str
    process: str
    joined: int
    beat: int = 0


@dataclass(frozen=True, slots=True)
class ShareEntry:
    """A row of `share`."""

    holder: str | None = None
    epoch: int = 0


def heard_once(instance: str) -> int:
    """A process hears every notice."""
    return 1


@dataclass(slots=True)
class Tables:
    """The database itself, which outlives who uses it. Rows are never changed, only replaced.

    ``connected``: names of the processes that are there; ``ended``: of those whose connections another one has
    ended. ``clock``: the database's own, seconds since the epoch. ``hears``: how often a process hears a notice.
    """

    clock: Callable[[], float] = time.time
    connected: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    listeners: list[Listener] = field(default_factory=list)
    hears: Callable[[str], int] = heard_once
    instances: dict[str, InstanceEntry] = field(default_factory=dict)
    shares: dict[UserId, ShareEntry] = field(default_factory=dict)
    errands: dict[int, Errand] = field(default_factory=dict)
    logins: dict[LoginId, LoginRow] = field(default_factory=dict)
    positions: dict[LoginId, str | None] = field(default_factory=dict)
    activated: set[LoginId] = field(default_factory=set)
    ghosts: dict[tuple[NetworkName, ContactId], GhostRow] = field(default_factory=dict)
    sources: dict[UserId, LoginId] = field(default_factory=dict)
    requests: dict[tuple[LoginId, ContactId], RequestRow] = field(default_factory=dict)
    portals: dict[PortalKey, PortalRow] = field(default_factory=dict)
    former: dict[RoomId, PortalKey] = field(default_factory=dict)
    inbox: dict[PortalKey, dict[RemoteId, InboxEntry]] = field(default_factory=dict)
    outbox: dict[EventId, OutboxEntry] = field(default_factory=dict)
    reactions: dict[PortalKey, dict[tuple[EventId, bool, str], Reaction]] = field(
        default_factory=dict
    )
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

    def notify(self, channel: str) -> None:
        """Tell everybody who listens."""
        for listener in list(self.listeners):
            for _ in range(self.hears(listener.instance)):
                listener.hear(channel)

    def disconnect(self, instance: str) -> None:
        """No connection of this process is left."""
        self.connected.discard(instance)
        for listener in [each for each in self.listeners if each.instance == instance]:
            listener.end()


class Listener:
    """A connection that hears notices: as much of asyncpg's as `dm_bridge.store.bell` uses."""

    def __init__(self, tables: Tables, instance: str) -> None:
        self.instance = instance
        self._tables = tables
        self._heard: dict[str, Callable[..., None]] = {}
        self._ended: list[Callable[[object], None]] = []

    def add_termination_listener(self, tell: Callable[[object], None]) -> None:
        """``tell`` is told when somebody else ends the connection."""
        self._ended.append(tell)

    async def add_listener(self, channel: str, tell: Callable[..., None]) -> None:
        """``tell`` is told of every notice."""
        self._heard[channel] = tell
        self._tables.listeners.append(self)

    async def close(self, *, timeout: float) -> None:
        """Hear nothing more."""
        if self in self._tables.listeners:
            self._tables.listeners.remove(self)

    def hear(self, channel: str) -> None:
        """There is a notice."""
        if channel in self._heard:
            self._heard[channel](self, 0, channel, "")

    def end(self) -> None:
        """The connection breaks."""
        if self in self._tables.listeners:
            self._tables.listeners.remove(self)
        for tell in self._ended:
            tell(self)


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
        self._fenced = False
        self.link: Link = link or NoFaults()
        self.tables.connected.add(instance)

    async def close(self) -> None:
        """Nobody of this name is connected any more."""
        self.tables.disconnect(self.instance)

    def _check_alive(self) -> None:
        if self._fenced and self.instance in self.tables.ended:
            raise storage_error(
                ConnectionResetError("the connection was ended by an administrator")
            )

    async def run(self, work: Callable[[], T]) -> T:
        """One statement. Raises `Buried`; a `StorageError`, when it was under way as we were buried."""
        if not self._fenced:
            return await self.link.statement(work)
        if self.instance in self.tables.ended:
            await self.link.statement(lambda: None)
            raise Buried

        def unless_ended() -> T:
            self._check_alive()
            return work()

        return await self.link.statement(unless_ended)

    async def connect_alone(self) -> Any:
        """A `Listener`. Raises `OSError`."""
        try:
            await self.link.statement(lambda: None)
        except StorageError as error:
            raise ConnectionRefusedError(str(error)) from error
        return Listener(self.tables, self.instance)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Statements of the stores of m.direct that belong together; in the block, nothing else is awaited."""
        await self.run(lambda: None)
        self._check_alive()
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
