"""What a server sends unasked, turned into events.

The rule that must never break: a message is put after the moves that it shows, so that it reaches the chat of
who wrote it.
"""

from __future__ import annotations

import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence

from dm_bridge.connectors.irc import ctcp
from dm_bridge.connectors.irc.addresses import contact_id, former_id
from dm_bridge.connectors.irc.intake import Intake
from dm_bridge.connectors.irc.lines import Line, Source
from dm_bridge.connectors.irc.people import Move, People, digest
from dm_bridge.connectors.irc.record import Here, Progress, Record, parties
from dm_bridge.connectors.irc.relations import Reaction, Relations
from dm_bridge.connectors.irc.styling import to_text
from dm_bridge.connectors.irc.typing_notices import TAG, Typists
from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.events import (
    ContactMoved,
    ReactionChange,
    RemoteEvent,
    RemoteMessage,
    RemoteReactions,
    Text,
)

_REMEMBERED = 1000
_ANSWERS, _ANSWER_SECONDS = 4, 30.0
_MOVING_SECONDS = 10.0
_RECORDS = ("chathistory", "znc.in/playback")
_MAX_RECORDS = 100
_PLAYBACK = "*playback"


class Incoming:
    """One login's. ``answer``: sends a line some time. ``progress``: how far the server's record was read."""

    def __init__(
        self,
        network: str,
        own: ContactId,
        people: People,
        relations: Relations,
        typists: Typists,
        intake: Intake,
        answer: Callable[[Line], None],
        clock: Callable[[], float],
        version: str,
        progress: Progress,
    ) -> None:
        self._network = network
        self._own = own
        self._people = people
        self._relations = relations
        self._typists = typists
        self._intake = intake
        self._answer = answer
        self._clock = clock
        self._version = version
        self._names: OrderedDict[str, str] = OrderedDict()
        self._records: dict[str, Record] = {}
        self._answered: list[float] = []
        self._left: OrderedDict[str, float] = OrderedDict()
        self._again = False
        self.progress = progress

    def begin(self, *, keeps: bool) -> None:
        """A new connection; ``keeps``: whether it can bring what was missed, or lines again.

        If so, the position's time stays where it is until `caught_up`.
        """
        self._records.clear()
        if self.progress.begin(keeps=keeps):
            self.store()

    def caught_up(self, began: float) -> None:
        """The record was read, all of it that there was at ``began``."""
        self.progress.caught_up(began)
        self.store()

    def name(self, nick: str) -> str:
        """How somebody spells their folded nick, as far as that was seen."""
        return self._names.get(nick, nick)

    # -- lines

    def take(self, line: Line, here: Here, *, again: bool = False) -> None:
        """Deal with a line that is no answer; ``again``: the record that was read since may have it, too."""
        self._again = again
        source = line.source
        match line.command:
            case "BATCH":
                self._batch(line, here)
            case "PRIVMSG" | "NOTICE" if source is not None:
                self._message(line, source, here, self._record_of(line))
            case "TAGMSG" if source is not None:
                self._tagged(line, source, here, self._record_of(line))
            case "NICK" if source is not None and not here.is_me(line.param(0)):
                old, new = here.fold(source.nick), here.fold(line.param(0))
                self._spelled(new, line.param(0))
                self._typists.stopped(old)
                self.moved(self._people.renamed(old, new, digest(source.user, source.host)))
            case "QUIT" if source is not None:
                self.gone(here.fold(source.nick))
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

    def recorded(self, line: Line, here: Here, record: Record) -> None:
        """Deal with a line of the record that was asked for."""
        if line.source is not None and line.command == "TAGMSG":
            self._tagged(line, line.source, here, record)
        elif line.source is not None and line.command in ("PRIVMSG", "NOTICE"):
            self._message(line, line.source, here, record)

    def begins(self, nick: str, lines: Sequence[str]) -> None:
        """The bridge is about to send lines to a folded nick."""
        self.progress.known.begin(nick, lines, self._clock())
        self.store()

    def sent(self, line: Line, here: Here) -> None:
        """The server shows a line that the bridge has just sent."""
        self.progress.sent(self.progress.sighting(line, here.fold(line.param(0)), True))
        if self.progress.keeps:
            self.store()

    def gone(self, nick: str) -> None:
        """Nobody has a folded nick any more."""
        self._people.left(nick)
        self._typists.stopped(nick)

    def noticed(self, source: Source, here: Here) -> None:
        """Somebody is there; the server does not say whether they are logged in."""
        self._notice(source, here, None)

    def _notice(self, source: Source, here: Here, account: str | None) -> None:
        nick, mask = here.fold(source.nick), digest(source.user, source.host)
        if mask:
            folded = None if account is None else here.fold(account)
            self.moved(self._people.noticed(nick, mask, folded))

    def _batch(self, line: Line, here: Here) -> None:
        name = line.param(0)
        outer = self._records.get(line.tags.get("batch", ""))
        if name.startswith("-"):
            self._records.pop(name[1:], None)
        elif outer is not None:
            self._records[name[1:]] = outer
        elif line.param(1) in _RECORDS and len(self._records) < _MAX_RECORDS:
            peer = here.fold(line.param(2))
            self._records[name[1:]] = Record("" if here.is_me(peer) else peer)

    def _record_of(self, line: Line) -> Record | None:
        return self._records.get(line.tags.get("batch", ""))

    # -- messages

    def _message(self, line: Line, source: Source, here: Here, record: Record | None) -> None:
        said = line.param(1)
        with_whom = self._private(line, source, here, record)
        if with_whom is None:
            return
        from_self, nick = with_whom
        reaction = self._relations.reaction(line)
        if reaction is not None and nick in self._people:
            self._put(line, source, here, from_self, reaction, record)
            return
        request = ctcp.read(said)
        if request is not None and request.command != "ACTION":
            if line.command == "PRIVMSG" and not from_self:
                self._asked(request, line, source, here, record)
            return
        if line.command == "NOTICE" and (from_self or nick not in self._people):
            return  # notices begin no chat, they are greetings and hints of services; the user's are programs'
        content = to_text(said) if request is None else to_text(request.argument, emote=True)
        if content.body.strip():  # BitlBee's root leaves lines blank
            self._put(line, source, here, from_self, content, record)

    def _tagged(self, line: Line, source: Source, here: Here, record: Record | None) -> None:
        with_whom = self._private(line, source, here, record)
        if with_whom is None or with_whom[1] not in self._people:
            return
        reaction, state = self._relations.reaction(line), line.tags.get(f"+{TAG}")
        if reaction is not None:
            self._put(line, source, here, with_whom[0], reaction, record)
        elif state and not with_whom[0] and record is None and not self._again:
            self._types(line, source, here, state)

    def _types(self, line: Line, source: Source, here: Here, state: str) -> None:
        """Somebody says whether they type: it is shown if they are whose chat this is, as far as is known."""
        nick = here.fold(source.nick)
        self._notice(source, here, self._account(line, here))
        if self._people.is_present(nick) and not self.just_left(nick):
            self._typists.says(nick, state)

    def _account(self, line: Line, here: Here, record: Record | None = None) -> str | None:
        """To which account the author of a line is logged in; None when the server does not say."""
        says = here.features.accounts and record is None
        return line.tags.get("account", "" if says else None)

    def _private(
        self, line: Line, source: Source, here: Here, record: Record | None
    ) -> tuple[bool, str] | None:
        """Whether a line is the user's own, and with whom it is; None when it belongs to no private chat."""
        target = line.param(0)
        if not source.host and not source.user and (record is None or not record.peer):
            return None  # the server itself
        from_self, to_self = parties(line, here, record)
        if from_self == to_self or here.features.is_channel(target):
            return None
        nick = here.fold(target if from_self else source.nick)
        if nick == _PLAYBACK or (nick.startswith("*") and nick not in self._people):
            return None  # modules of a bouncer begin no chat: they tell of connections, and talk with all clients
        return from_self, nick

    def _asked(
        self,
        request: ctcp.Ctcp,
        line: Line,
        source: Source,
        here: Here,
        record: Record | None,
    ) -> None:
        text = ctcp.answer(request, self._version, self._clock())
        if text is not None and record is None and self._may_answer():
            self._answer(Line("NOTICE", (source.nick, text)))
        if request.command == "DCC":
            offer = to_text(ctcp.dcc_offer(request), emote=True)
            self._put(line, source, here, False, offer, record)

    def _may_answer(self) -> bool:
        now = self._clock()
        self._answered = [at for at in self._answered if 0 <= now - at < _ANSWER_SECONDS]
        if len(self._answered) >= _ANSWERS:
            return False
        self._answered.append(now)
        return True

    def _put(
        self,
        line: Line,
        source: Source,
        here: Here,
        from_self: bool,
        said: Text | Reaction,
        record: Record | None,
    ) -> None:
        nick = here.fold(line.param(0) if from_self else source.nick)
        seen = self.progress.sighting(line, nick, from_self, record)
        if not self.progress.is_new(seen, again=self._again):
            return
        if from_self or not source.host:
            self._people.meet(nick)
            moves: list[Move] = []
        else:
            self._spelled(nick, source.nick)
            account = self._account(line, here, record)
            folded = None if account is None else here.fold(account)
            moves = self._people.seen(nick, digest(source.user, source.host), folded)
            if record is not None:
                self._people.left(nick)  # they were there then
        for move in moves:
            self._intake.put(self._event(move))
        contact = contact_id(nick, self._network)
        chat, sender = ChatId(contact), self._own if from_self else contact
        sent_at = self._clock() if seen.at is None else seen.at
        event: RemoteEvent
        if isinstance(said, Reaction):
            change = ReactionChange.ADDED if said.added else ReactionChange.REMOVED
            event = RemoteReactions(
                chat, seen.ids[0], said.target, sender, from_self, (said.emoji,), change, sent_at
            )
        else:
            if not from_self:
                self._typists.wrote(nick)
            event = RemoteMessage(
                chat=chat,
                id=seen.ids[0],
                sender=sender,
                from_self=from_self,
                content=said,
                sent_at=sent_at,
                sender_name=None if from_self else source.nick,
                reply_to=self._relations.answered(line),
            )
        moved = self.progress.passed(seen.at)
        self._intake.put(event, self._position() if moved or self._people.changed else None)

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
        return self.progress.text(self._people.store())

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
