"""``dm-bridge queue list``: what waits, and what was put aside.

The rule that must never break: it only looks, and however much waits, it reads and prints no more than was
asked for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dm_bridge.cli.direct.shown import safe, say
from dm_bridge.cli.queue.rows import (
    DIRECTIONS,
    TITLES,
    as_json,
    kind_of,
    queue_options,
    reason_of,
    run_with_database,
    span,
)
from dm_bridge.store.queue import Depth, Direction, QueueRow, QueueStore

if TYPE_CHECKING:
    from dm_bridge.store.database import Database

EXIT_PARKED = 3
SHOWN = 50
_ORDER = ("parked", "uncertain", "failed", "waiting")
_HISTORY = ("uncertain", "failed")
"""These only become more: the latest are what somebody asks about."""


@click.command(
    "list",
    short_help="List what is parked and what waits.",
    epilog="Exit codes: 0 nothing is parked; 3 something is; 1 failed; 2 wrong usage; 78 wrong configuration.  "
    "Example, what is not carried to the networks: dm-bridge queue list --direction out --state failed",
)
@queue_options
@click.option(
    "--direction",
    type=click.Choice(sorted(DIRECTIONS)),
    help="Only what networks brought (in), or what is to reach them (out).",
)
@click.option(
    "--state",
    "states",
    type=click.Choice(_ORDER),
    multiple=True,
    help="Only these; may be repeated. failed: not delivered to the network, and its author was told so. "
    "uncertain: likewise, but it may have been delivered.  [default: parked and waiting]",
)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 10_000),
    default=SHOWN,
    show_default=True,
    help="How many rows to list at most; what is parked comes first. Of what is parked or waits, the oldest; "
    "of what failed or is uncertain, the latest.",
)
@click.pass_context
def list_rows(
    ctx: click.Context,
    config_path: Path,
    in_json: bool,
    direction: str | None,
    states: tuple[str, ...],
    limit: int,
) -> None:
    """List what is parked and what waits to be carried, in both directions, without what people wrote."""
    directions = list(Direction) if direction is None else [DIRECTIONS[direction]]
    wanted = [state for state in _ORDER if state in (states or ("parked", "waiting"))]

    async def look(database: Database) -> tuple[list[Depth], list[QueueRow]]:
        store = QueueStore(database)
        rows: list[QueueRow] = []
        for state in wanted:
            for queue in directions:
                if state in queue.states and len(rows) <= limit:
                    rows += await store.rows(
                        queue, state, limit + 1 - len(rows), latest_first=state in _HISTORY
                    )
        return await store.depths(), rows

    depths, rows = run_with_database(config_path, look)
    depths = [depth for depth in depths if depth.direction in directions]
    more = len(rows) > limit
    del rows[limit:]
    if in_json:
        counts = [
            {
                "direction": depth.direction.value,
                "state": depth.state,
                "rows": depth.rows,
                "oldest": round(depth.oldest, 1),
            }
            for depth in depths
        ]
        answer = {"counts": counts, "rows": [as_json(row) for row in rows], "more": more}
        click.echo(json.dumps(answer))
    else:
        _print(depths, rows, more=more)
    parked = any(depth.rows for depth in depths if depth.state == "parked")
    ctx.exit(EXIT_PARKED if parked else 0)


def _print(depths: list[Depth], rows: list[QueueRow], *, more: bool) -> None:
    for direction in dict.fromkeys(depth.direction for depth in depths):
        parts = [
            f"{depth.rows:,} {depth.state}"
            + (f" (the oldest for {span(depth.oldest)})" if depth.rows else "")
            for depth in depths
            if depth.direction is direction
        ]
        say(f"{TITLES[direction]}: {', '.join(parts)}.")
    if rows:
        click.echo()
    for row in rows:
        where = row.chat or row.room or ""
        click.echo(f"{row.id:<12} {row.state:<9} {span(row.age):>7}  {safe(where)}")
        say(kind_of(row) + (f": {reason_of(row)}" if row.reason else ""), 13)
    if more:
        say("There are more: --limit lists more of them, --state and --direction fewer.")
    if any(row.state == "parked" for row in rows):
        click.echo()
        say(
            "`dm-bridge queue show ID` tells more, `retry ID` tries again once the reason is gone, and `drop ID` "
            "gives up."
        )
