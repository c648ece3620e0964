"""What a server keeps of the past: which of its lines are new, and how far it was read.

The rule that must never break: the position never passes a line of the record that was not read; and what the
record shows again is no second message.
"""

from __future__ import annotations

import datetime
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dm_bridge.connectors.irc.features import Features
from dm_bridge.connectors.irc.known import OVERLAP, Known
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.connectors.irc.position import Position
from dm_bridge.ids import RemoteId, digest_id

_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Here:
    """What a line is to be understood by: who we are, and what the server can do."""

    nick: str
    features: Features

    def fold(self, nick: str) -> str:
        return self.features.casemapping.fold(nick)

    def is_me(self, nick: str) -> bool:
        return self.fold(nick) == self.fold(self.nick)


@dataclass(slots=True)
class Record:
    """Lines of the past, as a server sends them together. ``peer``: the folded nick whom they are with, if known.

    ``seen``: how often each message was in it that has no id of the server's.
    """

    peer: str = ""
    seen: OrderedDict[str, int] = field(default_factory=OrderedDict)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One message, with ``nick`` (folded). ``said``: as it came.

    ``ids``: the server's id, and one that a record gives again without it; or else one of our own. ``at``: when
    the server says that it was, in seconds since the epoch. ``record``: that it came in; None when it is live.
    """

    nick: str
    from_self: bool
    said: str
    ids: Sequence[RemoteId]
    at: float | None
    record: Record | None


class Progress:
    """How far one login's record was read. ``time``: up to where. ``since``: the same, when this connection began.

    ``known``: what the record has around ``time``, and what the bridge sent. ``keeps``: whether this connection
    can bring lines again. ``reading``: whether what came after ``since`` is not read yet.
    """

    def __init__(self, position: Position, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._live = Record()
        self._newest = 0.0
        self._collecting = False
        self.known = Known(position.known, position.unsettled, position.time)
        self.time = position.time
        self.since: float | None = None
        self.keeps = False
        self.reading = False

    def begin(self, *, keeps: bool) -> bool:
        """A new connection; whether the position changes."""
        self._live = Record()
        self.keeps = self.reading = self._collecting = keeps
        self.since, self._newest = self.time, self.time or 0.0
        first = keeps and self.time is None
        if first:
            self.time = self._newest = self._clock()
        return first

    def caught_up(self, began: float) -> None:
        """The record was read, all of it that there was at ``began``."""
        self.known.read_until(began)
        self.reading = False
        self.time = max(self.time or 0.0, self._newest)
        self.not_read()

    def not_read(self) -> None:
        """Nothing more is read of the record; without `caught_up`, the next connection begins at `time` again."""
        self._collecting = False
        self.known.read()

    def sighting(
        self, line: Line, nick: str, from_self: bool, record: Record | None = None
    ) -> Sighting:
        """A message in a line. Without an id it is known by chat, second, author and text, and by how many such
        came before it: some records know nothing else of it.
        """
        ids = [RemoteId(f"id:{given}")] if (given := line.tags.get("msgid")) else []
        at, said = time_of(line), line.param(1)
        if at is None:
            ids = ids or [RemoteId(f"own:{secrets.token_hex(12)}")]
            return Sighting(nick, from_self, said, ids, None, record)
        key = digest_id(str(math.floor(at)), "us" if from_self else "them", nick, said)
        seen = (record or self._live).seen
        count = seen[key] = seen.pop(key, 0) + 1
        if len(seen) > _REMEMBERED:
            seen.popitem(last=False)
        ids.append(RemoteId(f"time:{key}:{count}"))
        return Sighting(nick, from_self, said, ids, at, record)

    def is_new(self, message: Sighting, *, again: bool) -> bool:
        """Whether a message is not known yet; it is from now on. ``again``: it may be live and in the record."""
        if message.at is None or not self.keeps:
            return True
        self._newest = max(self._newest, self._past(message.at))
        known = self.known.has(message.ids)
        if message.record is None:
            new = not (again and known)
        elif self.since is not None and message.at < math.floor(self.since - OVERLAP):
            return False
        else:
            ours = message.from_self and not known
            sent = ours and self.known.comes_back(message.nick, message.said, message.at)
            new = not known and not sent
        self.known.add(message.ids, message.at, reading=self._collecting)
        return new

    def passed(self, at: float | None) -> bool:
        """Whether a message of this time changes the position: `time`, or what is `known` of it."""
        if not self.keeps or self.reading or at is None:
            return False
        self.time = max(self.time or 0.0, self._past(at))
        return at >= self.time - OVERLAP

    def sent(self, message: Sighting) -> None:
        """The server shows a line that the bridge has just sent."""
        self.known.settle(message.nick, message.said)
        if message.at is not None:
            self.known.add(message.ids, message.at)
            self.passed(message.at)

    def text(self, people: dict[str, str]) -> str:
        """The position."""
        if not self.keeps:
            return Position.text(people, None)
        return Position.text(people, self.time, *self.known.store(self.time))

    def _past(self, at: float) -> float:
        """A clock that is fast must not make us pass what is still to come."""
        return min(at, self._clock())


def parties(line: Line, here: Here, record: Record | None) -> tuple[bool, bool]:
    """Whether a line is from us, and whether it is to us; in a record, we may have had another nick."""
    source, target = line.source.nick if line.source is not None else "", line.param(0)
    if record is not None and record.peer:
        return here.fold(target) == record.peer, here.fold(source) == record.peer
    return here.is_me(source), here.is_me(target)


def time_of(line: Line) -> float | None:
    """What the server says when it was (IRCv3 server-time), in seconds since the epoch."""
    try:
        return datetime.datetime.fromisoformat(line.tags["time"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
