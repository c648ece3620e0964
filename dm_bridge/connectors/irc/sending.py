"""Sending a message: to the right person, in lines that fit, each of them confirmed.

The rule that must never break: what is not certain is sent again only when the user insists; and nothing is sent
to a nick whose holder is not known to be the one of the chat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from dm_bridge.connectors.irc import ctcp, failures
from dm_bridge.connectors.irc.addresses import parts
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.incoming import Incoming
from dm_bridge.connectors.irc.lines import Line, UnsendableError
from dm_bridge.connectors.irc.people import People, digest
from dm_bridge.connectors.irc.record import Here
from dm_bridge.connectors.irc.relations import Relations, given_id
from dm_bridge.connectors.irc.splitting import split
from dm_bridge.connectors.irc.styling import carried, from_text, strip
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.abilities import OutgoingReactions
from dm_bridge.network.api import OutgoingMessage
from dm_bridge.network.events import Text
from dm_bridge.texts import phrase

MAX_LINES = 100
"""Lines that one message may take; a longer one is refused."""
_WHOIS = frozenset({"311", "330", "401", "402", "431", "263", "318", "301", "307", "312", "313", "317", "319",
                    "276", "310", "320", "335", "338", "378", "379", "671"})  # fmt: skip


class Sending:
    """One login's. ``timeout``: for the server to take one line, once it is its turn.

    ``watched``: whether the server tells when who has a nick goes. ``recorded``: returns when what `Incoming` has
    put is committed.
    """

    def __init__(
        self,
        network: str,
        people: People,
        incoming: Incoming,
        relations: Relations,
        timeout: float,
        *,
        trusting: bool,
        watched: Callable[[str], bool],
        changed: Callable[[], None],
        recorded: Callable[[], Awaitable[None]],
    ) -> None:
        self._network = network
        self._people = people
        self._incoming = incoming
        self._relations = relations
        self._timeout = timeout
        self._trusting = trusting
        self._watched = watched
        self._changed = changed
        self._recorded = recorded

    async def send(self, client: Client, message: OutgoingMessage) -> RemoteId | None:
        """Send; the id that the server gave the message, if any. Raises `NetworkError`."""
        nick = self._nick_of(message.chat)
        texts = pieces(message.content, client.features.room_for_text(client.nick, nick))
        if message.attempted is not None and not message.insisted:
            if self._incoming.progress.known.arrived(nick, texts):
                return None
            raise failures.interrupted(self._network)
        about = message.reply_to
        tags = {} if about is None else self._relations.tags(about.id)
        lines = [
            Line("PRIVMSG", (nick, text), {} if number else tags)
            for number, text in enumerate(texts)
        ]
        await self._verify(client, nick)
        await self._announce(nick, texts)
        ids: list[RemoteId] = []
        for index, line in enumerate(lines):
            try:
                given = await self._send_line(client, nick, line)
            except NetworkError as error:
                for unsent in texts[index + (not error.certain) :]:
                    self._incoming.progress.known.settle(nick, unsent)
                if index == 0:
                    raise
                if not error.certain:
                    raise failures.lost(self._network, certain=False, part=True) from error
                raise failures.partly(error) from error
            if given is not None:
                ids.append(given)
        return self._relations.sent(ids)

    async def _announce(self, nick: str, texts: list[str]) -> None:
        """Where lines may come back from a record, write down first what is to be sent."""
        if not self._incoming.progress.keeps:
            return
        self._incoming.begins(nick, texts)
        try:
            async with asyncio.timeout(self._timeout):
                await self._recorded()
        except TimeoutError:
            for text in texts:
                self._incoming.progress.known.settle(nick, text)
            raise failures.not_recorded() from None

    async def react(self, client: Client, what: OutgoingReactions) -> RemoteId | None:
        """React, or take a reaction back; as `send`. What was done already is done again: it is the same then."""
        nick = self._nick_of(what.chat)
        lines = self._relations.reactions(what, nick)
        await self._verify(client, nick)
        ids = [await self._send_line(client, nick, line) for line in lines]
        return next(iter(ids), None)

    async def reaches(self, client: Client, nick: str) -> bool:
        """Whether what is sent to a nick now surely gets to the person with whom there is a chat.

        It is asked for only while nothing else is to be sent. Raises `NetworkError`.
        """
        if nick not in self._people or self._incoming.just_left(nick):
            return False
        if not self._is_certain(nick) and client.pacer.free:
            await self._verify(client, nick)
            return self._people.is_present(nick) or self._trusting
        return self._is_certain(nick)

    def _nick_of(self, chat: ChatId) -> str:
        """Whom to write to. Raises `NetworkError` while it is not certain that this is the person of the chat."""
        nick, mark, _ = parts(chat)
        if mark:
            raise failures.former(nick, self._network)
        if self._incoming.just_left(nick):
            raise failures.just_left(self._incoming.name(nick))
        return nick

    async def _send_line(self, client: Client, nick: str, sent: Line) -> RemoteId | None:
        """The id that the server gave the line, if it says so."""
        fold = client.features.casemapping.fold

        def is_answer(line: Line) -> bool:
            if line.command in failures.REFUSALS or line.command in failures.INFORMATION:
                if line.command in ("421", "FAIL"):
                    return sent.command in line.params[:2] or "*" in line.params[:1]
                return fold(line.param(1)) == fold(nick)
            return is_echo(line)

        def is_echo(line: Line) -> bool:
            return (
                line.command == sent.command
                and line.source is not None
                and fold(line.source.nick) == fold(client.nick)
                and fold(line.param(0)) == fold(nick)
                and line.param(1) == sent.param(1)
                and (sent.command != "TAGMSG" or sent.tags.items() <= line.tags.items())
                and "batch" not in line.tags
            )

        def ends(line: Line) -> bool:
            return is_echo(line) and not client.features.answers_itself

        try:
            answers = await client.exchange(sent, self._timeout, is_answer, ends, label=True)
        except UnsendableError as error:
            raise NetworkError(phrase("irc-unsendable", why=str(error))) from error
        for line in answers:
            if line.command in failures.REFUSALS:
                if line.command == "401":
                    self._people.left(nick)
                raise failures.refused(line, self._incoming.name(nick), self._network)
            if line.command == sent.command:
                self._incoming.sent(line, Here(client.nick, client.features))
        return next((id_ for line in answers if (id_ := given_id(line))), None)

    def _is_certain(self, nick: str) -> bool:
        """Whether who has the nick is known to be the person of the chat."""
        return self._trusting or (self._people.is_present(nick) and self._watched(nick))

    async def _verify(self, client: Client, nick: str) -> None:
        """Make sure that who has the nick is the person of the chat, unless that is known."""
        if self._is_certain(nick) or nick.startswith("*"):
            self._people.meet(nick)
            return
        fold = client.features.casemapping.fold
        answers = await client.exchange(
            Line("WHOIS", (nick,)),
            self._timeout,
            lambda line: line.command in _WHOIS and fold(line.param(1)) == nick,
        )
        mask, account = "", ""
        for line in answers:
            match line.command:
                case "401" | "402":
                    raise failures.gone(self._incoming.name(nick), self._network)
                case "311":
                    mask = digest(line.param(2), line.param(3))
                case "330":
                    account = fold(line.param(2))
        if not mask:
            return  # the server does not tell
        moves = self._people.seen(nick, mask, account)
        self._incoming.moved(moves)
        self._changed()
        if any(move.old == nick for move in moves):
            raise failures.former(self._incoming.name(nick), self._network)


def pieces(content: Text, room: int) -> list[str]:
    """The texts of the lines that say ``content``, each of at most ``room`` bytes. Raises `NetworkError`."""
    text = from_text(content)
    if content.emote:
        room -= len("\x01ACTION \x01")
    lines = [piece for piece in split(text, room, carried) if strip(piece)]
    if content.emote:
        lines = [ctcp.wrap("ACTION", piece) for piece in lines]
    if not lines:
        raise NetworkError(phrase("irc-nothing-to-send"))
    if len(lines) > MAX_LINES:
        raise NetworkError(phrase("irc-too-many-lines", lines=len(lines), most=MAX_LINES))
    return lines
