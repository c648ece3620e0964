"""``dm-bridge queue show``: everything about one row; what people wrote, only when asked.

The rule that must never break: it only looks, and what is written to the bot, passwords too, it never shows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dm_bridge.cli.direct.managed import moment
from dm_bridge.cli.direct.shown import say
from dm_bridge.cli.queue.rows import (
    ROW_ID,
    RowId,
    as_json,
    kind_of,
    may_arrive_twice,
    queue_options,
    reason_of,
    run_with_database,
    span,
)
from dm_bridge.errors import UserError
from dm_bridge.store.queue import QueueRow, QueueStore

if TYPE_CHECKING:
    from dm_bridge.store.database import Database
    from dm_bridge.store.logins import LoginRow

NOT_ASKED = "not shown; --content shows what people wrote"
NO_CHAT = "not shown: it belongs to no chat, and what is written to the bot may hold a password"


@click.command(
    short_help="Tell everything about one row.",
    epilog="Exit codes: 0 done; 1 there is no such row, or failed; 2 wrong usage; 78 wrong configuration.  "
    "Example: dm-bridge queue show in:12",
)
@click.argument("row_id", metavar="ID", type=ROW_ID)
@click.option("--content", is_flag=True, help="Print the stored event too, with what was written.")
@queue_options
def show(row_id: RowId, content: bool, config_path: Path, in_json: bool) -> None:
    """Tell everything about the row ID, as `dm-bridge queue list` calls it.

    What people wrote is left out unless --content asks for it; what belongs to no chat is never printed, because
    it may be a password that somebody sent to the bot.
    """
    from dm_bridge.store.logins import LoginStore

    async def look(database: Database) -> tuple[QueueRow | None, LoginRow | None]:
        row = await QueueStore(database).find(row_id.direction, row_id.seq)
        logins = await LoginStore(database).all()
        return row, next((each for each in logins if row and each.id == row.login), None)

    row, login = run_with_database(config_path, look)
    if row is None:
        raise UserError(f"There is no {row_id}. `dm-bridge queue list` tells what there is.")
    if in_json:
        answer = {
            **as_json(row),
            "before": row.before,
            "owner": None if login is None else login.owner,
            "network": None if login is None else login.network,
            "sender": row.sender,
            "event": row.event,
            "remote": row.remote,
            "content": None,
        }
        if hidden := _hidden(row, content):
            answer["content_not_shown"] = hidden
        else:
            answer["content"] = _event(row)
        click.echo(json.dumps(answer))
        return
    _print(row, login, content=content)


def _hidden(row: QueueRow, asked: bool) -> str | None:
    """Why the content is not shown; None when it is."""
    if row.chat is None:
        return NO_CHAT
    return None if asked else NOT_ASKED


def _event(row: QueueRow) -> Any:
    try:
        return json.loads(row.raw)
    except ValueError:
        return row.raw.decode(errors="backslashreplace")


def _print(row: QueueRow, login: LoginRow | None, *, content: bool) -> None:
    hidden = _hidden(row, content)
    click.secho(f"{row.id}: {row.state}", bold=True)
    fields = [
        ("reason", reason_of(row)),
        ("what", kind_of(row)),
        ("content", f"{len(row.raw):,} bytes, {hidden or 'below'}"),
        ("chat", row.chat),
        ("login", row.login and (f"{login.name} of {login.owner}" if login else row.login)),
        ("network", login and login.network),
        ("room", row.room),
        ("sender", row.sender),
        ("in Matrix", row.event),
        ("remote", row.remote),
        ("received", f"{moment(row.received_at)}"),
        ("put back", None if row.requeued_at is None else moment(row.requeued_at)),
        ("age", span(row.age)),
    ]
    for name, value in fields:
        if value:
            say(f"{name + ':':<10} {value}", 2, hanging=11)
    for sentence in _advice(row):
        say(sentence, 2)
    if hidden is None:
        click.echo()
        click.echo(json.dumps(_event(row), indent=2))  # ASCII: nothing in it can steer a terminal


def _advice(row: QueueRow) -> list[str]:
    match row.state:
        case "waiting":
            turn = f"{row.before:,} before it in its chat wait as well." if row.before else ""
            return [
                turn or "It is the next of its chat.",
                "While the bridge runs it is tried again and again. When there is a reason above, it is why that "
                "did not go well last; the bridge's log says more (“a lane pauses”).",
            ]
        case "parked" | "failed" | "uncertain":
            warning = (
                "It may have been delivered: ask its author before it is tried again, or the contact may "
                "get it twice."
            )
            return [
                *([warning] if may_arrive_twice(row) else []),
                f"When the reason is gone: dm-bridge queue retry {row.id}. To give up: "
                f"dm-bridge queue drop {row.id}",
            ]
        case _:
            return []
