"""A question to a server whose answer may be long: it is waited for while it makes progress.

The rule that must never break: nothing is waited for longer than the server takes to say something of it.
"""

from __future__ import annotations

import asyncio
import secrets

from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.errors import NetworkError


class NotReadError(NetworkError):
    """The server did not tell. Completes the sentence "What was missed was not read: ..."."""


class StalledError(NotReadError):
    """The server has stopped in the middle; to ask it more is of no use."""


class Question:
    """One question, and the PING with ``token`` that follows it. ``lines``: what has come."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._at = self._loop.time()
        self.token = f"record{secrets.token_hex(4)}"
        self.lines: list[Line] = []

    @property
    def over(self) -> bool:
        return self._done.done()

    def go_on(self) -> None:
        """Something has come for it."""
        self._at = self._loop.time()

    def finish(self, error: NotReadError | None = None) -> None:
        """All has come, or nothing will."""
        if not self.over and error is None:
            self._done.set_result(None)
        elif not self.over and error is not None:
            self._done.set_exception(error)

    async def ask(self, client: Client, line: Line | None, stall: float) -> None:
        """Ask, and wait for the end. Raises `NotReadError`, `NetworkError`."""
        await client.ask(line, self.token)
        self.go_on()
        while not self.over:
            left = self._at + stall - self._loop.time()
            if left <= 0:
                raise StalledError(f"the server has said nothing more for {stall:g} seconds")
            await asyncio.wait({self._done}, timeout=left)
        self._done.result()
