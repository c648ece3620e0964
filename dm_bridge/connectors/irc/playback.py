"""Reading what a bouncer kept, in its own way: ZNC, and what behaves like it.

ZNC plays what it kept right after the registration, by itself, and forgets it then, unless it is set up not to
(``AutoClearQueryBuffer``). Its module ``playback`` (https://wiki.znc.in/Playback) plays what came after a time,
when it is asked to. To those who ask for its capability while they register ZNC plays nothing by itself, and
forgets all the same; so it is asked for afterwards, and what comes twice is known by its id. Either was sent once
a PING after it is answered.

The rule that must never break: it takes no line away; what is played arrives where all lines do, in its order.
"""

from __future__ import annotations

from dm_bridge.connectors.irc.asking import Question
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.features import PLAYBACK
from dm_bridge.connectors.irc.known import OVERLAP
from dm_bridge.connectors.irc.lines import Line


class Playback:
    """Of one connection. ``stall``: how long the bouncer may fall silent, in seconds."""

    def __init__(self, client: Client, stall: float) -> None:
        self._client = client
        self._stall = stall
        self._question = Question()

    def take(self, line: Line) -> bool:
        """Whether ``line`` was about this only."""
        if line.command == "PONG" and line.param(-1) == self._question.token:
            self._question.finish()
            return True
        if line.command == "BATCH" or "batch" in line.tags:
            self._question.go_on()
        return False

    async def read(self, since: float | None) -> None:
        """Return once all was played that came after ``since``. Raises `NotReadError`, `NetworkError`."""
        await self._question.ask(self._client, None, self._stall)
        if not self._client.features.playback or since is None:
            return
        self._question = Question()
        await self._client.send(Line("CAP", ("REQ", PLAYBACK)))
        line = Line("PRIVMSG", ("*playback", f"PLAY * {since - OVERLAP:.3f}"))
        await self._question.ask(self._client, line, self._stall)
