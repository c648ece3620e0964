"""What a server sends unasked, turned into events.

The rule that must never break: a message is put after the moves that it shows, so that it reaches the chat of
who wrote it.
"""

from __future__ import annotations

import datetime
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dm_bridge.connectors.irc import ctcp
from dm_bridge.connectors.irc.addresses import contact_id, former_id
from dm_bridge.connectors.irc.features import Features
from dm_bridge.connectors.irc.intake import Intake
from dm_bridge.connectors.irc.lines import Line, Source
from dm_bridge.connectors.irc.people import Move, People, digest
from dm_bridge.connectors.irc.position import Position
from dm_bridge.connectors.irc.styling import to_text
from dm_bridge.ids import ChatId, ContactId, RemoteId, digest_id
from dm_bridge.network.events import ContactMoved, RemoteMessage, Text

_REMEMBERED = 1000
_ANSWERS, _ANSWER_SECONDS = 4, 30.0
_MOVING_SECONDS = 10.0
_RECORDS = ("chathistory", "znc.in/playback")


@dataclass(frozen=True, slots=True)
class Here:
    """What a line is to be understood by: who we are, and what the server can do."""

    nick: str
    features: Features

    def fold(self, nick: str) -> str:
        return self.features.casemapping.fold(nick)

    def is_me(self, nick: str) -> bool:
        return self.fold(nick) == self.fold(self.nick)


class Incoming:
    """One login's. ``answer``: sends a line some time. ``time``: of the newest message that a record may have."""

    def __init__(
        self,
        network: str,
        own: ContactId,
        people: People,
        intake: Intake,
        answer: Callable[[Line], None],
        clock: Callable[[], float],
        version: str,
        time: float | None,
    ) -> None:
        self._network = network
        self._own = own
        self._people = people
        self._intake = intake
        self._answer = answer
        self._clock = clock
        self._version = version
        self._names: OrderedDict[str, str] = OrderedDict()
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._records: set[str] = set()
        self._answered: list[float] = []
        self._left: OrderedDict[str, float] = OrderedDict()
        self.time = time
        self.keeps_time = False

    def begin(self, *, keeps_time: bool) -> None:
        """A new connection; ``keeps_time``: whether it can bring what was missed since `time`."""
        self._records.clear()
        self._seen.clear()
        self.keeps_time = keeps_time
        if keeps_time and self.time is None:
            self.time = self._clock()
            self.store()

    def name(self, nick: str) -> str:
        """How somebody spells their folded nick, as far as that was seen."""
        return self._names.get(nick, nick)

    # -- lines

    def take(self, line: Line, here: Here) -> None:
        """Deal with a line that is no answer."""
        source = line.source
        match line.command:
            case "BATCH":
                self._batch(line)
            case "PRIVMSG" | "NOTICE" if source is not None:
                self._message(line, source, here)
            case "NICK" if source is not None and not here.is_me(line.param(0)):
                old, new = here.fold(source.nick), here.fold(line.param(0))
                self._spelled(new, line.param(0))
                self.moved(self._people.renamed(old, new, digest(source.user, source.host)))
            case "QUIT" if source is not None:
                self._people.left(here.fold(source.nick))
            case "JOIN" if source is not None and not here.is_me(source.nick):
                account = line.param(1) if len(line.params) > 2 else None
                self._notice(source, here, "" if account == "*" else account)
            case "ACCOUNT" if source is not None:
                account = "" if line.param(0) == "*" else here.fold(line.param(0))
                self._people.logged_in(here.fold(source.nick), account)
                self.moved([])
            case "CHGHOST" if source is not None:
                mask = digest(line.param(0), line.param(1))
                self._people.has_host(here.fold(source.nick), mask)
                self.moved([])

    def noticed(self, source: Source, here: Here) -> None:
        """Somebody is there; the server does not say whether they are logged in."""
        self._notice(source, here, None)

    def _notice(self, source: Source, here: Here, account: str | None) -> None:
        nick, mask = here.fold(source.nick), digest(source.user, source.host)
        if mask:
            folded = None if account is None else here.fold(account)
            self.moved(self._people.noticed(nick, mask, folded))

    def _batch(self, line: Line) -> None:
        name = line.param(0)
        outer = line.tags.get("batch")
        if name.startswith("+") and (line.param(1) in _RECORDS or outer in self._records):
            self._records.add(name[1:])
        elif name.startswith("-"):
            self._records.discard(name[1:])

    # -- messages

    def _message(self, line: Line, source: Source, here: Here) -> None:
        target, said = line.param(0), line.param(1)
        if not source.host and not source.user:
            return  # the server itself
        from_self = here.is_me(source.nick)
        if from_self == here.is_me(target) or here.features.is_channel(target):
            return
        nick = here.fold(target if from_self else source.nick)
        request = ctcp.read(said)
        if request is not None and request.command != "ACTION":
            if line.command == "PRIVMSG" and not from_self:
                self._asked(request, line, source, here)
            return
        if line.command == "NOTICE" and (from_self or nick not in self._people):
            return  # notices begin no chat, they are greetings and hints of services; the user's are programs'
        content = to_text(said) if request is None else to_text(request.argument, emote=True)
        self._put(line, source, here, from_self, content)

    def _asked(self, request: ctcp.Ctcp, line: Line, source: Source, here: Here) -> None:
        text = ctcp.answer(request, self._version, self._clock())
        if text is not None and line.tags.get("batch") not in self._records and self._may_answer():
            self._answer(Line("NOTICE", (source.nick, text)))
        if request.command == "DCC":
            self._put(line, source, here, False, Text(ctcp.dcc_offer(request), emote=True))

    def _may_answer(self) -> bool:
        now = self._clock()
        self._answered = [at for at in self._answered if 0 <= now - at < _ANSWER_SECONDS]
        if len(self._answered) >= _ANSWERS:
            return False
        self._answered.append(now)
        return True

    def _put(self, line: Line, source: Source, here: Here, from_self: bool, content: Text) -> None:
        nick = here.fold(line.param(0) if from_self else source.nick)
        at = _time(line)
        if from_self:
            self._people.meet(nick)
            moves: list[Move] = []
        else:
            self._spelled(nick, source.nick)
            account = line.tags.get("account")
            if account is None and here.features.accounts:
                account = ""
            folded = None if account is None else here.fold(account)
            moves = self._people.seen(nick, digest(source.user, source.host), folded)
        for move in moves:
            self._intake.put(self._event(move))
        contact = contact_id(nick, self._network)
        message = RemoteMessage(
            chat=ChatId(contact),
            id=self._id(line, source, at),
            sender=self._own if from_self else contact,
            from_self=from_self,
            content=content,
            sent_at=self._clock() if at is None else at,
            sender_name=None if from_self else source.nick,
        )
        later = self.keeps_time and at is not None and (self.time is None or at > self.time)
        if later:
            self.time = at
        self._intake.put(message, self._position() if later or self._people.changed else None)

    def _id(self, line: Line, source: Source, at: float | None) -> RemoteId:
        """The server's id; else one that a record gives again; else one of our own."""
        if given := line.tags.get("msgid"):
            return RemoteId(f"id:{given}")
        if at is None:
            return RemoteId(f"own:{secrets.token_hex(12)}")
        key = digest_id(line.tags["time"], source.nick, *line.params[:2])
        count = self._seen[key] = self._seen.pop(key, 0) + 1
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return RemoteId(f"time:{key}:{count}")

    # -- people

    def moved(self, moves: Sequence[Move]) -> None:
        """Put moves, and what is known of people now."""
        for move in moves:
            self._intake.put(self._event(move))
        if self._people.changed:
            self.store()

    def store(self) -> None:
        """Put what is known of people."""
        self._intake.put(None, self._position())

    def _position(self) -> str:
        self._people.changed = False
        return Position.text(self._people.store(), self.time if self.keeps_time else None)

    def _event(self, move: Move) -> ContactMoved:
        self._left[move.old] = self._clock()
        self._left.move_to_end(move.old)
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        old, new = self.address(move.old), self.address(move.new)
        return ContactMoved(
            chat=ChatId(old),
            id=RemoteId(secrets.token_hex(12)),
            old=old,
            new=new,
            new_chat=ChatId(new),
            name=self.name(move.new.partition("!")[0]),
        )

    def just_left(self, nick: str) -> bool:
        """Whether the person of this chat moved so lately that the bridge may not have moved the chat yet."""
        return 0 <= self._clock() - self._left.get(nick, -math.inf) < _MOVING_SECONDS

    def address(self, key: str) -> ContactId:
        """The address of a key of `People`."""
        nick, _, mark = key.partition("!")
        return former_id(nick, mark, self._network) if mark else contact_id(nick, self._network)

    def _spelled(self, nick: str, spelling: str) -> None:
        self._names[nick] = spelling
        self._names.move_to_end(nick)
        if len(self._names) > _REMEMBERED:
            self._names.popitem(last=False)


def _time(line: Line) -> float | None:
    """What the server says when it was (IRCv3 server-time), in seconds since the epoch."""
    try:
        return datetime.datetime.fromisoformat(line.tags["time"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
