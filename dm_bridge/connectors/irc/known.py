"""What the end of a server's record holds that is not new: what was read already, and what this bridge wrote.

A record is read from a little before the last position, because the times of servers are not in order; what is
known of that stretch is a part of the position, so it is exact across restarts, and chats that have moved since. A
line that was handed to a server without an answer is kept as what it says and to whom, until the record shows it.

The rule that must never break: what the bridge sent never comes back as something that the user wrote elsewhere.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

from dm_bridge.ids import RemoteId

OVERLAP = 60.0
"""Seconds before the position from which a record is read."""
MAX_KNOWN = 200
MAX_READ = 20_000
MAX_UNSETTLED = 200
_MARK = 8


class Known:
    """One login's. ``ids``, ``unsettled``: as `store` gave them, of about ``at``."""

    def __init__(
        self, ids: str = "", unsettled: Sequence[tuple[str, float]] = (), at: float | None = None
    ) -> None:
        marks = [ids[index : index + _MARK] for index in range(0, len(ids), _MARK)]
        self._ids: OrderedDict[str, float] = OrderedDict.fromkeys(marks[-MAX_KNOWN:], at or 0.0)
        self._read: OrderedDict[str, float] = OrderedDict()
        self._unsettled = list(unsettled)[-MAX_UNSETTLED:]
        self._arrived: Counter[str] = Counter()

    # -- messages

    def add(self, ids: Sequence[RemoteId], at: float, *, reading: bool = False) -> None:
        """A message is known. ``ids``: the server's, and one made of what it says; or one of them.

        ``reading``: what is known of the time before the position must not be forgotten for it yet.
        """
        known, most = (self._read, MAX_READ) if reading else (self._ids, MAX_KNOWN)
        for mark in (_mark(ids[0]), *(_mark("also", one) for one in ids[1:])):
            known[mark] = at
            known.move_to_end(mark)
        while len(known) > most:
            known.popitem(last=False)

    def read(self) -> None:
        """What was added while reading takes its place."""
        for mark, at in list(self._read.items())[-MAX_KNOWN:]:
            self._ids[mark] = at
            self._ids.move_to_end(mark)
        self._read.clear()
        while len(self._ids) > MAX_KNOWN:
            self._ids.popitem(last=False)

    def has(self, ids: Sequence[RemoteId]) -> bool:
        """Whether the message that goes by ``ids`` is known.

        Two messages that both have ids of the server's are the same only by these.
        """
        others = ids[1:] if len(ids) > 1 else [RemoteId(f"also\0{ids[0]}")]
        marks = [_mark(one) for one in (ids[0], *others)]
        return any(mark in self._ids or mark in self._read for mark in marks)

    # -- what the bridge sends

    def begin(self, nick: str, texts: Iterable[str], at: float) -> None:
        """Lines are about to be sent."""
        self._unsettled += [(_mark(nick, text), at) for text in texts]
        del self._unsettled[:-MAX_UNSETTLED]

    def settle(self, nick: str, text: str) -> None:
        """A line was confirmed, or surely not sent."""
        self._take(_mark(nick, text), None)

    def comes_back(self, nick: str, text: str, at: float) -> bool:
        """Whether a line of the user's in the record is one that the bridge sent without an answer."""
        mark = _mark(nick, text)
        if not self._take(mark, at):
            return False
        self._arrived[mark] += 1
        return True

    def arrived(self, nick: str, texts: Sequence[str]) -> bool:
        """Whether the record has shown all these lines, which were sent without an answer."""
        wanted = Counter(_mark(nick, text) for text in texts)
        if not wanted <= self._arrived:
            return False
        self._arrived -= wanted
        return True

    def _take(self, mark: str, at: float | None) -> bool:
        for item in self._unsettled:
            if item[0] == mark and (at is None or at >= item[1] - OVERLAP):
                self._unsettled.remove(item)
                return True
        return False

    def read_until(self, at: float) -> None:
        """The record was read up to now, which was ``at`` when it began: what it has not shown is not in it."""
        self._unsettled = [item for item in self._unsettled if item[1] > at]

    # -- storing

    def store(self, time: float | None) -> tuple[str, list[tuple[str, float]]]:
        """Marks of ids near ``time``; and of unsettled lines, with since when; for the next `Known`."""
        since = (time or 0.0) - OVERLAP - 1
        for mark in [mark for mark, at in self._ids.items() if at < since]:
            del self._ids[mark]
        return "".join(self._ids), list(self._unsettled)


def _mark(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:_MARK]
