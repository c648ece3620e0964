"""Who types, both ways: the tag ``+typing`` on lines without a text (IRCv3 typing).

The rule that must never break: what is sent here never makes a message wait, and nobody types for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dm_bridge.connectors.irc.addresses import contact_id
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId
from dm_bridge.network.signals import TYPING_SECONDS, RemoteTyping, Signal

TAG = "typing"
EVERY = 3.5
"""Seconds between two lines about typing to the same person; the specification wants three at least."""
LONGEST = 600.0
"""Seconds after which a user who is still said to type has stopped: the word for that may have been lost."""
ACTIVE_SECONDS, PAUSED_SECONDS = 6.0, 30.0
"""For how long a contact types who says no more."""
_ACTIVE, _PAUSED, _DONE = "active", "paused", "done"
_MAX_CHATS = 50


@dataclass(slots=True)
class _Told:
    """``typing``: what the user does, ``since`` when; ``told``: whether the contact takes them to type."""

    typing: bool
    since: float
    told: bool = False


class OwnTyping:
    """What contacts are told of the user's typing. ``reaches``: whether a folded nick is surely theirs."""

    def __init__(self, reaches: Callable[[Client, str], Awaitable[bool]]) -> None:
        self._reaches = reaches
        self._chats: dict[str, _Told] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._at: OrderedDict[str, float] = OrderedDict()

    def tell(self, client: Client, nick: str, typing: bool) -> None:
        """The user types, or has stopped. Returns at once."""
        now = asyncio.get_running_loop().time()
        told = self._chats.get(nick)
        if told is not None:
            told.typing, told.since = typing, now
        elif typing and len(self._chats) < _MAX_CHATS:
            self._chats[nick] = _Told(True, now)
            task = asyncio.create_task(self._tell(client, nick))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def wrote(self, nick: str) -> None:
        """A message goes there, which says that its author does not type any more."""
        told = self._chats.get(nick)
        if told is not None:
            told.typing = told.told = False

    async def stop(self) -> None:
        """Say no more."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, client: Client, nick: str) -> None:
        loop, told = asyncio.get_running_loop(), self._chats[nick]
        try:
            with contextlib.suppress(NetworkError):
                while await self._is_news(nick, told) and await self._reaches(client, nick):
                    state = _ACTIVE if told.typing else _DONE
                    sent = await client.send_if_free(Line("TAGMSG", (nick,), {f"+{TAG}": state}))
                    self._at[nick] = loop.time()
                    self._at.move_to_end(nick)
                    if len(self._at) > _MAX_CHATS:
                        self._at.popitem(last=False)
                    told.told = state == _ACTIVE and (sent or told.told)
        finally:
            del self._chats[nick]

    async def _is_news(self, nick: str, told: _Told) -> bool:
        """Whether there is something to say, as soon as that may be."""
        loop = asyncio.get_running_loop()
        if told.typing or told.told:
            await asyncio.sleep(max(0.0, self._at.get(nick, -math.inf) + EVERY - loop.time()))
        if told.typing and loop.time() - told.since > LONGEST:
            told.typing = False
        return told.typing or told.told


class Typists:
    """Which contacts type; keys are folded nicks. ``signal``: is told whenever that changes."""

    def __init__(self, network: str, signal: Callable[[Signal], None]) -> None:
        self._network = network
        self._signal = signal
        self._ends: dict[str, asyncio.TimerHandle] = {}
        self._said: dict[str, float] = {}

    def says(self, nick: str, state: str) -> None:
        """A contact says what they do; a word that is not known says nothing."""
        seconds = {_ACTIVE: ACTIVE_SECONDS, _PAUSED: PAUSED_SECONDS}.get(state)
        if seconds is not None:
            self._types(nick, seconds)
        elif state == _DONE:
            self.stopped(nick)

    def wrote(self, nick: str) -> None:
        """A message came from them, which says by itself that they do not type any more."""
        self._forget(nick)

    def stopped(self, nick: str) -> None:
        """They do not type any more, or are gone."""
        if self._forget(nick):
            self._tell(nick, typing=False)

    def all_stopped(self) -> None:
        """The connection is gone."""
        for nick in list(self._ends):
            self.stopped(nick)

    def _types(self, nick: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if nick in self._ends:
            self._ends[nick].cancel()
        elif len(self._ends) >= _MAX_CHATS:
            return
        self._ends[nick] = loop.call_later(seconds, self.stopped, nick)
        if loop.time() - self._said.get(nick, -math.inf) >= TYPING_SECONDS / 2:
            self._said[nick] = loop.time()
            self._tell(nick, typing=True)

    def _forget(self, nick: str) -> bool:
        end = self._ends.pop(nick, None)
        self._said.pop(nick, None)
        if end is not None:
            end.cancel()
        return end is not None

    def _tell(self, nick: str, *, typing: bool) -> None:
        contact = contact_id(nick, self._network)
        self._signal(RemoteTyping(ChatId(contact), contact, typing))
