"""Rows of `audit_log`: who did what that matters for safety.

The rule that must never break: no secret and nothing that people wrote is recorded, and what is recorded is
never changed; it is removed when it is too old, or when the user whom it is about has their data erased.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from dm_bridge.ids import UserId
from dm_bridge.store.reasons import storable

if TYPE_CHECKING:  # commands name our types before they need a database
    from dm_bridge.store.database import Connection, Database

Detail = str | int | bool
MAX_DETAILS = 12
MAX_DETAIL = 300
"""Details of one entry, and characters of one of them."""
ERASED = "erased "
"""What the subject of an entry begins with that speaks of a user without naming them."""


class Act(enum.StrEnum):
    """What was done."""

    LOGIN = "login"
    LOGIN_FAILED = "login-failed"
    LOGIN_REFUSED = "login-refused"
    """By the bridge: a limit, or an admin who has stopped the user."""
    LOGOUT = "logout"
    REFUSED = "refused"
    """Somebody asked for what they may not do."""
    ADMIN = "admin"
    """A command for admins was used."""
    STOPPED = "stopped"
    ALLOWED = "allowed"
    SECRET_USED = "secret-used"  # noqa: S105 - the name of an act, no secret
    """Somebody acted for a user with the shared secret of the provisioning API."""
    SIGN_IN = "sign-in"
    TOKEN_GIVEN = "token-given"  # noqa: S105
    TOKEN_REMOVED = "token-removed"  # noqa: S105
    EXPORTED = "exported"
    ERASE_ASKED = "erase-asked"
    ERASED = "erased"
    QUEUE = "queue"
    """A row of a queue was put back, or given up, at the command line."""
    DIRECT = "direct"
    """Somebody's m.direct was changed at the command line."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. ``actor``: a user id, or ``admin NAME`` at the command line. ``subject``: whom it is about.

    ``door``: ``bot``, ``api``, ``page``, ``cli`` or ``bridge``. ``at``: seconds since the epoch.
    """

    actor: str
    act: str
    subject: str | None
    door: str
    details: Mapping[str, Detail]
    at: float = 0.0
    seq: int = 0


class AuditStore:
    """Adds, reads and prunes entries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, entry: AuditEntry, connection: Connection | None = None) -> None:
        """Record an act, within a transaction where ``connection`` is in one. Raises `StorageError`."""
        if connection is None:
            async with self._database.connection() as own:
                await self.add(entry, own)
            return
        await connection.execute(
            "INSERT INTO audit_log (actor, act, subject, door, details) VALUES ($1, $2, $3, $4, $5)",
            storable(entry.actor),
            entry.act,
            None if entry.subject is None else storable(entry.subject),
            entry.door,
            details_text(entry.details),
        )

    async def latest(
        self,
        limit: int,
        *,
        users: Sequence[str] = (),
        act: str | None = None,
        since: float = 0.0,
    ) -> list[AuditEntry]:
        """The last ``limit`` entries, oldest first: by or about one of ``users``, of one act, since a time."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                f"""
                SELECT * FROM (
                    SELECT actor, act, subject, door, details, extract(epoch FROM at)::float8 AS at, seq
                    FROM audit_log
                    WHERE at >= to_timestamp($1) AND ($2::text IS NULL OR act = $2)
                        {_ABOUT if users else "AND cardinality($4::text[]) = 0"}
                    ORDER BY seq DESC LIMIT $3
                ) AS latest ORDER BY seq
                """,
                since,
                act,
                limit,
                list(users),
            )
        return [
            AuditEntry(actor, act, subject, door, orjson.loads(details), at, seq)
            for actor, act, subject, door, details, at, seq in rows
        ]

    async def prune(self, days: float) -> int:
        """Remove what is older than so many days; how much that was. At most 10,000 entries at once."""
        async with self._database.connection() as connection:
            gone = await connection.fetch(
                """
                DELETE FROM audit_log WHERE seq IN (
                    SELECT seq FROM audit_log WHERE at < now() - make_interval(secs => $1)
                    ORDER BY at LIMIT 10000
                ) RETURNING seq
                """,
                days * 86400.0,
            )
        return len(gone)


_ABOUT = "AND (subject = ANY($4::text[]) OR actor = ANY($4::text[]))"


def details_text(details: Mapping[str, Detail]) -> str:
    """Details as they are stored: few, and short."""
    kept = list(details.items())[:MAX_DETAILS]
    short = {
        key: value if isinstance(value, bool | int) else storable(str(value))[:MAX_DETAIL]
        for key, value in kept
    }
    return orjson.dumps(short).decode()


def erased_subject(digest: bytes) -> str:
    """How an entry speaks of a user whose data were erased. ``digest``: `SealingKey.digest` of their id."""
    return ERASED + digest.hex()[:32]


def about(user: UserId, digest: bytes | None) -> list[str]:
    """The names under which entries about ``user`` may stand."""
    return [user] if digest is None else [user, erased_subject(digest)]
