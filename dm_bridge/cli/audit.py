"""``dm-bridge audit``: who did what that matters for safety.

Not to be confused with ``dm-bridge direct audit``, which looks for mistakes in somebody's m.direct.

The rule that must never break: it only looks; and importing this imports no database.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dm_bridge.cli.direct.managed import account_of, moment
from dm_bridge.cli.direct.shown import safe, say
from dm_bridge.cli.queue.rows import queue_options, run_with_database
from dm_bridge.config import Config, load_config
from dm_bridge.errors import StorageError
from dm_bridge.store.audit_log import Act, AuditEntry, AuditStore, about

if TYPE_CHECKING:
    from dm_bridge.store.database import Database

_SPAN = re.compile(r"([0-9]{1,6})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


class _Since(click.ParamType[float]):
    name = "time"

    def convert(self, value: object, param: object, ctx: object) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = _SPAN.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is no length of time. One looks like 30m, 12h or 7d.")
        return float(match[1]) * _SECONDS[match[2]]


@click.command(
    short_help="Show who did what: logins, failures, commands of admins.",
    epilog="Example: dm-bridge audit --user @alice:example.org --since 7d",
)
@queue_options
@click.option("--user", metavar="USER", help="Only what this user did, or what was done to them.")
@click.option("--act", type=click.Choice([act.value for act in Act]), help="Only this act.")
@click.option("--since", type=_Since(), help="Only of so long ago, such as 30m, 12h or 7d.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True,
    help="How many entries at most: the latest.",
)  # fmt: skip
def audit(
    config_path: Path,
    in_json: bool,
    user: str | None,
    act: str | None,
    since: float | None,
    limit: int,
) -> None:
    """Show the audit log, the oldest first: who did what, to whom, by which door.

    It holds logins, logouts and failures, what was refused, commands of admins, what was changed at the command
    line, and nothing that anybody wrote. Whose data were erased is found by --user, and named nowhere.
    """
    names = () if user is None else names_of(load_config(config_path), user)
    after = 0.0 if since is None else time.time() - since

    async def look(database: Database) -> list[AuditEntry]:
        return await AuditStore(database).latest(limit, users=names, act=act, since=after)

    entries = run_with_database(config_path, look)
    if in_json:
        click.echo(json.dumps({"entries": [_as_json(entry) for entry in entries]}))
        return
    for entry in entries:
        subject = "" if entry.subject in (None, entry.actor) else f" → {entry.subject}"
        details = ", ".join(f"{key}: {value}" for key, value in entry.details.items())
        click.echo(
            f"{moment(entry.at)}  {entry.act:<13} {entry.door:<6} {safe(entry.actor + subject)}"
        )
        if details:
            say(details, 25)
    if not entries:
        say("Nothing is recorded that fits.")


def names_of(config: Config, user: str) -> tuple[str, ...]:
    """The names under which the audit log speaks of a user, also after their data were erased."""
    account = account_of(user, config.homeserver.domain)
    path = config.data_dir / "sealing.key"
    digest = None
    if path.is_file():
        from dm_bridge.store.sealing import SealingKey  # takes a while

        try:
            digest = SealingKey.load(path).digest("user", account)
        except StorageError:
            digest = None  # then only what names them is found
    return tuple(about(account, digest))


def _as_json(entry: AuditEntry) -> dict[str, object]:
    return {
        "at": entry.at,
        "actor": entry.actor,
        "act": entry.act,
        "subject": entry.subject,
        "door": entry.door,
        "details": dict(entry.details),
    }
