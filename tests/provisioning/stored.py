"""What the API finds in the database about deliveries and for admins, as the tests want it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from dm_bridge.bridge.logins import Logins
from dm_bridge.ids import LoginId, PortalKey, RoomId, UserId
from dm_bridge.store.logins import LoginRow, LoginState
from dm_bridge.store.overview import Process, StoredAccount, StoredLogin
from dm_bridge.store.queue import Depth, Direction, QueueRow
from dm_bridge.store.undelivered import Stuck, Undelivered


@dataclass
class Stored:
    """In the place of the stores of deliveries, of stamps, of queues and of the overview.

    ``written``, ``brought`` and ``long``: by user. ``gone``: users that another process has. ``stamped``: how
    often the stamps were read.
    """

    logins_here: Logins
    written: dict[UserId, list[Undelivered]] = field(default_factory=dict)
    brought: dict[UserId, list[Stuck]] = field(default_factory=dict)
    long: dict[UserId, list[Stuck]] = field(default_factory=dict)
    woken: list[set[RoomId]] = field(default_factory=list)
    gone: set[UserId] = field(default_factory=set)
    stamps: int = 0
    stamped: int = 0
    homeserver_problem: str | None = None
    spaces: dict[LoginId, RoomId] = field(default_factory=dict)

    async def of(self, user: UserId, seconds: float, limit: int) -> list[Undelivered]:
        return self.written.get(user, [])

    async def not_shown(self, user: UserId, limit: int) -> list[Stuck]:
        return self.brought.get(user, [])

    async def waiting(self, user: UserId, seconds: float, limit: int) -> list[Stuck]:
        return self.long.get(user, [])

    async def put_back(self, user: UserId, seqs: Collection[int]) -> set[int]:
        rows = self.written.get(user, [])
        self.written[user] = [row for row in rows if row.seq not in seqs]
        return {row.seq for row in rows if row.seq in seqs}

    async def show_again(self, user: UserId, seqs: Collection[int]) -> dict[int, PortalKey]:
        rows = self.brought.get(user, [])
        self.brought[user] = [row for row in rows if row.seq not in seqs]
        return {row.seq: PortalKey(row.login, row.contact) for row in rows if row.seq in seqs}  # type: ignore[arg-type]

    async def wake(self, rooms: set[RoomId]) -> None:
        self.woken.append(rooms)

    async def spaces_of(self, user: UserId) -> dict[LoginId, RoomId]:
        return self.spaces

    async def stamp(self, user: UserId) -> str:
        self.stamped += 1
        return str(self.stamps)

    async def healthy(self) -> bool:
        return True

    async def depths(self) -> list[Depth]:
        return [Depth(Direction.TO_REMOTE, "parked", 1, 60.0)]

    async def rows(
        self, direction: Direction, state: str, limit: int, *, latest_first: bool = False
    ) -> list[QueueRow]:
        if direction is Direction.TO_MATRIX:
            return []
        row = QueueRow(
            direction,
            7,
            state,
            "too odd",
            1.0,
            None,
            60.0,
            None,
            None,
            None,
            None,
            None,
            None,
            b"",
            0,
        )
        return [replace(row, raw=b"a secret")]

    async def processes(self) -> list[Process]:
        return [Process("this one", "1.0", 1.0, 2, 1), Process("another", "1.0", 2.0, 1, 1)]

    async def logins(
        self,
        limit: int,
        after: tuple[str, str, str] = ("", "", ""),
        search: str = "",
        *,
        broken: bool = False,
    ) -> list[StoredLogin]:
        rows: list[LoginRow] = []
        for user in ("@juliet:example.org", "@nurse:example.org"):
            rows += self.logins_here.of(UserId(user))
        found = [
            StoredLogin(
                *(row.id, row.owner, row.network, row.remote, row.name, row.state.value, ""),
                "this one",
            )
            for row in rows
        ]
        other = StoredLogin(
            LoginId("zz"),
            UserId("@paris:example.org"),
            "fake",
            "paris",
            "Paris",
            LoginState.ACTIVE.value,
            "",
            "another",
        )
        return [each for each in (*found, other) if each.place > after][:limit]

    async def accounts(self, limit: int, after: str = "") -> list[StoredAccount]:
        users = [("@juliet:example.org", "this one"), ("@paris:example.org", "another")]
        return [
            StoredAccount(UserId(user), holder, 5.0, "read", "")
            for user, holder in users
            if user > after
        ][:limit]
