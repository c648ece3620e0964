"""Messages that nobody but their readers' own devices can read: of several in a row, the user sees the first.

The rule that must never break: after something that could be read, the next one that cannot is told again.
"""

from __future__ import annotations

from collections import OrderedDict

from dm_bridge.ids import PortalKey, RemoteId
from dm_bridge.network.events import RemoteEvent, RemoteMessage

REMEMBERED = 10_000
"""Chats; what is forgotten, also by a restart, is told once more."""


class Unreadable:
    """Remembers in which chats the last message could not be read, by side."""

    def __init__(self) -> None:
        self._first: OrderedDict[tuple[PortalKey, bool], RemoteId] = OrderedDict()

    def is_told(self, key: PortalKey, event: RemoteEvent) -> bool:
        """Whether the user knows already what is to be said of this event. To ask again changes nothing."""
        if not isinstance(event, RemoteMessage):
            return False
        side = key, event.from_self
        if not event.unreadable:
            self._first.pop(side, None)
            return False
        first = self._first.setdefault(side, event.id)
        if len(self._first) > REMEMBERED:
            self._first.popitem(last=False)
        return first != event.id
