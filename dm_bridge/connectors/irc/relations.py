"""Answers and reactions: tags on lines, where a server passes on what clients tag (IRCv3 message-tags).

IRCv3 reply (``+reply``, before that ``+draft/reply``), react (``+draft/react``, ``+draft/unreact``), and
message-ids, by which both name a message. No server lists those among its capabilities, so they are tried.

The rule that must never break: only an id that the server gave names a message, and nobody is told of an answer or
a reaction in another way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.features import Features
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.connectors.irc.styling import strip
from dm_bridge.errors import NetworkError
from dm_bridge.ids import RemoteId
from dm_bridge.network.abilities import OutgoingReactions
from dm_bridge.texts import phrase

REPLY = ("reply", "draft/reply")
REACT, UNREACT = "draft/react", "draft/unreact"
_GIVEN = "id:"
_PROBE = "dm-bridge"
_MAX_EMOJI = 100
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Reaction:
    """``added``: it comes; else it goes."""

    target: RemoteId
    emoji: str
    added: bool


class Relations:
    """One login's. ``able``: whether messages have ids on this connection, and tags that name them pass."""

    def __init__(self) -> None:
        self.able = False
        self._features = Features()
        self._first: OrderedDict[RemoteId, RemoteId] = OrderedDict()

    @property
    def reacts(self) -> bool:
        """Whether reactions are passed on."""
        return self.able and self._features.passes(REACT)

    async def begin(self, client: Client, timeout: float) -> None:
        """Find out what a new connection can do, by a tagged line to ourselves. Raises `NetworkError`."""
        self.able, self._features = False, client.features
        tags = {f"+{tag}": _PROBE for tag in REPLY if client.features.passes(tag)}
        if not tags or not {"message-tags", "echo-message"} <= client.features.caps:
            return
        fold = client.features.casemapping.fold

        def is_answer(line: Line) -> bool:
            to_us = line.command == "TAGMSG" and fold(line.param(0)) == fold(client.nick)
            return to_us or line.command == "421"

        answers = await client.exchange(
            Line("TAGMSG", (client.nick,), tags), timeout, is_answer, label=True
        )
        self.able = any(given_id(line) and tags.items() <= line.tags.items() for line in answers)

    def tags(self, target: RemoteId) -> dict[str, str]:
        """What makes a line an answer; nothing where the server gave the target no id, or passes nothing on."""
        if not self.able or not target.startswith(_GIVEN):
            return {}
        about = target.removeprefix(_GIVEN)
        return {f"+{tag}": about for tag in REPLY if self._features.passes(tag)}

    def reactions(self, what: OutgoingReactions, nick: str) -> list[Line]:
        """The lines that change reactions. Raises `NetworkError` when there is no way to."""
        about = self.tags(what.target.id)
        if not about:
            raise NetworkError(phrase("irc-no-id"))
        if what.removed and not self._features.passes(UNREACT):
            raise NetworkError(phrase("irc-no-unreact"))
        return [
            Line("TAGMSG", (nick,), {**about, f"+{tag}": emoji})
            for tag, emojis in ((REACT, what.added), (UNREACT, what.removed))
            for emoji in emojis
        ]

    def sent(self, ids: Sequence[RemoteId]) -> RemoteId | None:
        """A message took lines with these ids: what it is known by, if the server gave any."""
        for each in ids[1:]:
            self._first[each] = ids[0]
            if len(self._first) > _REMEMBERED:
                self._first.popitem(last=False)
        return ids[0] if ids else None

    def answered(self, line: Line) -> RemoteId | None:
        """Which message a line is about."""
        given = next((line.tags[f"+{tag}"] for tag in REPLY if line.tags.get(f"+{tag}")), None)
        if given is None:
            return None
        target = RemoteId(f"{_GIVEN}{given}")
        return self._first.get(target, target)

    def reaction(self, line: Line) -> Reaction | None:
        """What a line reacts with; one with a text as well counts when the text says nothing else."""
        target = self.answered(line)
        for tag in (REACT, UNREACT):
            emoji = strip(line.tags.get(f"+{tag}", "")).strip()
            text = line.param(1) if line.command == "PRIVMSG" else emoji
            if target and emoji and len(emoji) <= _MAX_EMOJI and text.strip() == emoji:
                return Reaction(target, emoji, tag == REACT)
        return None


def given_id(line: Line) -> RemoteId | None:
    """The id that the server gave a line, if any."""
    given = line.tags.get("msgid")
    return RemoteId(f"{_GIVEN}{given}") if given else None
