"""Files, both ways: how many megabytes a second, against a bare copy from the one server to the other.

The bare copy is one request whose answer is the body of another one: nothing is said in any chat, and nothing is
looked at. Through the bridge, the clock runs from before the message is sent until the other side sees the
event, or the message. What arrives is compared byte by byte, outside the clock.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import harmonic_mean

import aiohttp

from benchmarks.report import Figures, Row
from benchmarks.tally import Disorder, body
from benchmarks.world import PATIENCE, World

SIZE = 20_000_000
MOST_MEMORY = 32.0
_TYPE = "application/octet-stream"
_MEGABYTES = SIZE / 1e6


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the bridge's process, in megabytes: before a file, and at most while it passed."""

    before: float
    most: float


class Copies:
    """Files of `SIZE` bytes, each with a content of its own. ``memory``: what each cost."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = itertools.count()
        self.memory: list[Memory] = []

    async def to_matrix(self, rounds: int) -> AsyncIterator[Figures]:
        """From the XMPP server to the homeserver. Yields each round."""
        await self._world.meet("juliet", body("media", "juliet", 0))
        for _ in range(rounds):
            before = await self._bare_to_matrix()
            bridge = await self._through_bridge_to_matrix()
            after = await self._bare_to_matrix()
            yield Figures(bare=harmonic_mean((before, after)), bridge=bridge)

    async def to_remote(self, rounds: int) -> AsyncIterator[Figures]:
        """From the homeserver to the XMPP server. Yields each round."""
        await self._world.meet("juliet", body("media", "juliet", 1))
        for _ in range(rounds):
            before = await self._bare_to_remote()
            bridge = await self._through_bridge_to_remote()
            after = await self._bare_to_remote()
            yield Figures(bare=harmonic_mean((before, after)), bridge=bridge)

    def _content(self) -> bytes:
        return random.Random(next(self._numbers)).randbytes(SIZE)

    async def _bare_to_matrix(self) -> float:
        url = await self._world.juliet.upload("bare.bin", self._content(), _TYPE)
        return _MEGABYTES / await self._world.bare.copy_in(url, SIZE)

    async def _through_bridge_to_matrix(self) -> float:
        world, content = self._world, self._content()
        url = await world.juliet.upload("bridge.bin", content, _TYPE)
        mark, usage = world.alice.mark(), Usage(world.stack.bridge.pid)
        start = time.monotonic()
        world.juliet.send_xml(
            f"<message xmlns='jabber:client' to='{world.jid}' type='chat' id='{url[-40:]}'>"
            f"<body>{escape(url)}</body><x xmlns='jabber:x:oob'><url>{escape(url)}</url></x></message>"
        )
        seen = await world.alice.wait_for(
            lambda s: s.content.get("msgtype") == "m.file", PATIENCE, after=mark
        )
        self.memory.append(usage.end())
        arrived, _ = await world.alice.download(seen.content["url"])
        _check(content, arrived)
        return _MEGABYTES / (seen.at - start)

    async def _bare_to_remote(self) -> float:
        world = self._world
        mxc = await world.alice.upload(self._content(), _TYPE, "bare.bin")
        put, headers = await world.juliet.upload_slot("bare.bin", SIZE, _TYPE)
        return _MEGABYTES / await world.bare.copy_out(mxc, put, headers, SIZE)

    async def _through_bridge_to_remote(self) -> float:
        world, content = self._world, self._content()
        mxc = await world.alice.upload(content, _TYPE, "bridge.bin")
        mark, usage = world.juliet.mark(), Usage(world.stack.bridge.pid)
        event = {"msgtype": "m.file", "body": "bridge.bin", "url": mxc}
        start = time.monotonic()
        await world.alice.send_event(world.rooms["juliet"], "m.room.message", event)
        received = await world.juliet.wait_for(
            lambda r: r.body.endswith("bridge.bin"), PATIENCE, after=mark
        )
        self.memory.append(usage.end())
        async with aiohttp.ClientSession() as session, session.get(received.body) as response:
            _check(content, await response.read())
        return _MEGABYTES / (received.at - start)

    def memory_row(self) -> Row:
        """How much more memory the bridge had while a file passed."""
        most = max(each.most - each.before for each in self.memory)
        before = max(each.before for each in self.memory)
        return Row(
            f"memory while {_MEGABYTES:.0f} MB pass",
            "",
            f"{before:.0f} MB before",
            f"+ {most:.1f} MB",
            f"at most {MOST_MEMORY:.0f} MB",
            most <= MOST_MEMORY,
        )


class Usage:
    """The memory of a process from now until `end`."""

    def __init__(self, pid: int) -> None:
        self._directory = Path(f"/proc/{pid}")
        (self._directory / "clear_refs").write_text("5")  # the peak begins anew
        self._before = self._read("VmRSS")

    def end(self) -> Memory:
        return Memory(self._before, self._read("VmHWM"))

    def _read(self, name: str) -> float:
        for line in (self._directory / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise OSError(f"{self._directory} does not tell {name}")


def _check(sent: bytes, arrived: bytes) -> None:
    if hashlib.sha256(sent).digest() != hashlib.sha256(arrived).digest():
        raise Disorder(f"a file of {len(sent)} bytes arrived as another one of {len(arrived)}")
