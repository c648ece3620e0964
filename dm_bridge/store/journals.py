"""Rows of `direct_account` and `direct_version`: what is remembered of each account's document.

The rule that must never break: one writer per account. A decision is recorded only by the process
that holds the account's lease, and only if nothing was recorded since it read; and a write is recorded
before it is made.
"""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from dm_bridge.direct import DirectDocument, Journal, Source, Version
from dm_bridge.direct.journal import Struggle
from dm_bridge.direct.saved import version_detail, version_of
from dm_bridge.errors import StorageError
from dm_bridge.ids import UserId
from dm_bridge.store.database import Connection, Database
from dm_bridge.texts import phrase

LEASE = 10.0
"""Seconds for which a process may write for an account without asking again."""
CACHED = 256


class Busy(StorageError):
    """Another process writes for this account just now."""

    def __init__(self, account: UserId) -> None:
        super().__init__(
            phrase("storage-busy", account=account),
            retry_after=1.0,
        )


@dataclass(frozen=True, slots=True)
class Remembered:
    """An account's journal, and the revision it was read at."""

    journal: Journal
    revision: int
    head: bytes | None = None
    """The head as JSON text, as it is stored."""


@dataclass(frozen=True, slots=True)
class Seen:
    """When an account's document was last seen (seconds since the epoch), and how.

    ``refused``: what keeps it from being right, as a sentence, or nothing.
    """

    at: float | None
    source: str
    refused: str


class JournalStore:
    """Reads and writes journals, as one writer (``writer``: a name that no other process has).

    ``is_instance``: we are one of the processes in `instance`; we give way as soon as we are buried. Any other
    writer that is named after its database connections, as by default, gives way as soon as none of them is left:
    then the program has died. (Behind a pooler connections say nothing, and the lease has to run out.)
    """

    def __init__(
        self, database: Database, writer: str | None = None, *, is_instance: bool = False
    ) -> None:
        self._database = database
        name = f"{database.instance}/{secrets.token_hex(4)}"
        if is_instance:
            name = f"instance {name}"
        elif database.pooled:
            name = f"pooled {name}"
        self._writer = writer or name
        self._cache: OrderedDict[UserId, Remembered] = OrderedDict()

    async def claim(self, account: UserId) -> Remembered:
        """Become the account's writer, for `LEASE` seconds, and remember. Raises `Busy`."""
        async with self._database.connection() as connection:
            revision = await connection.fetchval(
                """
                INSERT INTO direct_account (account, writer, lease_until)
                VALUES ($1, $2, now() + make_interval(secs => $3))
                ON CONFLICT (account) DO UPDATE
                SET writer = EXCLUDED.writer, lease_until = EXCLUDED.lease_until
                WHERE direct_account.lease_until < now() OR direct_account.writer = EXCLUDED.writer
                    OR (direct_account.writer LIKE 'dm_bridge %/%' AND NOT EXISTS (
                        SELECT 1 FROM pg_stat_activity
                        WHERE application_name = split_part(direct_account.writer, '/', 1)))
                    OR (direct_account.writer LIKE 'instance %/%' AND NOT EXISTS (
                        SELECT 1 FROM instance
                        WHERE instance_id = substr(split_part(direct_account.writer, '/', 1), 10)))
                RETURNING revision
                """,
                account,
                self._writer,
                LEASE,
            )
            if revision is None:
                raise Busy(account)
            cached = self._cache.get(account)
            if cached is None or cached.revision != revision:
                cached = await _read(connection, account)
        self._remember(account, cached)
        return cached

    async def release(self, account: UserId) -> None:
        """Let another process be the account's writer."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE direct_account SET lease_until = '-infinity' WHERE account = $1 AND writer = $2",
                account,
                self._writer,
            )

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
        """Record ``after`` within a transaction, and prolong the lease. Raises `Busy`.

        ``refused``: what keeps the document from being right; None when that is as it was.
        """
        head = before.head if after.head is before.journal.head else _text(after.head)
        known = {version.seq: version for version in before.journal.versions}
        new = [v for v in after.versions if known.get(v.seq) is not v]
        changed = (
            head != before.head
            or bool(new)
            or len(after.versions) != len(known)
            or after.doubt is not before.journal.doubt
            or after.struggles != before.journal.struggles
        )
        row = await connection.fetchrow(
            """
            UPDATE direct_account SET refused = coalesce($4, refused),
                observed_at = now(), observed_by = $5, revision = revision + $6::int,
                lease_until = now() + make_interval(secs => $7)
            WHERE account = $1 AND writer = $2 AND revision = $3
            RETURNING revision
            """,
            account,
            self._writer,
            before.revision,
            refused,
            source.value,
            int(changed),
            LEASE,
        )
        if row is None:
            self._cache.pop(account, None)
            raise Busy(account)
        if changed:
            await self._store(connection, account, after, head, new)
        return Remembered(replace(after, echoes=True), row["revision"], head)

    async def _store(
        self,
        connection: Connection,
        account: UserId,
        journal: Journal,
        head: bytes | None,
        new: list[Version],
    ) -> None:
        await connection.execute(
            "UPDATE direct_account SET head = $2, doubt = $3, struggles = $4 WHERE account = $1",
            account,
            head,
            _text(journal.doubt),
            _struggles(journal.struggles),
        )
        await connection.execute(
            "DELETE FROM direct_version WHERE account = $1 AND (seq < $2 OR seq > $3)",
            account,
            journal.versions[0].seq if journal.versions else 0,
            journal.seq,
        )
        if new:
            await connection.executemany(
                """
                INSERT INTO direct_version (account, seq, at, source, detail) VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (account, seq) DO UPDATE
                SET at = EXCLUDED.at, source = EXCLUDED.source, detail = EXCLUDED.detail
                """,
                [(account, v.seq, v.at, v.source.value, _detail(v)) for v in new],
            )

    def recorded(self, account: UserId, remembered: Remembered) -> None:
        """The transaction of `record` was committed."""
        self._remember(account, remembered)

    def sending(self, account: UserId, remembered: Remembered) -> None:
        """The write that ``remembered`` ends with is about to be made."""
        self._remember(account, replace(remembered, journal=remembered.journal.sending()))

    def not_sent(self, account: UserId, remembered: Remembered) -> None:
        """It surely was not made."""
        self._remember(account, replace(remembered, journal=remembered.journal.untried()))

    async def written(self, account: UserId, remembered: Remembered) -> None:
        """The homeserver has accepted the write that ``remembered`` ends with.

        We go on doubting it until we see it, because what answers our reads may lag behind. Whoever reads
        the journal after us, if we die before that, comes late enough to believe it.
        """
        attempted = replace(remembered.journal.sending(), attempted=True)
        self._remember(account, replace(remembered, journal=attempted))
        async with self._database.connection() as connection:
            await connection.execute(
                """
                UPDATE direct_account SET doubt = NULL
                WHERE account = $1 AND writer = $2 AND revision = $3
                """,
                account,
                self._writer,
                remembered.revision,
            )

    async def trouble(self, account: UserId, sentence: str) -> None:
        """The document could not be read or written: ``sentence`` says why, until it is kept again."""
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE direct_account SET refused = $2 WHERE account = $1 AND refused <> $2",
                account,
                sentence,
            )

    async def read(self, account: UserId) -> Journal:
        """The account's journal, to look at."""
        async with self._database.connection() as connection:
            return (await _read(connection, account)).journal

    async def seen(self, account: UserId) -> Seen:
        """When and how the account's document was last seen."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(
                """
                SELECT extract(epoch FROM observed_at)::float8 AS at, observed_by, refused
                FROM direct_account WHERE account = $1
                """,
                account,
            )
        return Seen(None, "", "") if row is None else Seen(*row)

    async def last_seen(self, accounts: Collection[UserId] | None = None) -> dict[UserId, float]:
        """For every account whose document was ever seen, or those of ``accounts``, when that was last."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(
                """
                SELECT account, extract(epoch FROM observed_at)::float8 FROM direct_account
                WHERE observed_at IS NOT NULL AND ($1::text[] IS NULL OR account = ANY($1))
                """,
                None if accounts is None else list(accounts),
            )
        return {UserId(account): at for account, at in rows}

    async def at_peace(self, account: UserId) -> None:
        """Forget what was fought over: somebody asked to try again."""
        async with self._database.connection() as connection:
            await connection.execute(
                """
                UPDATE direct_account SET struggles = '{}', revision = revision + 1
                WHERE account = $1 AND struggles <> '{}'
                """,
                account,
            )

    def forget(self, account: UserId) -> None:
        """The account's rows were removed: what is remembered of them does not count."""
        self._cache.pop(account, None)

    def _remember(self, account: UserId, remembered: Remembered) -> None:
        self._cache[account] = remembered
        self._cache.move_to_end(account)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)


async def _read(connection: Connection, account: UserId) -> Remembered:
    row = await connection.fetchrow(  # one statement: all as it is at one moment
        """
        SELECT head, doubt, struggles, revision,
            array(SELECT seq FROM direct_version WHERE account = $1 ORDER BY seq) AS seqs,
            array(SELECT at FROM direct_version WHERE account = $1 ORDER BY seq) AS times,
            array(SELECT source FROM direct_version WHERE account = $1 ORDER BY seq) AS sources,
            array(SELECT detail FROM direct_version WHERE account = $1 ORDER BY seq) AS details
        FROM direct_account WHERE account = $1
        """,
        account,
    )
    if row is None:
        return Remembered(Journal(), 0)
    versions = zip(row["seqs"], row["times"], row["sources"], row["details"], strict=True)
    struggles = {
        what: Struggle(times, at) for what, (times, at) in json.loads(row["struggles"]).items()
    }
    journal = Journal(
        _document(row["head"]),
        tuple(_version(*version) for version in versions),
        _document(row["doubt"]),
        echoes=True,  # the keeper always reads back what it wrote
        attempted=False,  # a process that has died may not have come to it
        struggles=MappingProxyType(struggles),
    )
    return Remembered(journal, row["revision"], row["head"])


def _document(text: bytes | None) -> DirectDocument | None:
    document = None if text is None else DirectDocument.parse(text)
    assert document is None or isinstance(document, DirectDocument)
    return document


def _text(document: DirectDocument | None) -> bytes | None:
    return None if document is None else document.to_json().encode()


def _struggles(struggles: Mapping[str, Struggle]) -> bytes:
    return json.dumps({what: (s.times, s.at) for what, s in struggles.items()}).encode()


def _detail(version: Version) -> bytes:
    return json.dumps(version_detail(version), separators=(",", ":")).encode()


def _version(seq: int, at: float, source: str, detail: bytes) -> Version:
    return version_of(seq, at, source, json.loads(detail))
