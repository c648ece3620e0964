"""A network in memory: a server with numbered notes for each account, people, and the way to it.

The rule that must never break: a note has one number for ever, and what has the same key is one message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.testing.conformance import Heard

T = TypeVar("T")

RETRY = 0.02
ANSWER_SECONDS = 0.3
NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Note:
    """``kind``: ``text``, ``own``, ``sent`` (through the bridge), ``bounce`` or ``move``."""

    number: int
    kind: str
    chat: str
    text: str
    key: str = ""


@dataclass
class Box:
    """An account on the server."""

    address: str
    password: str
    log: list[Note] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Link:
    """One connection."""

    def __init__(self) -> None:
        self.broken = asyncio.Event()


class Loft:
    """The server, and the way to it: it is a `Line`."""

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {}
        self.people: dict[str, PigeonPerson] = {}
        self.connections = 0
        self._links: set[Link] = set()
        self._refuses = self._mute = False
        self._flows = asyncio.Event()
        self._flows.set()

    # -- what people and the bridge do

    def write(self, sender: str, to: str, text: str) -> None:
        """Somebody writes to somebody."""
        if to in self.boxes:
            self.note(self.boxes[to], "text", sender, text)
        if to in self.people:
            self.people[to].heard.append(Heard(sender, text))

    def post(self, box: Box, to: str, text: str, key: str, kind: str = "sent") -> str:
        """The owner of an account writes; the id of the message. What has the same key is one message."""
        for note in box.log:
            if key and note.key == key:
                return str(note.number)
        note = self.note(box, kind, to, text, key)
        if to == NOBODY:
            self.note(box, "bounce", to, str(note.number))
        self.write(box.address, to, text)
        return str(note.number)

    def note(self, box: Box, kind: str, chat: str, text: str, key: str = "") -> Note:
        """Add to a log."""
        note = Note(len(box.log) + 1, kind, chat, text, key)
        box.log.append(note)
        box.news.set()
        return note

    # -- the line

    async def call(self, link: Link, work: Callable[[], T]) -> T:
        """Have something done on the server. Raises `NetworkError`."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._flows.wait()
        except TimeoutError:
            link.broken.set()
        if link.broken.is_set():
            raise NetworkError("The loft does not answer.", retry_after=RETRY)
        await asyncio.sleep(0)
        result = work()
        if self._mute:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await link.broken.wait()
            link.broken.set()
            raise NetworkError("The loft did not answer.", certain=False, retry_after=RETRY)
        return result

    async def link(self, address: str, password: str) -> Link:
        """Connect. Raises `NetworkError`, `CredentialsError`."""
        if self._refuses:
            raise NetworkError("The loft cannot be reached.", retry_after=RETRY)
        self.connections += 1
        link = Link()
        self._links.add(link)

        def check() -> Link:
            box = self.boxes.get(address)
            if box is None or box.password != password:
                raise CredentialsError("The loft does not know this address and password.")
            return link

        return await self.call(link, check)

    async def cut(self) -> None:
        for link in self._links:
            link.broken.set()
        self._links.clear()

    async def refuse(self) -> None:
        self._refuses = True
        await self.cut()

    async def hang(self) -> None:
        self._flows.clear()

    async def mute(self) -> None:
        self._mute = True

    async def mend(self) -> None:
        self._refuses = self._mute = False
        self._flows.set()

    async def close(self) -> None: ...


class PigeonPerson:
    """Somebody who is no user of the bridge, or is one at home."""

    def __init__(self, loft: Loft, address: str, box: Box | None = None) -> None:
        self._loft = loft
        self._box = box
        self.address = address
        self.heard: list[Heard] = []

    async def say(self, to: str, text: str) -> None:
        if self._box is not None:
            self._loft.post(self._box, to, text, "", kind="own")
        else:
            self._loft.write(self.address, to, text)

    async def leave(self) -> None: ...
