"""``dm-bridge queue retry`` and ``drop``: put back what was put aside, or give it up.

The rule that must never break: nothing that was delivered is touched; and where something may have been, whoever
tries it again is told so.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dm_bridge.cli.direct.shown import safe, say, warn
from dm_bridge.cli.queue.rows import (
    DIRECTIONS,
    ROW_ID,
    RowId,
    may_arrive_twice,
    queue_options,
    run_with_database,
)
from dm_bridge.cli.recording import record
from dm_bridge.errors import UserError
from dm_bridge.store.audit_log import Act
from dm_bridge.store.queue import ASIDE, BEGINNING, Direction, QueueStore

if TYPE_CHECKING:
    from dm_bridge.store.database import Database

PAGE = 500
NAMED = 20
_LONGEST_REASON = 200

_all = click.option("--all", "everything", is_flag=True, help="All that is parked.")
_ids = click.argument("row_ids", metavar="[ID]...", nargs=-1, type=ROW_ID)
_direction = click.option(
    "--direction",
    type=click.Choice(sorted(DIRECTIONS)),
    help="With --all: only what networks brought (in), or what is to reach them (out).",
)


class _Outcome:
    """What was changed, and why the rest was not."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        self.left: dict[str, str] = {}
        self.uncertain: list[str] = []


@click.command(
    short_help="Try again what was put aside.",
    epilog="Exit codes: 0 all of it was put back; 1 some was not, or failed; 2 wrong usage; 78 wrong "
    "configuration.  Examples: dm-bridge queue retry in:12 out:7; dm-bridge queue retry --all --direction in",
)
@_ids
@_all
@_direction
@queue_options
@click.pass_context
def retry(
    ctx: click.Context,
    row_ids: tuple[RowId, ...],
    everything: bool,
    direction: str | None,
    config_path: Path,
    in_json: bool,
) -> None:
    """Put the rows ID, or all that is parked, back in the queue, where they were in their chats.

    A bridge that runs notices within seconds; one that does not run carries them when it starts. What failed, and
    what is uncertain, is put back only by its id: its author was told, and may have sent it again.
    """
    _check_usage(row_ids, everything, direction)

    async def work(database: Database) -> _Outcome:
        store = QueueStore(database)
        await record(database, Act.QUEUE, None, _recorded("retry", row_ids))
        if everything:
            return await _everything(store, direction, store.requeue)
        return await _each(store, row_ids)

    outcome = run_with_database(config_path, work)
    if in_json:
        _echo_json("retried", outcome)
    else:
        if outcome.uncertain:
            warn(
                f"{_named(outcome.uncertain)} may have been delivered before: the contact may get it twice."
            )
        _say_changed("put back", outcome)
        if outcome.changed:
            say(
                "A bridge that runs notices within seconds. What cannot be carried is parked again."
            )
    ctx.exit(1 if outcome.left else 0)


@click.command(
    short_help="Give up what was put aside, or what waits.",
    epilog="Exit codes: 0 all of it was dropped; 1 some was not, or failed; 2 wrong usage; 78 wrong "
    "configuration.  Example: dm-bridge queue drop in:12 --reason 'spam' --yes",
)
@_ids
@_all
@_direction
@click.option("--reason", default="", metavar="TEXT", help="Why; it is kept with the row.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@queue_options
@click.pass_context
def drop(
    ctx: click.Context,
    row_ids: tuple[RowId, ...],
    everything: bool,
    direction: str | None,
    reason: str,
    yes: bool,
    config_path: Path,
    in_json: bool,
) -> None:
    """Mark the rows ID, or all that is parked, as dropped. They are not carried any more; this cannot be undone.

    It asks first. Authors are told only where a notice says that their message waits: it says then that the
    bridge has stopped trying. What waits is dropped only by its id. A bridge that is just carrying it may
    deliver it all the same; then it counts as delivered.
    """
    _check_usage(row_ids, everything, direction)
    if len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise click.UsageError(f"A reason is one line of at most {_LONGEST_REASON} characters.")
    if not yes:
        _ask(config_path, row_ids, direction, in_json=in_json)

    async def work(database: Database) -> _Outcome:
        store = QueueStore(database)
        await record(database, Act.QUEUE, None, _recorded("drop", row_ids))
        if everything:
            return await _everything(
                store, direction, lambda queue, seqs: store.drop(queue, seqs, reason, waiting=False)
            )
        return await _each(store, row_ids, reason)

    outcome = run_with_database(config_path, work)
    if in_json:
        _echo_json("dropped", outcome)
    else:
        _say_changed("dropped", outcome)
    ctx.exit(1 if outcome.left else 0)


def _recorded(what: str, row_ids: tuple[RowId, ...]) -> dict[str, str | int | bool]:
    rows = " ".join(map(str, row_ids[:NAMED])) if row_ids else "all that is parked"
    return {"command": what, "rows": rows, "n": len(row_ids)}


def _check_usage(row_ids: tuple[RowId, ...], everything: bool, direction: str | None) -> None:
    if everything == bool(row_ids):
        raise click.UsageError(
            "Name rows (`dm-bridge queue list` tells their ids), or say --all; not both."
        )
    if direction is not None and not everything:
        raise click.UsageError("--direction needs --all: an id says its direction already.")


def _ask(
    config_path: Path, row_ids: tuple[RowId, ...], direction: str | None, *, in_json: bool
) -> None:
    """Ask whether to drop. Raises `UserError` when the answer is not yes."""
    if in_json:
        raise click.UsageError("With --json, say --yes: there is nobody to ask.")
    if row_ids:
        number = len(set(row_ids))
        what = ", ".join(map(str, row_ids)) if number <= NAMED else f"{number:,} rows"
    else:
        number = run_with_database(config_path, lambda database: _parked(database, direction))
        what = f"all that is parked ({number:,})"
    if not number:
        return
    try:
        click.confirm(f"Drop {what}? It cannot be undone.", abort=True)
    except click.Abort:
        raise UserError("Nothing was dropped. --yes asks nothing.") from None


async def _parked(database: Database, direction: str | None) -> int:
    queues = list(Direction) if direction is None else [DIRECTIONS[direction]]
    return sum(
        depth.rows
        for depth in await QueueStore(database).depths()
        if depth.state == "parked" and depth.direction in queues
    )


async def _everything(
    store: QueueStore,
    direction: str | None,
    change: Callable[[Direction, list[int]], Awaitable[set[int]]],
) -> _Outcome:
    """Change all that is parked, the earliest first, some at a time; what is parked again meanwhile is left."""
    outcome = _Outcome()
    for queue in Direction if direction is None else [DIRECTIONS[direction]]:
        after = BEGINNING
        while rows := await store.rows(queue, "parked", PAGE, after=after):
            after = rows[-1].seq
            changed = await change(queue, [row.seq for row in rows])
            outcome.changed += [row.id for row in rows if row.seq in changed]
            outcome.uncertain += [
                row.id for row in rows if row.seq in changed and may_arrive_twice(row)
            ]
    return outcome


async def _each(
    store: QueueStore, row_ids: tuple[RowId, ...], reason: str | None = None
) -> _Outcome:
    """Put rows back; with a reason, drop them."""
    outcome = _Outcome()
    for row_id in sorted(set(row_ids), key=lambda each: (each.direction.value, each.seq)):
        name, queue, seq = str(row_id), row_id.direction, row_id.seq
        row = await store.find(queue, seq)
        if row is None:
            outcome.left[name] = "there is no such row"
            continue
        if reason is not None:
            waits = row.state == "waiting"
            done = (waits or row.state in ASIDE) and await store.drop(
                queue, [seq], reason, waiting=waits
            )
        else:
            done = row.state in ASIDE and await store.requeue(queue, [seq])
        if done:
            outcome.changed.append(name)
            if may_arrive_twice(row):
                outcome.uncertain.append(name)
        elif row.state == "waiting" and reason is None:
            outcome.left[name] = "it waits already"
        elif row.state == "waiting" or row.state in ASIDE:
            outcome.left[name] = "it has just changed; look again"
        else:
            outcome.left[name] = f"it is {row.state} already"
    return outcome


def _echo_json(name: str, outcome: _Outcome) -> None:
    left = [{"id": row_id, "why": why} for row_id, why in outcome.left.items()]
    answer = {name: outcome.changed, "left": left}
    if name == "retried":
        answer["may_arrive_twice"] = outcome.uncertain
    click.echo(json.dumps(answer))


def _named(row_ids: list[str]) -> str:
    more = len(row_ids) - NAMED
    return ", ".join(row_ids[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _say_changed(what: str, outcome: _Outcome) -> None:
    number = len(outcome.changed)
    if number:
        say(f"{number:,} {what}: {_named(outcome.changed)}.")
    elif not outcome.left:
        say("Nothing is parked.")
    for row_id, why in outcome.left.items():
        click.echo(f"dm-bridge: {row_id} was left as it is: {safe(why)}.", err=True)
