"""What a new connection has yet to read, and what waits until it is read.

While a record is read, all that arrives is held, in order: messages, and who moves meanwhile. It follows when the
record was read, or when the server does not go on with it.

The rule that must never break: what arrives is held for a limited time and in limited number, and none is dropped.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import structlog

from dm_bridge.connectors.irc.asking import NotReadError
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.history import History
from dm_bridge.connectors.irc.incoming import Incoming
from dm_bridge.connectors.irc.intake import Intake
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.connectors.irc.playback import Playback
from dm_bridge.connectors.irc.record import Here

_log = structlog.get_logger(__name__)

MAX_HELD = 10_000
"""Lines that are held at most; when there are more, order has to yield."""


class Take(Protocol):
    """Deals with a line. ``again``: the record that was read may have it, too."""

    def __call__(self, line: Line, here: Here, *, again: bool = False) -> None: ...


class CatchUp:
    """Of one connection. ``take``: gets what was held. ``stall``: how long a server may fall silent, in seconds.

    ``over``: set once nothing is held any more. ``failed``: the record was not read, or not all of it.
    """

    def __init__(
        self,
        incoming: Incoming,
        intake: Intake,
        login: str,
        take: Take,
        stall: float,
    ) -> None:
        self._incoming = incoming
        self._intake = intake
        self._login = login
        self._take = take
        self._stall = stall
        self._held: list[tuple[Line, Here]] = []
        self._asked = False
        self.over = asyncio.Event()
        self.failed = False

    def hold(self, line: Line, here: Here) -> bool:
        """Whether ``line`` is kept for later."""
        if self.over.is_set():
            return False
        self._held.append((line, here))
        if len(self._held) >= MAX_HELD:
            _log.warning("messages overtake older ones", login=self._login)
            self.end()
        return True

    async def run(self, client: Client) -> None:
        """Read what came after the position. Raises `NetworkError` when the connection ends."""
        began = time.time()
        self._asked = client.features.history
        reader = (
            History(client, self._incoming, self._intake, self._login, self._stall)
            if self._asked
            else Playback(client, self._stall)
        )
        client.first = reader.take
        try:
            await reader.read(self._incoming.progress.since)
        except NotReadError as error:
            self.failed = True
            _log.warning("what was missed was not read", login=self._login, reason=str(error))
        except Exception:
            self.failed = True
            raise
        finally:
            client.first = lambda line: False
        if not self._asked:
            self.end()  # what a bouncer plays is among what was held
        if not self.failed:
            self._incoming.caught_up(began)
        self.end()

    def end(self) -> None:
        """Let go of what was held: there is no record, or it was read, or it will not be."""
        if self._asked or self.failed:
            self._incoming.progress.not_read()
        held, self._held = self._held, []
        self.over.set()
        for line, here in held:
            self._take(line, here, again=self._asked)
