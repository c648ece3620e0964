"""What an audit finds in an ``m.direct`` document, and what becomes of the document when it is mended.

The rule that must never break: `repaired` changes what the chosen findings name, and nothing else.
Every other key, value, order and repetition comes out as it went in.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dm_bridge.direct.document import DirectDocument, Entry, Malformed, is_room_id

Pair = tuple[str, str]
"""A key of the document, user id or not, and a room id that stands under it."""


class Kind(enum.Enum):
    """What sort of thing is wrong; the value is its name for machines."""

    LEFT = "left"
    REMOVED = "removed"
    GONE = "gone"
    SPACE = "space"
    UPGRADED = "upgraded"
    BOT_KEY = "bot_key"
    OWN_KEY = "own_key"
    NOT_A_MEMBER = "not_a_member"
    SEVERAL_TARGETS = "several_targets"
    UNMARKED = "unmarked"
    VALUE_NOT_A_LIST = "value_not_a_list"
    NOT_ROOM_IDS = "not_room_ids"
    KEY_NOT_A_USER = "key_not_a_user"
    DUPLICATES = "duplicates"
    EMPTY_LIST = "empty_list"

    @property
    def title(self) -> str:
        """A heading."""
        return _TITLES[self][0]

    @property
    def why(self) -> str:
        """Why it matters, and to which clients, in a sentence or two."""
        return _TITLES[self][1]


_TITLES = {
    Kind.LEFT: (
        "Rooms that you have left",
        "Harmless in clients that check; others, and bridges, take it for your chat with that person.",
    ),
    Kind.REMOVED: (
        "Rooms that you were removed or banned from",
        "Clients that do not check offer it as your chat with that person, but you cannot write there.",
    ),
    Kind.GONE: (
        "Rooms that you are not in, or that do not exist",
        "Nobody can open such a chat; clients that do not check choose it for that person and fail.",
    ),
    Kind.SPACE: (
        "Spaces marked as chats",
        "A space is no chat: clients list it among your people, or show a chat that cannot be used.",
    ),
    Kind.UPGRADED: (
        "Chats that were upgraded to a new room",
        "Clients show the new room as an ordinary one, or one chat twice, until the mark follows.",
    ),
    Kind.BOT_KEY: (
        "Chats marked as chats with a bot",
        "Clients show the bot's name and picture instead of the contact's; Element X takes a room with two "
        "targets for no direct chat at all.",
    ),
    Kind.OWN_KEY: (
        "Chats marked as chats with yourself",
        "Clients show you as your own contact; Element X takes a room with two targets for no direct "
        "chat at all.",
    ),
    Kind.NOT_A_MEMBER: (
        "Chats under somebody who is not in the room",
        "Clients show the wrong person, and offer this room when you want to write to them.",
    ),
    Kind.SEVERAL_TARGETS: (
        "Chats under several people",
        "Element X and other clients of the Rust SDK take a room for a direct chat only if it stands under "
        "exactly one person.",
    ),
    Kind.UNMARKED: (
        "Rooms that look like direct chats and are not marked",
        "Clients list them among the rooms, with the notifications of rooms, and may start a second chat.",
    ),
    Kind.VALUE_NOT_A_LIST: (
        "Values that are no lists of rooms",
        "Strict clients (Element X, everything on the Rust SDK or mautrix) then ignore all your direct chats.",
    ),
    Kind.NOT_ROOM_IDS: (
        "Lists with things that are no room ids",
        "Strict clients (Element X, everything on the Rust SDK or mautrix) then ignore all your direct chats.",
    ),
    Kind.KEY_NOT_A_USER: (
        "Keys that are no user ids",
        "No client can tell whom such a chat is with; some strict ones then ignore all your direct chats.",
    ),
    Kind.DUPLICATES: (
        "Rooms listed more than once",
        "Harmless to most clients; some show such a chat twice.",
    ),
    Kind.EMPTY_LIST: (
        "People without a chat",
        "Harmless: an empty list that a client left behind.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and the edit that mends it.

    ``sure``: the mending follows from what the homeserver says; otherwise it is a matter of judgement.
    ``said``: what is wrong, one sentence. The edit, applied in this order: the values of ``drop_keys``
    go whole; from the lists of ``drop_junk`` goes what is no room id; ``remove`` takes every
    occurrence of a room from a key's list; of ``dedupe`` keys each room stays once; ``add``
    ensures entries. A list that this empties goes with its key. An edit can be empty: then there is
    nothing that could be proposed.
    """

    kind: Kind
    sure: bool
    said: str
    rooms: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    remove: tuple[Pair, ...] = ()
    add: tuple[Entry, ...] = ()
    drop_keys: tuple[str, ...] = ()
    drop_junk: tuple[str, ...] = ()
    dedupe: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What is wrong and why it matters."""
        return f"{self.said} {self.kind.why}"

    @property
    def mendable(self) -> bool:
        """Whether there is an edit to apply."""
        return bool(self.remove or self.add or self.drop_keys or self.drop_junk or self.dedupe)


def repaired(document: DirectDocument, chosen: Iterable[Finding]) -> DirectDocument:
    """The document after the edits of the ``chosen`` findings, in any combination."""
    edit = _Edit()
    for finding in chosen:
        edit.include(finding)
    content = document.content()
    for key in edit.touched():
        value = edit.apply(key, content.get(key, _ABSENT))
        if value is _ABSENT:
            content.pop(key, None)
        else:
            content[key] = value
    result = DirectDocument.parse(content)
    assert not isinstance(result, Malformed)  # parts of a document, and entries
    return result


class _Absent:
    pass


_ABSENT = _Absent()


class _Edit:
    """The edits of several findings, by key."""

    def __init__(self) -> None:
        self._dropped: set[str] = set()
        self._junk: set[str] = set()
        self._dedupe: set[str] = set()
        self._remove: dict[str, set[str]] = {}
        self._add: dict[str, dict[str, None]] = {}

    def include(self, finding: Finding) -> None:
        self._dropped.update(finding.drop_keys)
        self._junk.update(finding.drop_junk)
        self._dedupe.update(finding.dedupe)
        for key, room in finding.remove:
            self._remove.setdefault(key, set()).add(room)
        for user, room in finding.add:
            self._add.setdefault(user, {})[room] = None

    def touched(self) -> Iterable[str]:
        """The keys that change, in an order that depends on the findings alone."""
        touched = (sorted(self._dropped | self._junk | self._dedupe), self._remove, self._add)
        return dict.fromkeys(key for keys in touched for key in keys)

    def apply(self, key: str, value: Any) -> Any:
        if key in self._dropped:
            value = _ABSENT
        added = self._add.get(key, {})
        if not isinstance(value, list):
            return list(added) if added else value
        kept = [item for item in value if self._stays(key, item)]
        if key in self._dedupe:
            kept = _once(kept)
        present = {item for item in kept if isinstance(item, str)}
        kept += [room for room in added if room not in present]
        return kept if kept or not value else _ABSENT

    def _stays(self, key: str, item: object) -> bool:
        if is_room_id(item):
            return item not in self._remove.get(key, ())
        return key not in self._junk


def _once(items: list[Any]) -> list[Any]:
    """``items`` without repetitions of room ids."""
    seen: set[str] = set()
    kept = []
    for item in items:
        if is_room_id(item):
            if item in seen:
                continue
            seen.add(item)
        kept.append(item)
    return kept


def changes(before: DirectDocument, after: DirectDocument) -> list[tuple[str, str, str]]:
    """How two documents differ, line by line: (sign, key, what), for a person to read.

    ``sign``: ``-``, ``+`` or ``~``; ``what``: a room id, or words about a value that is no entry.
    """
    old, new = before.content(), after.content()
    lines: list[tuple[str, str, str]] = []
    for key in dict.fromkeys((*old, *new)):
        was, now = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if _text(was) == _text(now):
            continue
        lines += _key_changes(key, was, now)
    return lines


def _key_changes(key: str, was: Any, now: Any) -> list[tuple[str, str, str]]:
    if not (isinstance(was, list | _Absent) and isinstance(now, list | _Absent)):
        lines = [] if was is _ABSENT else [("-", key, f"the value {_text(was)}")]
        if isinstance(now, list):
            return lines + [("+", key, _item(item)) for item in now]
        return lines if now is _ABSENT else [*lines, ("+", key, f"the value {_text(now)}")]
    before = [] if isinstance(was, _Absent) else [_item(item) for item in was]
    after = [] if isinstance(now, _Absent) else [_item(item) for item in now]
    counts = dict.fromkeys(before, 0)
    for text in before:
        counts[text] += 1
    for text in after:
        counts[text] = counts.get(text, 0) - 1
    standing = set(after)
    lines = []
    for text, count in counts.items():
        if count > 0 and text in standing:
            lines.append(("~", key, f"{text} ({count} of its repetitions removed)"))
        elif count > 0:
            lines.append(("-", key, text))
        elif count < 0:
            lines.append(("+", key, text))
    if lines:
        return lines
    if was is _ABSENT or now is _ABSENT:
        return [("+" if was is _ABSENT else "-", key, "the empty list")]
    return [("~", key, "the same in another order")]


def _item(item: object) -> str:
    return item if is_room_id(item) else f"the item {_text(item)}"


def _text(value: object) -> str:
    if isinstance(value, _Absent):
        return ""
    return json.dumps(value)
