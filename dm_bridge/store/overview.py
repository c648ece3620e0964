"""All users and logins, page by page, and the processes that have them: for admins.

The rule that must never break: a page costs what is on it, however many users there are.
"""

from __future__ import annotations

from dataclasses import dataclass

from dm_bridge.ids import LoginId, UserId
from dm_bridge.store.database import Database


@dataclass(frozen=True, slots=True)
class Process:
    """One process. ``started``: seconds since the epoch. ``logins``: of its users, that are to be connected."""

    id: str
    version: str
    started: float
    users: int
    logins: int


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """One login, as it is stored. ``holder``: the process that has its user."""

    id: LoginId
    owner: UserId
    network: str
    remote: str
    name: str
    state: str
    reason: str
    holder: str | None

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it is in the order of all."""
        return self.owner, self.network, self.remote


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """One user. ``seen``: when their m.direct was last seen, seconds since the epoch, and ``by``: how."""

    user: UserId
    holder: str | None
    seen: float | None
    by: str
    problem: str


class OverviewStore:
    """Reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def processes(self) -> list[Process]:
        """All processes, the oldest first. Reads one entry of an index for each user and each login."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT i.instance_id, i.version, extract(epoch FROM i.started_at)::float8,
                    (SELECT count(*) FROM share WHERE holder = i.instance_id),
                    (SELECT count(*) FROM share AS s JOIN login AS l ON l.owner = s.user_id
                        WHERE s.holder = i.instance_id AND l.state = 'active')
                FROM instance AS i WHERE i.beat >= 0 ORDER BY i.joined
                """
            )
        return [Process(*row) for row in rows]

    async def logins(
        self,
        limit: int,
        after: tuple[str, str, str] = ("", "", ""),
        search: str = "",
        *,
        broken: bool = False,
    ) -> list[StoredLogin]:
        """Logins by user, network and address, from behind ``after`` on: the `StoredLogin.place` of one.

        ``search``: a part of the user id or of the address. ``broken``: only those that the network refuses.
        """
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT l.login_id, l.owner, l.network, l.remote, l.name, l.state, l.reason, s.holder
                FROM login AS l LEFT JOIN share AS s ON s.user_id = l.owner
                WHERE (l.owner, l.network, l.remote) > ($1, $2, $3)
                    AND ($4 = '' OR strpos(lower(l.owner || ' ' || l.remote), lower($4)) > 0)
                    AND (NOT $5 OR l.state = 'bad_credentials')
                ORDER BY l.owner, l.network, l.remote LIMIT $6
                """,
                *(*after, search, broken, limit),
            )
        return [
            StoredLogin(LoginId(login), UserId(owner), *others) for login, owner, *others in rows
        ]

    async def accounts(self, limit: int, after: str = "") -> list[StoredAccount]:
        """Users by their ids, from behind ``after`` on."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT s.user_id, s.holder, extract(epoch FROM a.observed_at)::float8,
                    coalesce(a.observed_by, ''), coalesce(a.refused, '')
                FROM share AS s LEFT JOIN direct_account AS a ON a.account = s.user_id
                WHERE s.user_id > $1 ORDER BY s.user_id LIMIT $2
                """,
                after,
                limit,
            )
        return [StoredAccount(UserId(user), *others) for user, *others in rows]
