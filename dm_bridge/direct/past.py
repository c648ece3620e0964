"""What stood in an account's document, one remembered version after the other, oldest first.

A journal keeps its head whole, and of older versions what changed. This walks back once, and then forth, at
the cost of the changes.

The rule that must never break: what it says of a version means exactly what that version meant. Order,
duplicates and empty lists, which mean nothing, it cannot know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dm_bridge.direct.change import Atom, difference
from dm_bridge.direct.document import DirectDocument, is_user_id
from dm_bridge.direct.journal import Journal, Version


class Past:
    """Begins before the oldest version that is remembered, or with it when nothing came before."""

    def __init__(self, journal: Journal) -> None:
        head = DirectDocument() if journal.head is None else journal.head
        self._values = head.content()
        self._atoms: dict[str, set[str]] = {}
        for key, item in difference(DirectDocument(), head).added:
            self._atoms.setdefault(key, set()).add(item)
        for version in reversed(journal.versions):
            self._apply(version.change.removed, version.change.added)

    def advance(self, version: Version) -> None:
        """To what stood there once ``version`` did."""
        self._apply(version.change.added, version.change.removed)

    def after(self, version: Version) -> DirectDocument:
        """What `advance` would lead to."""
        self._apply(version.change.added, version.change.removed)
        document = DirectDocument.parse(self._values)
        self._apply(version.change.removed, version.change.added)
        assert isinstance(document, DirectDocument)
        return document

    def atoms(self) -> list[Atom]:
        """What stands there."""
        return [(key, item) for key, items in self._atoms.items() for item in items]

    def content(self) -> dict[str, Any]:
        """What stands there, as plain values of the caller's own."""
        return {key: list(v) if isinstance(v, list) else v for key, v in self._values.items()}

    def _apply(self, add: Iterable[Atom], remove: Iterable[Atom]) -> None:
        touched = set()
        for key, item in remove:
            self._atoms.setdefault(key, set()).discard(item)
            touched.add(key)
        for key, item in add:
            self._atoms.setdefault(key, set()).add(item)
            touched.add(key)
        for key in touched:
            if self._atoms[key]:
                self._values[key] = _value(key, self._atoms[key])
            else:
                del self._atoms[key]
                self._values.pop(key, None)


def _value(key: str, items: Iterable[str]) -> Any:
    """The value under ``key`` that has these atoms."""
    rooms = sorted(item for item in items if item.startswith("!"))
    rest = [json.loads(item) for item in items if not item.startswith("!")]
    if not rest:
        return rooms
    return [*rooms, *rest[0]] if isinstance(rest[0], list) and is_user_id(key) else rest[0]
