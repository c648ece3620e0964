"""Knowing who is there: MONITOR where the server has it, channels, and else WHOIS before each message.

The rule that must never break: nobody is watched of whom the server would not tell when they go.
"""

from __future__ import annotations

import asyncio
import contextlib

from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.incoming import Incoming
from dm_bridge.connectors.irc.lines import Line, Source
from dm_bridge.connectors.irc.people import People
from dm_bridge.connectors.irc.record import Here
from dm_bridge.connectors.irc.sight import Sight

_LINE_BYTES = 400


class Presence:
    """Of one connection. ``wanted``: the nick that is the user's, also while somebody else has it."""

    def __init__(
        self, client: Client, people: People, incoming: Incoming, wanted: str, interval: float
    ) -> None:
        self._client = client
        self._people = people
        self._incoming = incoming
        self._wanted = wanted
        self._interval = interval
        self._watched: set[str] = set()
        self._sight = Sight()
        self._limit = client.features.monitor
        self._changed = asyncio.Event()
        self._regain = False

    @property
    def _fold(self) -> str:
        return self._client.features.casemapping.fold(self._wanted)

    def watches(self, nick: str) -> bool:
        """Whether the server tells when who has ``nick`` goes, or takes another one."""
        return nick in self._watched or nick in self._sight

    def changed(self) -> None:
        """There may be other people to watch."""
        if self._limit:
            self._changed.set()

    async def run(self) -> None:
        """Watch, until cancelled. Raises `NetworkError` when the connection ends."""
        while True:
            if self._limit:
                await self._watch()
            else:
                await self._ask()
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._changed.wait()

    def take(self, line: Line, here: Here) -> bool:
        """Whether ``line`` was about presence, and nothing else."""
        for nick in self._sight.take(line, here):
            self._people.left(nick)
        match line.command:
            case "730":
                for target in line.param(-1).split(","):
                    self._incoming.noticed(Source.parse(target), here)
            case "731":
                for target in line.param(-1).split(","):
                    self._is_gone(here.fold(Source.parse(target).nick))
            case "734":
                self._limit = max(1, len(self._watched) // 2)
                self._watched -= {here.fold(nick) for nick in line.param(2).split(",")}
            case _:
                return False
        return True

    def _is_gone(self, nick: str) -> None:
        self._incoming.gone(nick)
        if nick == self._fold and self._misses_nick:
            self._changed.set()
            self._regain = True

    @property
    def _misses_nick(self) -> bool:
        return self._client.features.casemapping.fold(self._client.nick) != self._fold

    async def _watch(self) -> None:
        if self._regain and self._misses_nick:
            self._regain = False
            await self._client.send(Line("NICK", (self._wanted,)))
        people = [nick for nick in self._people.nicks() if not nick.startswith("*")]
        wanted = {self._fold} if self._misses_nick else set()
        room = self._limit - len(wanted)
        wanted |= set(people[-room:] if room else [])
        for sign, nicks in (("-", self._watched - wanted), ("+", wanted - self._watched)):
            for text in _packed(nicks, ","):
                await self._client.send(Line("MONITOR", (sign, text)))
        for nick in wanted - self._watched:
            self._people.left(nick)  # somebody else may have taken it before it was watched
        self._watched = wanted

    async def _ask(self) -> None:
        if self._misses_nick:
            line = Line("ISON", (self._wanted,))
            answers = await self._client.exchange(line, self._interval, _is_ison, _is_ison)
            if answers and not answers[0].param(-1).strip():
                await self._client.send(Line("NICK", (self._wanted,)))


def _is_ison(line: Line) -> bool:
    return line.command == "303"


def _packed(nicks: set[str], separator: str) -> list[str]:
    """``nicks`` in texts that each fit into a line."""
    texts: list[str] = []
    for nick in sorted(nicks):
        if texts and len(f"{texts[-1]}{separator}{nick}".encode()) <= _LINE_BYTES:
            texts[-1] += separator + nick
        else:
            texts.append(nick)
    return texts
