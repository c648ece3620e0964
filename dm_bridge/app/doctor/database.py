"""The database: whether it is there, new enough, ours to change, and of the right schema.

The rule that must never break: it only looks; no schema is made or upgraded, and an embedded server that was not
running is stopped again.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass

from dm_bridge.app import offline
from dm_bridge.app.doctor.findings import Answer, Finding, mend, note, ok
from dm_bridge.config import Config
from dm_bridge.errors import StorageError
from dm_bridge.store.database import Database
from dm_bridge.store.embedded import EmbeddedPostgres
from dm_bridge.store.logins import LoginRow, LoginState, LoginStore
from dm_bridge.store.looking import DatabaseFacts, look
from dm_bridge.store.schema import latest_revision, revision, revisions

ABOUT, SCHEMA, RIGHTS = "database", "schema", "database rights"
OLDEST = 14
NEEDED_CONNECTIONS = 12
"""What a process of the bridge opens."""


@dataclass(frozen=True, slots=True)
class Known:
    """``logins``: those that count; empty while there is no schema of ours. ``facts``: None without a database."""

    facts: DatabaseFacts | None
    logins: tuple[LoginRow, ...] = ()


async def check(config: Config) -> Answer[Known]:
    """Raises `StorageError`."""
    async with AsyncExitStack() as stack:
        if config.database.embedded:
            if not offline.exists(config.data_dir / "postgres"):
                return Answer((_not_made(config),), Known(None))
            offline.check_embedded(config.data_dir / "postgres")
            postgres = await EmbeddedPostgres.start(config.data_dir)
            stack.push_async_callback(postgres.stop)
            url = postgres.url
        else:
            url = config.database.url.get_secret_value()
        database = await Database.open(url, size=1)
        stack.push_async_callback(database.close)
        facts = await look(database)
        findings = judge(facts, embedded=config.database.embedded)
        if not facts.readable:
            return Answer(tuple(findings), Known(facts))
        found = await revision(url)
        logins: list[LoginRow] = []
        if found == latest_revision():
            logins = await LoginStore(database).all()
        active = tuple(row for row in logins if row.state is not LoginState.LOGGED_OUT)
    findings.append(judge_schema(found, revisions(), running=facts.bridged))
    return Answer(tuple(findings), Known(facts, active))


def _not_made(config: Config) -> Finding:
    return ok(
        ABOUT,
        f"The embedded PostgreSQL is not made yet; the first start makes it in {config.data_dir}.",
    )


def judge(facts: DatabaseFacts, *, embedded: bool) -> list[Finding]:
    """The server, and what we may do there."""
    whose = "The embedded PostgreSQL" if embedded else "PostgreSQL"
    pooled = ", through a pooler in transaction mode" if facts.pooled else ""
    findings = []
    if facts.number < OLDEST * 10_000:
        findings.append(
            mend(
                ABOUT,
                f"{whose} has version {facts.version}; the bridge needs {OLDEST}. Upgrade it.",
            )
        )
    elif facts.encoding != "UTF8":
        findings.append(
            mend(
                ABOUT,
                f"The database has the encoding {facts.encoding}, in which not everything that people write can "
                "be "
                "stored. Create one with ENCODING 'UTF8', as docs/admin.md shows, and set database.url to it.",
            )
        )
    elif not facts.bridged and facts.free < NEEDED_CONNECTIONS and not facts.pooled:
        findings.append(
            mend(
                ABOUT,
                f"PostgreSQL has {max(facts.free, 0)} connections left; the bridge takes up to "
                f"{NEEDED_CONNECTIONS}. "
                "Raise max_connections, or stop what holds so many.",
            )
        )
    else:
        findings.append(ok(ABOUT, f"{whose} {facts.version} answers{pooled}."))
    if facts.pooled:
        findings.append(
            note(
                ABOUT,
                "A pooler such as PgBouncer is between the bridge and PostgreSQL. That works, and costs round "
                "trips; connect directly where you can.",
            )
        )
    findings.append(_judge_rights(facts))
    return findings


def _judge_rights(facts: DatabaseFacts) -> Finding:
    if facts.read_only:
        return mend(
            RIGHTS,
            "The database is read-only: perhaps a standby, or its disk was full. Set database.url to the server "
            "that may be written.",
        )
    if not facts.may_create:
        return mend(
            RIGHTS,
            "The user in database.url may not create tables, which the bridge does when it is upgraded. Make it "
            "the "
            "owner: ALTER DATABASE name OWNER TO user; ALTER SCHEMA public OWNER TO user.",
        )
    if facts.foreign:
        return mend(
            RIGHTS,
            "Tables of the bridge belong to another role than the user in database.url, so they cannot be "
            "upgraded. "
            "Hand them over: REASSIGN OWNED BY that_role TO user.",
        )
    return ok(RIGHTS, "The bridge may read, write and create tables.")


def judge_schema(found: str | None, known: Collection[str], *, running: bool) -> Finding:
    """``known``: the revisions of this program, in their order."""
    latest = list(known)[-1]
    if found is None:
        return ok(SCHEMA, "The database is empty; the first start makes the tables.")
    if found not in known:
        return mend(
            SCHEMA,
            f"The database has schema {found}, which this version of dm_bridge does not know (it knows up to "
            f"{latest}): a newer version has used it. Upgrade dm_bridge.",
        )
    if found != latest:
        more = " A bridge of the version before runs still; restart it." if running else ""
        return mend(
            SCHEMA,
            f"The database has schema {found}; this version needs {latest}. Run `dm-bridge migrate`, or start the "
            f"bridge, which does it by itself.{more}",
        )
    return ok(SCHEMA, f"The schema is up to date ({latest}).")


def away(error: StorageError | TimeoutError, seconds: float) -> Finding:
    """When the database cannot be looked at."""
    if isinstance(error, StorageError):
        return mend(ABOUT, error.message)
    return mend(
        ABOUT,
        f"PostgreSQL did not answer within {seconds:g} seconds. Check that it runs, that it is not overloaded, "
        "and "
        "that database.url is right.",
    )
