"""Reading a pushed transaction: bytes in, events out. Pure.

The rule that must never break: a body that a homeserver may really send is never refused for one
odd event in it; a body that it cannot have sent is refused whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.ephemeral import Ephemeral, parse_ephemeral

Json = dict[str, Any]

MAX_IDENTIFIER = 255
"""Longest event id, room id, user id and event type, in bytes (specification, "Size limits")."""

_EPHEMERAL = ("ephemeral", "de.sorunome.msc2409.ephemeral")
"""Under which names a homeserver sends what is no event."""


class BadTransaction(ValueError):
    """The body is no transaction. ``errcode``: the Matrix error code to answer with."""

    def __init__(self, errcode: str, message: str) -> None:
        super().__init__(message)
        self.errcode = errcode


@dataclass(frozen=True, slots=True)
class PushedEvent:
    """An event with everything a queue needs; ``raw`` is all of it."""

    id: EventId
    room: RoomId
    sender: UserId
    type: str
    raw: Json


@dataclass(frozen=True, slots=True)
class Transaction:
    """``odd``: how many events lacked an id, a room, a sender or a type and were passed over."""

    events: tuple[PushedEvent, ...]
    odd: int
    ephemeral: tuple[Ephemeral, ...] = ()


def parse_transaction(body: bytes) -> Transaction:
    """Read the body of ``PUT /_matrix/app/v1/transactions/{txnId}``. Raises `BadTransaction`."""
    content = _loads(body)
    if not isinstance(content, dict):
        raise BadTransaction("M_BAD_JSON", "The body must be a JSON object.")
    events = _objects(content, "events", required=True)
    besides = [item for key in _EPHEMERAL for item in _objects(content, key, required=False)]
    parsed = [_event(event) for event in events]
    good = tuple(event for event in parsed if event is not None)
    return Transaction(good, len(parsed) - len(good), tuple(parse_ephemeral(besides)))


def _objects(content: Json, key: str, *, required: bool) -> list[Json]:
    value = content.get(key, None if required else [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadTransaction("M_BAD_JSON", f"`{key}` must be a list of objects.")
    return value


def _event(event: Json) -> PushedEvent | None:
    fields = [event.get(key) for key in ("event_id", "room_id", "sender", "type")]
    if not all(isinstance(field, str) and _is_identifier(field) for field in fields):
        return None
    event_id, room, sender, event_type = (str(field) for field in fields)
    return PushedEvent(EventId(event_id), RoomId(room), UserId(sender), event_type, event)


def _is_identifier(text: str) -> bool:
    return 0 < len(text.encode()) <= MAX_IDENTIFIER and "\0" not in text


def _loads(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    # orjson refuses lone surrogates and endless numbers, which other parsers let through.
    try:
        return _without_surrogates(json.loads(body, parse_constant=_refuse, parse_int=_number))
    except RecursionError:
        raise BadTransaction("M_BAD_JSON", "The body is nested too deeply.") from None
    except ValueError as error:
        raise BadTransaction("M_NOT_JSON", "The body is not JSON.") from error


def _number(text: str) -> int | float:
    value = float(text)
    return int(text) if abs(value) < 2**63 else value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_without_surrogates(item) for item in value]
        case dict():
            return {
                _without_surrogates(key): _without_surrogates(item) for key, item in value.items()
            }
        case _:
            return value
