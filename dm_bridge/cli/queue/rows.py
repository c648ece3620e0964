"""What the commands about the queues share: ids, how they run, and how a row is described.

The rule that must never break: what people wrote is not part of a description, nor what a reason may quote of it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from dm_bridge.cli.options import config_option
from dm_bridge.config import load_config
from dm_bridge.ops.logging import configure_logging
from dm_bridge.store.queue import Direction, QueueRow

if TYPE_CHECKING:
    from dm_bridge.store.database import Database

_LONGEST_TYPE = 100
_LARGEST_SEQ = 2**63 - 1
_ID = re.compile(r"(in|out):(-?[0-9]{1,19})")
_REPR = re.compile(r"([A-Za-z_][\w.]*)\(.*\)", re.DOTALL)
_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_Result = TypeVar("_Result")

DIRECTIONS = {direction.letter: direction for direction in Direction}
TITLES = {Direction.TO_MATRIX: "To Matrix", Direction.TO_REMOTE: "To the networks"}


class RowId(NamedTuple):
    """What a person calls a row."""

    direction: Direction
    seq: int

    def __str__(self) -> str:
        return f"{self.direction.letter}:{self.seq}"


class _RowIdType(click.ParamType[RowId]):
    name = "id"

    def convert(self, value: Any, param: Any, ctx: Any) -> RowId:
        if isinstance(value, RowId):
            return value
        match = _ID.fullmatch(value)
        if match is None or abs(int(match[2])) > _LARGEST_SEQ:
            self.fail(
                f"{value!r} is no id of a queue. One looks like in:12 or out:12; "
                "`dm-bridge queue list` tells them.",
                param,
                ctx,
            )
        return RowId(DIRECTIONS[match[1]], int(match[2]))


ROW_ID = _RowIdType()


def queue_options(command: _Decorated) -> _Decorated:
    """``-c`` and ``--json``, passed as ``config_path`` and ``in_json``."""
    in_json = click.option("--json", "in_json", is_flag=True, help="Answer with one JSON object.")
    return config_option("The configuration file of the bridge.")(in_json(command))


def run_with_database(config_path: Path, work: Callable[[Database], Awaitable[_Result]]) -> _Result:
    """Run ``work`` beside the bridge, or without it."""
    config = load_config(config_path)
    configure_logging("warning", config.logging.format)
    from dm_bridge.app.offline import offline_database

    async def run() -> _Result:
        async with offline_database(config) as database:
            return await work(database)

    return asyncio.run(run())


def reason_of(row: QueueRow) -> str:
    """Why the row is where it is; without what an error of our own may quote."""
    match = _REPR.fullmatch(row.reason)
    if match is None:
        return row.reason
    return f"an error of the bridge itself, {match[1]}; its log has the details"


def kind_of(row: QueueRow) -> str:
    """What sort of thing a row is, in words."""
    try:
        event = json.loads(row.raw)
    except ValueError:
        return "what cannot be read"
    if row.direction is Direction.TO_MATRIX:
        own = "message of the user's own, from another device"
        return {
            "message": own if event.get("from_self") else "message",
            "failure": "word that a message was not delivered",
            "moved": "word that the contact has a new address",
        }.get(event.get("kind"), "what this version does not know")
    content = event.get("content")
    message = content.get("msgtype") if isinstance(content, dict) else None
    names = [str(name) for name in (event.get("type"), message) if name is not None]
    return f"event {' '.join(names)}"[:_LONGEST_TYPE]


def may_arrive_twice(row: QueueRow) -> bool:
    """Whether it is a message to the network that may have been delivered before it was put aside."""
    if row.direction is Direction.TO_MATRIX or row.state not in ("uncertain", "parked"):
        return False
    try:
        return bool(json.loads(row.raw).get("type") == "m.room.message")
    except ValueError:
        return False


def as_json(row: QueueRow) -> dict[str, Any]:
    """A row as a JSON object, without what people wrote."""
    return {
        "id": row.id,
        "direction": row.direction.value,
        "state": row.state,
        "reason": reason_of(row),
        "chat": row.chat,
        "login": row.login,
        "room": row.room,
        "kind": kind_of(row),
        "bytes": len(row.raw),
        "received_at": row.received_at,
        "put_back_at": row.requeued_at,
        "age": round(row.age, 1),
    }


def span(seconds: float) -> str:
    """A length of time, roughly."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
