"""Sending a message: to the right person, in lines that fit, each of them confirmed.

The rule that must never break: what is not certain is sent again only when the user insists; and nothing is sent
to a nick whose holder is not known to be the one of the chat.
"""

from __future__ import annotations

from collections.abc import Callable

from dm_bridge.connectors.irc import ctcp, failures
from dm_bridge.connectors.irc.addresses import parts
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.incoming import Incoming
from dm_bridge.connectors.irc.lines import Line, UnsendableError
from dm_bridge.connectors.irc.people import People, digest
from dm_bridge.connectors.irc.splitting import split
from dm_bridge.connectors.irc.styling import from_text
from dm_bridge.errors import NetworkError
from dm_bridge.network.api import OutgoingMessage
from dm_bridge.network.events import Text

MAX_LINES = 100
"""Lines that one message may take; a longer one is refused."""
_WHOIS = frozenset({"311", "330", "401", "402", "431", "263", "318", "301", "307", "312", "313", "317", "319",
                    "276", "310", "320", "335", "338", "378", "379", "671"})  # fmt: skip


class Sending:
    """One login's. ``timeout``: for the server to take one line, once it is its turn."""

    def __init__(
        self,
        network: str,
        people: People,
        incoming: Incoming,
        timeout: float,
        *,
        trusting: bool,
        changed: Callable[[], None],
    ) -> None:
        self._network = network
        self._people = people
        self._incoming = incoming
        self._timeout = timeout
        self._trusting = trusting
        self._changed = changed

    async def send(self, client: Client, message: OutgoingMessage) -> None:
        """Send; raises `NetworkError`."""
        nick, mark, _ = parts(message.chat)
        if mark:
            raise failures.former(nick, self._network)
        if self._incoming.just_left(nick):
            raise failures.just_left(self._incoming.name(nick))
        if message.attempted is not None and not message.insisted:
            raise failures.interrupted(self._network)
        lines = pieces(message.content, client.features.room_for_text(client.nick, nick))
        await self._verify(client, nick)
        for index, text in enumerate(lines):
            try:
                await self._send_line(client, nick, text)
            except NetworkError as error:
                if index == 0:
                    raise
                if not error.certain:
                    raise failures.lost(self._network, certain=False, part=True) from error
                raise failures.partly(error) from error

    async def _send_line(self, client: Client, nick: str, text: str) -> None:
        fold = client.features.casemapping.fold

        def is_answer(line: Line) -> bool:
            if line.command in failures.REFUSALS or line.command in failures.INFORMATION:
                return line.command in ("421", "FAIL") or fold(line.param(1)) == fold(nick)
            return is_echo(line)

        def is_echo(line: Line) -> bool:
            return (
                line.command == "PRIVMSG"
                and line.source is not None
                and fold(line.source.nick) == fold(client.nick)
                and fold(line.param(0)) == fold(nick)
                and line.param(1) == text
            )

        try:
            answers = await client.exchange(
                Line("PRIVMSG", (nick, text)), self._timeout, is_answer, is_echo, label=True
            )
        except UnsendableError as error:
            raise NetworkError(f"This cannot be sent on IRC: {error}.") from error
        for line in answers:
            if line.command in failures.REFUSALS:
                if line.command == "401":
                    self._people.left(nick)
                raise failures.refused(line, self._incoming.name(nick), self._network)

    async def _verify(self, client: Client, nick: str) -> None:
        """Make sure that who has the nick is the person of the chat, unless that is known."""
        if self._trusting or self._people.is_present(nick) or nick.startswith("*"):
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
        lines = [ctcp.wrap("ACTION", piece) for piece in split(text, room - len("\x01ACTION \x01"))]
    else:
        lines = split(text, room)
    if not lines:
        raise NetworkError("There is nothing in this message that IRC can carry.")
    if len(lines) > MAX_LINES:
        raise NetworkError(
            f"This message would take {len(lines)} lines on IRC, and more than {MAX_LINES} are not sent. Please"
            " send less at once, or a link."
        )
    return lines
