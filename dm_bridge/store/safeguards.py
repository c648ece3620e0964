"""Rows of `stopped_user` and `login_failure`: whom an admin has stopped, and which accounts were tried in vain.

The rule that must never break: a try at an account is recorded before the network is asked, so that however many
are made at the same time, in however many processes, none is beyond the number.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dm_bridge.ids import UserId
from dm_bridge.store.database import Database
from dm_bridge.store.reasons import storable

WINDOW = 3600.0
"""Seconds for which a try in vain counts."""
OF_ALL = 4
"""How many times as many tries as one user all users together have at one account."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Who has stopped a user, and why. ``at``: seconds since the epoch."""

    by: str
    reason: str
    at: float


class SafeguardStore:
    """Reads and writes them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stop(self, user: UserId, by: str, reason: str) -> None:
        """Record that ``by`` has stopped a user. Raises `StorageError`."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                INSERT INTO stopped_user (user_id, by, reason) VALUES ($1, $2, $3)
                ON CONFLICT (user_id) DO UPDATE SET by = EXCLUDED.by, reason = EXCLUDED.reason, at = now()
                """,
                *(user, by, storable(reason)),
            )

    async def allow(self, user: UserId) -> bool:
        """Take that back; whether they were stopped."""
        async with self._database.connection() as connection:
            gone = await connection.fetchval(
                "DELETE FROM stopped_user WHERE user_id = $1 RETURNING true", user
            )
        return bool(gone)

    async def stopped(self, users: Collection[UserId] | None = None) -> dict[UserId, Stop]:
        """Who of ``users``, or of all, is stopped."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT user_id, by, reason, extract(epoch FROM at)::float8 FROM stopped_user
                WHERE $1::text[] IS NULL OR user_id = ANY($1) ORDER BY user_id
                """,
                None if users is None else list(users),
            )
        return {UserId(user): Stop(by, reason, at) for user, by, reason, at in rows}

    async def try_account(self, account: bytes, by: bytes, most: int) -> tuple[int, float]:
        """Count a try of ``by`` at an account, as one in vain. Returns its number and 0.

        Or 0 and the seconds until there is one: after ``most`` in `WINDOW`, or `OF_ALL` times as many of all.
        """
        async with self._database.transaction() as connection:
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(encode($1, 'hex'), 16))", account
            )
            rows = await connection.fetch(
                """
                SELECT by = $2 AS own, extract(epoch FROM statement_timestamp() - at)::float8 AS age
                FROM login_failure WHERE account = $1
                    AND at > statement_timestamp() - make_interval(secs => $3) ORDER BY at
                """,
                *(account, by, WINDOW),
            )
            ages = [row["age"] for row in rows]
            own = [row["age"] for row in rows if row["own"]]
            wait = max(_wait(own, most), _wait(ages, OF_ALL * most))
            if wait:
                return 0, wait
            seq: int = await connection.fetchval(
                "INSERT INTO login_failure (account, by) VALUES ($1, $2) RETURNING seq", account, by
            )
        return seq, 0.0

    async def not_in_vain(self, seq: int) -> None:
        """The network was not asked, or has not answered: the try does not count."""
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM login_failure WHERE seq = $1", seq)

    async def succeeded(self, account: bytes) -> None:
        """Somebody has logged in to the account: forget what was tried before."""
        async with self._database.connection() as connection:
            await connection.execute("DELETE FROM login_failure WHERE account = $1", account)

    async def prune(self) -> None:
        """Remove what does not count any more."""
        async with self._database.connection() as connection:
            await connection.execute(
                "DELETE FROM login_failure WHERE at < now() - make_interval(secs => $1)", WINDOW
            )


def _wait(ages: list[float], most: int) -> float:
    """Seconds until fewer than ``most`` of these, the oldest first, count."""
    return 0.0 if len(ages) < most else max(1.0, WINDOW - ages[len(ages) - most])
