"""An ``m.direct`` document: what somebody wrote, and how to change one entry of it.

``m.direct`` is account data of the shape ``{"@user:server": ["!room", ...]}`` (client-server
specification, "Direct Messaging"). Homeservers store any JSON object, so anything may stand
beside what the specification describes: other values, other keys, junk inside lists.

The rule that must never break: an edit changes the keys that it names, and nothing else. What it
does not name comes out as it went in: values, order, duplicates, malformed or not. A document
that could not be written back unchanged is not a document here, it is `Malformed`.

Two things are told apart throughout. The *entries* are the well-formed (user id, room id) pairs: a
set, because order and duplicates carry no meaning to any client. The *rest* is everything else.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeGuard, TypeVar, assert_never

from dm_bridge.ids import MAX_USER_ID_BYTES, RoomId, UserId

Entry = tuple[UserId, RoomId]
"""One mark: the room is a direct chat with the user."""

MAX_DEPTH = 100
"""Levels of nesting, the document's own object included; beyond it a document is `Malformed`."""

_SERVER = r"(?:[0-9A-Za-z.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_USER_ID = re.compile(rf"@[^:\0\ud800-\udfff]+:{_SERVER}")
_ROOM_ID = re.compile(r"![^\s\0\ud800-\udfff]+")
_MAX_ROOM_ID_BYTES = 255


_Key = TypeVar("_Key", bound=str)
_Item = TypeVar("_Item", bound=str)


class _Rooms(tuple[RoomId, ...]):
    """A list of room ids and nothing else: what strict parsers accept. Recognised once, in `parse`."""

    __slots__ = ()


_ABSENT: Any = object()
"""What no document holds: ``None`` it may hold."""

_Frozen = str | int | float | bool | None | tuple["_Frozen", ...] | Mapping[str, "_Frozen"]


class MalformedReason(enum.Enum):
    """Why something is no ``m.direct`` document that could be written back."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    DUPLICATE_KEY = "duplicate_key"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    TOO_DEEP = "too_deep"

    @property
    def sentence(self) -> str:
        """What is wrong, as a clause: "it ..."."""
        match self:
            case MalformedReason.NOT_JSON:
                return "it is not JSON"
            case MalformedReason.NOT_AN_OBJECT:
                return "it is not a JSON object"
            case MalformedReason.DUPLICATE_KEY:
                return "one of its keys appears twice, so that readers disagree about what it says"
            case MalformedReason.NUMBER_OUT_OF_RANGE:
                return "it contains a number that cannot be written back unchanged"
            case MalformedReason.TOO_DEEP:
                return f"it is nested more than {MAX_DEPTH} levels deep"
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True)
class Malformed:
    """An answer of the homeserver that must never be written back, nor built upon."""

    reason: MalformedReason


@dataclass(frozen=True, slots=True)
class NotSet:
    """The homeserver said, with ``404 M_NOT_FOUND``, that the account has no ``m.direct``."""


@dataclass(frozen=True, slots=True, eq=False)
class DirectDocument:
    """An immutable document. It shares nothing mutable with what it was made from or gives out."""

    _values: Mapping[str, _Frozen] = field(
        default_factory=lambda: MappingProxyType({}),
        repr=False,  # it lists whom a person talks to
    )

    @staticmethod
    def parse(raw: bytes | str | Mapping[str, Any]) -> DirectDocument | Malformed:
        """The document in ``raw``: JSON text, or the same already parsed into plain Python values.

        Text is the better source: only text still shows a key that appears twice.
        """
        try:
            if isinstance(raw, bytes | str):
                raw = json.loads(raw, object_pairs_hook=_unique)
            frozen = _freeze(raw, MAX_DEPTH)
        except _Unwritable as error:
            return Malformed(error.reason)
        except RecursionError:
            return Malformed(MalformedReason.TOO_DEEP)
        except ValueError:
            return Malformed(MalformedReason.NOT_JSON)
        if not isinstance(frozen, Mapping):
            return Malformed(MalformedReason.NOT_AN_OBJECT)
        values = {key: _recognise(value) for key, value in frozen.items()}
        return DirectDocument(MappingProxyType(values))

    def content(self) -> dict[str, Any]:
        """The document as fresh plain values.

        Integers may exceed 64 bits; `to_json` writes them, not every encoder does.
        """
        return {key: _thaw(value) for key, value in self._values.items()}

    def to_json(self) -> str:
        """The document as ASCII JSON text: what to PUT. `parse` reads it back unchanged."""
        return json.dumps(self.content(), allow_nan=False, separators=(",", ":"))

    def entries(self) -> frozenset[Entry]:
        """The well-formed entries."""
        return frozenset(
            (UserId(key), room)
            for key, value in self._values.items()
            if isinstance(value, tuple) and is_user_id(key)
            for room in _rooms(value)
        )

    def keys_of(self, rooms: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Under which keys, user ids or not, each of ``rooms`` stands, in the document's order.

        Rooms that stand nowhere are absent. ``rooms``: a collection with a fast ``in``.
        """
        found: dict[str, tuple[str, ...]] = {}
        if not rooms:
            return found
        for key, value in self._values.items():
            if type(value) is not _Rooms:
                value = (
                    tuple(item for item in value if isinstance(item, str))
                    if isinstance(value, tuple)
                    else ()
                )
            for item in value:
                if item in rooms:
                    if item not in found:
                        found[item] = (key,)
                    elif key not in found[item]:
                        found[item] = (*found[item], key)
        return found

    def unsound(self) -> list[str]:
        """The keys whose value a strict parser refuses: anything but a list of room ids.

        One of them makes such clients ignore the whole document.
        """
        return [key for key, value in self._values.items() if type(value) is not _Rooms]

    def is_spoiled(self, key: str) -> bool:
        """Whether something stands under ``key`` that is no list at all."""
        return key in self._values and not isinstance(self._values[key], tuple)

    def keeps_empty_lists(self) -> bool:
        """Whether there is an empty list: then whoever wrote this down does not clear them away."""
        return () in self._values.values()

    def names(self, key: str) -> bool:
        """Whether anything stands under ``key``, be it an empty list."""
        return key in self._values

    def is_emptied(self, key: str) -> bool:
        """Whether an empty list stands under ``key``."""
        return self._values.get(key) == ()

    def same_meaning(self, other: DirectDocument) -> bool:
        """Whether both have the same entries, and the same rest.

        Order of keys, order and duplicates of entries, and empty lists under user ids carry no
        meaning. Of the rest, every value counts exactly: ``1``, ``1.0`` and ``true`` differ.
        """
        return self.entries() == other.entries() and self._rest() == other._rest()

    def reads_like(self, other: DirectDocument) -> bool:
        """Whether both say the same in the same words: but for the order of keys, nothing was touched."""
        return dict(self._values) == dict(other._values)

    def _rest(self) -> dict[str, str]:
        """Per key, as canonical text, what `entries` leaves out."""
        rest: dict[str, str] = {}
        for key, value in self._values.items():
            remainder = value
            if isinstance(value, tuple) and is_user_id(key):
                remainder = tuple(item for item in value if not is_room_id(item))
                if not remainder:
                    continue
            rest[key] = json.dumps(_thaw(remainder), sort_keys=True)
        return rest

    def keys_unlike(self, other: DirectDocument) -> set[str]:
        """Every key whose value differs between both, and perhaps some whose value does not."""
        ours, theirs = dict(self._values), dict(other._values)
        # elsewhere than in lists of rooms, ``==`` says too little: 1 == True
        unlike = {
            key
            for key, value in ours.items()
            if (their := theirs.get(key, _ABSENT)) is not value
            and not (type(value) is _Rooms and type(their) is _Rooms and value == their)
        }
        if len(theirs) != len(ours) or not unlike.isdisjoint(ours.keys() - theirs.keys()):
            unlike |= theirs.keys() - ours.keys()
        return unlike

    def atoms_of(self, key: str) -> frozenset[tuple[str, str]]:
        """What stands under ``key``: room ids, and the rest as canonical JSON text, each with the key."""
        if key not in self._values:
            return frozenset()
        value = self._values[key]
        atoms: set[tuple[str, str]] = set()
        if isinstance(value, tuple) and is_user_id(key):
            atoms.update((key, room) for room in _rooms(value))
            value = tuple(item for item in value if not is_room_id(item))
            if not value:
                return frozenset(atoms)
        atoms.add((key, json.dumps(_thaw(value), sort_keys=True)))
        return frozenset(atoms)

    def patch(
        self,
        add: Collection[tuple[str, str]],
        remove: Collection[tuple[str, str]],
        source: DirectDocument,
    ) -> DirectDocument:
        """The document with these atoms (`atoms_of`) of ``source`` added, and those removed.

        Gentle, because the keys belong to others: items keep their order, duplicates and junk, and new
        rooms come last. Where something other than rooms has to be added, the value of ``source`` is
        taken whole. Rooms cannot be added where no list stands; what stands there stays.
        """
        values = dict(self._values)
        come_to, gone_from = _by_key(sorted(add)), _by_key(sorted(remove))
        for key in dict.fromkeys((*gone_from, *come_to)):
            come, gone = come_to.get(key, {}), gone_from.get(key, {})
            value = values.get(key, ())
            if not all(item.startswith("!") for item in (*come, *gone)):
                stayed = _rooms(value) if isinstance(value, tuple) and is_user_id(key) else ()
                come = dict.fromkeys((*(room for room in stayed if room not in gone), *come))
                value = source._values.get(key, ())
            if isinstance(value, tuple):
                items = [item for item in value if not (isinstance(item, str) and item in gone)]
                present = {item for item in items if isinstance(item, str)}
                new = sorted(item for item in come if item.startswith("!") and item not in present)
                value = (*items, *new)
            if value == () and "[]" not in come:
                values.pop(key, None)
            else:
                values[key] = _recognise(value)
        return DirectDocument(MappingProxyType(values))

    def edit(self, *, ensure: Iterable[Entry] = (), drop: Iterable[Entry] = ()) -> DirectDocument:
        """The document in which every entry of ``ensure`` stands, and none of ``drop``.

        A key of ``ensure`` is ours: it becomes a list of room ids, each once, in the order they
        had, with new ones at the end; whatever else stood there goes. A key of ``drop`` alone
        loses just these rooms, and goes only if that empties it. Every other key stays as it is.

        Raises `ValueError` for an ill-formed entry that would have to be added, and for an entry
        that is named on both sides.
        """
        ensured, dropped = _by_key(ensure), _by_key(drop)
        values = dict(self._values)
        for key, gone in dropped.items():
            if not gone.keys().isdisjoint(ensured.get(key, {})):
                raise ValueError(f"an entry cannot be both ensured and dropped: {key!r}")
            value = values.get(key)
            if not isinstance(value, tuple):
                continue
            kept = tuple(item for item in value if not isinstance(item, str) or item not in gone)
            if kept or not value or key in ensured:
                values[key] = _recognise(kept)
            else:
                del values[key]
        for key, rooms in ensured.items():
            value = values.get(key)
            if value == tuple(rooms):
                continue
            if not is_user_id(key) or not all(map(is_room_id, rooms)):
                raise ValueError(f"not an entry of m.direct: {key!r}, {list(rooms)!r}")
            present = _rooms(value) if isinstance(value, tuple) else ()
            values[key] = _Rooms(dict.fromkeys((*present, *rooms)))
        return DirectDocument(MappingProxyType(values))


def is_user_id(text: str) -> bool:
    """Whether ``text`` is a user id, historical localparts included (specification, appendices)."""
    return (
        _USER_ID.fullmatch(text) is not None
        and len(text) <= MAX_USER_ID_BYTES
        and (text.isascii() or len(text.encode()) <= MAX_USER_ID_BYTES)
    )


def is_room_id(value: object) -> TypeGuard[RoomId]:
    """Whether ``value`` is a room id: ``!`` and an opaque rest, in every room version."""
    return (
        isinstance(value, str)
        and _ROOM_ID.fullmatch(value) is not None
        and len(value) <= _MAX_ROOM_ID_BYTES
        and (value.isascii() or len(value.encode()) <= _MAX_ROOM_ID_BYTES)
    )


def _recognise(value: _Frozen) -> _Frozen:
    if not isinstance(value, tuple):
        return value
    rooms = [item for item in value if is_room_id(item)]
    return _Rooms(rooms) if len(rooms) == len(value) else value


def _rooms(items: tuple[_Frozen, ...]) -> Iterable[RoomId]:
    return items if isinstance(items, _Rooms) else filter(is_room_id, items)


def _by_key(entries: Iterable[tuple[_Key, _Item]]) -> dict[_Key, dict[_Item, None]]:
    """Entries, or atoms, grouped by key; the inner dict is a set that keeps its order."""
    grouped: dict[_Key, dict[_Item, None]] = {}
    for key, room in entries:
        grouped.setdefault(key, {})[room] = None
    return grouped


class _Unwritable(Exception):
    def __init__(self, reason: MalformedReason) -> None:
        super().__init__(reason)
        self.reason = reason


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Unwritable(MalformedReason.DUPLICATE_KEY)
    return members


def _freeze(value: object, depth: int) -> _Frozen:
    """An immutable copy of a JSON value; ``depth``: how many levels of containers it may have."""
    if type(value) is str or type(value) is int or type(value) is bool or value is None:
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise _Unwritable(MalformedReason.NUMBER_OUT_OF_RANGE)
        return value
    if isinstance(value, list | tuple | Mapping):
        if depth == 0:
            raise _Unwritable(MalformedReason.TOO_DEEP)
        if not isinstance(value, Mapping):
            return tuple(_freeze(item, depth - 1) for item in value)
        if all(type(key) is str for key in value):
            frozen = {key: _freeze(item, depth - 1) for key, item in value.items()}
            return MappingProxyType(frozen)
    raise _Unwritable(MalformedReason.NOT_JSON)


def _thaw(value: _Frozen) -> Any:
    if isinstance(value, tuple):
        return [_thaw(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _thaw(item) for key, item in value.items()}
    return value
