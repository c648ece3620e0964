"""A network in memory: a server with numbered notes for each account, people, and the way to it.

The rule that must never break: a note has one number for ever, and what has the same key is one message.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.network.signals import Availability
from dm_bridge.testing.conformance import Deed, Heard, Shared

T = TypeVar("T")

RETRY = 0.02
ANSWER_SECONDS = 0.3
NOBODY = "nobody"
FORGETS = 0.4
"""Seconds after which people's pigeons take it that nobody types any more."""
Shown = tuple[Availability, str]
AWAY_FOR_GOOD: Shown = (Availability.OFFLINE, "")


@dataclass(frozen=True, slots=True)
class Note:
    """``kind``: ``text``, ``own``, ``sent`` (through the bridge), ``bounce``, ``move``, ``read``, ``own read`` or
    ``received``; of the last three, ``about`` is the number of the note.

    ``deed``: what is done, as in `Deed.kind`, if it is not just a message; ``about``: the number of the note that
    it is done to. Reactions are a text, one in each line.
    """

    number: int
    kind: str
    chat: str
    text: str
    key: str = ""
    deed: str = ""
    about: str = ""
    file: Shared | None = None


@dataclass
class Box:
    """An account on the server. ``listens``: is told of what is gone a moment later: who, and what."""

    address: str
    password: str
    log: list[Note] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    friends: set[str] = field(default_factory=set)
    shows: Shown = AWAY_FOR_GOOD
    listens: Callable[[str, bool | Shown], None] | None = None


class Link:
    """One connection."""

    def __init__(self) -> None:
        self.broken = asyncio.Event()


class Loft:
    """The server, and the way to it: it is a `Line`."""

    def __init__(self) -> None:
        self.boxes: dict[str, Box] = {}
        self.people: dict[str, PigeonPerson] = {}
        self.files: dict[str, bytes] = {}
        self.connections = 0
        self._links: set[Link] = set()
        self._refuses = self._mute = False
        self._flows = asyncio.Event()
        self._flows.set()

    # -- what people and the bridge do

    def write(
        self,
        sender: str,
        to: str,
        text: str,
        deed: str = "",
        about: str = "",
        file: Shared | None = None,
    ) -> None:
        """Somebody writes to somebody, or does something to a message: to a note, or what once was one."""
        if to in self.boxes:
            self.note(self.boxes[to], "text", sender, text, "", deed, about, file)
        if to in self.people:
            self.people[to].gets(sender, text, deed, about, file)

    def keep(self, content: bytes) -> str:
        """Keep a file; its address."""
        url = f"https://loft.example/{len(self.files)}"
        self.files[url] = content
        return url

    def tell(self, sender: str, to: str, what: bool | Shown) -> None:
        """Somebody types, or has stopped, or is there, or not."""
        box = self.boxes.get(to)
        if box is not None and box.listens is not None:
            box.listens(sender, what)
        if to in self.people and isinstance(what, bool):
            self.people[to].sees_typing(sender, what)

    def reads(self, box: Box, chat: str, number: str, kind: str) -> None:
        """The owner of an account has got a message, or read it (``received``, ``seen``): its author is told."""
        for note in box.log:
            if str(note.number) == number and chat in self.people:
                told: list[Heard] = getattr(self.people[chat], kind)
                told.append(Heard(box.address, note.text))

    def post(
        self,
        box: Box,
        to: str,
        text: str,
        key: str,
        kind: str = "sent",
        deed: str = "",
        about: str = "",
        *,
        file: Shared | None = None,
    ) -> str:
        """The owner of an account writes; the id of the message. What has the same key is one message."""
        for note in box.log:
            if key and note.key == key:
                return str(note.number)
        note = self.note(box, kind, to, text, key, deed, about, file)
        if to == NOBODY:
            self.note(box, "bounce", to, str(note.number))
        meant = [one.text for one in box.log if str(one.number) == about and one.chat == to]
        self.write(box.address, to, text, deed, meant[0] if meant else "", file)
        return str(note.number)

    def note(
        self,
        box: Box,
        kind: str,
        chat: str,
        text: str,
        key: str = "",
        deed: str = "",
        about: str = "",
        file: Shared | None = None,
    ) -> Note:
        """Add to a log."""
        note = Note(len(box.log) + 1, kind, chat, text, key, deed, about, file)
        box.log.append(note)
        box.news.set()
        return note

    def meant(self, box: Box, chat: str, text: str) -> str:
        """The number of the note of a chat that says something; what nobody said is taken for one."""
        for note in box.log:
            if (note.chat, note.text, note.deed) == (chat, text, ""):
                return str(note.number)
        return text

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
        self.deeds: list[Deed] = []
        self.files: list[Shared] = []
        self.seen: list[Heard] = []
        self.received: list[Heard] = []
        self.shows: Shown = (Availability.ONLINE, "")
        self._types: dict[str, float] = {}
        self._heard: list[Heard] = []

    @property
    def heard(self) -> list[Heard]:
        if self._box is None:
            return self._heard
        return [Heard(one.chat, one.text) for one in self._box.log if one.kind == "text"]

    @property
    def typists(self) -> list[str]:
        return [who for who, since in self._types.items() if time.monotonic() - since < FORGETS]

    def sees_typing(self, sender: str, typing: bool) -> None:
        self._types.pop(sender, None)
        if typing:
            self._types[sender] = time.monotonic()

    def gets(self, sender: str, text: str, deed: str, about: str, file: Shared | None) -> None:
        self.sees_typing(sender, False)
        if file is not None:
            self.files.append(file)
        elif deed in ("", "reply"):
            self._heard.append(Heard(sender, text))
        if deed == "reactions":
            self.deeds.append(Deed(sender, deed, about, "", tuple(text.splitlines())))
        elif deed:
            self.deeds.append(Deed(sender, deed, about, text))

    async def say(self, to: str, text: str) -> None:
        self.does(to, text)

    def reads(self, to: str, about: str, kind: str) -> None:
        """Tell the author of a message, or from home the account, that it has been ``read``, or ``received``."""
        if self._box is not None:
            number = self._loft.meant(self._box, to, about)
            self._loft.note(self._box, f"own {kind}", to, "", about=number)
        elif to in self._loft.boxes:
            box = self._loft.boxes[to]
            self._loft.note(
                box, kind, self.address, "", about=self._loft.meant(box, self.address, about)
            )

    def appear(self, shown: Shown) -> None:
        self.shows = shown
        for box in self._loft.boxes.values():
            if self.address in box.friends:
                self._loft.tell(self.address, box.address, shown)

    def does(self, to: str, text: str, deed: str = "", about: str = "") -> None:
        """``about``: what a message said."""
        if self._box is not None:
            number = self._loft.meant(self._box, to, about)
            self._loft.post(self._box, to, text, "", "own", deed, number)
        elif to in self._loft.boxes:
            number = self._loft.meant(self._loft.boxes[to], self.address, about)
            self._loft.write(self.address, to, text, deed, number)
        else:
            self._loft.write(self.address, to, text, deed, about)

    async def leave(self) -> None:
        if self._box is None:
            self.appear(AWAY_FOR_GOOD)
