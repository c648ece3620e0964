"""``dm-bridge direct replay``: play a trace through the engine, and print what it decides.

The rule that must never break: the answer to a line is written and flushed before the next line is
read, so that a program can play move by move.
"""

from __future__ import annotations

import json
import sys
from typing import Any, BinaryIO

import click

from dm_bridge.direct.replay import Replay
from dm_bridge.errors import UserError
from dm_bridge.ids import UserId

_KEY_TWICE = b'{"": 0, "": 0}'
"""Stands for content with a key that appears twice, which no Python value can show."""


@click.command(
    short_help="Play a trace through the engine, without a bridge or a homeserver.",
    epilog="Example: dm-bridge direct replay trace.jsonl",
)
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--never-key",
    "never_keys",
    metavar="USER",
    multiple=True,
    help="A user of the bridge who is nobody's contact, such as its bot; may be given several times.",
)
def replay(file: BinaryIO, never_keys: tuple[str, ...]) -> None:
    """Play the operations in FILE, or on standard input, and answer each `observe`.

    One JSON object a line, in both directions; empty lines and lines that begin with # are skipped.

    \b
    {"op": "manage", "room": ROOM, "ghost": GHOST}   keep ROOM marked under GHOST
    {"op": "retire", "room": ROOM}                   ROOM is no longer bridged
    {"op": "rename", "ghost": OLD, "to": NEW}        the contact has a new id
    {"op": "replace", "room": OLD, "to": NEW}        OLD was upgraded to NEW
    {"op": "opt_out", "room": ROOM}                  the user does not want ROOM as a direct chat
    {"op": "opt_in", "room": ROOM}                   the user wants it again
    {"op": "observe", "content": {…}, "at": SECONDS} this stands in m.direct; null: nothing was ever set

    Each `observe` is answered with {"action": "keep" | "put" | "refuse", "content": what to write,
    "opted_out": [rooms], "reasons": […]}. A `put` counts as written unless the next `observe` shows
    otherwise. It stops at the first line that makes no sense.
    """
    player = Replay(never_keys=frozenset(map(UserId, never_keys)))
    number = 0
    while line := file.readline():
        number += 1
        text = _text(line, number)
        if not text or text.startswith("#"):
            continue
        try:
            answer = player.play(_operation(text))
        except UserError as error:
            raise UserError(f"Line {number}: {error.message}") from error
        if answer is not None:
            sys.stdout.write(json.dumps(answer, allow_nan=False) + "\n")
            sys.stdout.flush()


def _text(line: bytes, number: int) -> str:
    try:
        text = line.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise UserError(f"Line {number}: this is not UTF-8 text.") from error
    return (text.removeprefix("\N{BYTE ORDER MARK}") if number == 1 else text).strip()


class _Repetitive(dict[str, Any]):
    """A JSON object in which a key appears twice."""


def _operation(text: str) -> Any:
    """The operation in a line; content that says something twice becomes content that is refused for it."""
    try:
        operation = json.loads(text, object_pairs_hook=_members, parse_int=_integer)
    except RecursionError as error:
        raise UserError("This is nested too deeply to be read.") from error
    except ValueError as error:
        raise UserError(f"This is not a JSON object: {error}.") from error
    if isinstance(operation, _Repetitive):
        raise UserError("A field of the operation appears twice.")
    if isinstance(operation, dict) and _is_repetitive(operation.get("content")):
        return {**operation, "content": _KEY_TWICE}
    return operation


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _Repetitive(members)


def _integer(digits: str) -> int | float:
    """An integer; one too long for Python to convert is as good as infinite, and refused like that."""
    try:
        return int(digits)
    except ValueError:
        return float("inf")


def _is_repetitive(value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(value, _Repetitive) or any(map(_is_repetitive, value.values()))
    return isinstance(value, list) and any(map(_is_repetitive, value))
