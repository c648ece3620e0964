"""A TCP proxy that breaks what passes through it: on request, or when it sees a certain thing pass.

It cuts connections (with a FIN or a RST), stalls, delays and refuses them, loses answers to requests that were
passed on, answers in a server's place, and repeats requests. A *trap* waits for a frame of the protocol
(`dm_bridge.testing.dialects`) and runs a hook before the frame is passed on, in which anything may happen: so a
process can be killed at a named point of a conversation, without any code in that process.

The rule that must never break: what no fault was asked for passes unchanged and in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from dm_bridge.testing.dialects import Dialect, Frame, Raw
from dm_bridge.testing.processes import LOOPBACK, free_port

_CHUNK = 65536
_REPEAT_SECONDS = 30.0
_CLOSE_SECONDS = 5.0
Address = tuple[str, int] | Path
"""A host and a port, or a Unix socket."""


class End(enum.Enum):
    """How a connection ends. ``FIN``: in order, for both sides. ``RESET``: with a RST."""

    FIN = "fin"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a frame. ``forward``: what is passed on instead of it; None: itself.

    ``back``: what is sent back to where the frame came from. ``end``: how the connection ends then.
    """

    forward: bytes | None = None
    back: bytes = b""
    end: End | None = None


PASS = Verdict()
DROP = Verdict(forward=b"")
CUT = Verdict(forward=b"", end=End.FIN)
RESET = Verdict(forward=b"", end=End.RESET)
PASS_AND_RESET = Verdict(end=End.RESET)

Hook = Callable[[Frame], Awaitable[Verdict]]


def http_answer(status: int, body: bytes, *headers: str) -> bytes:
    """An HTTP answer, to be given in a server's place."""
    lines = (
        f"HTTP/1.1 {status} Injected",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass(slots=True, eq=False)
class Trap:
    """Waits for frames. ``skip``: how many are let pass first; ``times``: how many are met then.

    ``sprung``: set when it has met its last.
    """

    pattern: re.Pattern[str]
    answer: bool
    hook: Hook
    skip: int
    times: int
    met: int = 0
    sprung: asyncio.Event = field(default_factory=asyncio.Event)

    def takes(self, frame: Frame) -> bool:
        """Whether the hook is to run for ``frame``; counts it."""
        if (
            self.met >= self.times
            or frame.to_server is self.answer
            or not frame.what
            or not self.pattern.search(frame.what)
        ):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.met += 1
        return True


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server

    def end(self, how: End, *, in_order: asyncio.StreamWriter | None = None) -> None:
        """End both sides; ``in_order``: one that is to get first what it was sent."""
        for writer in (self.client, self.server):
            if how is End.RESET and writer is not in_order:
                reset_when_closed(writer)
                writer.transport.abort()
            else:
                writer.close()


class FaultProxy:
    """``async with FaultProxy(target) as proxy``: what connects to ``proxy.port`` reaches ``target``.

    ``delay``: seconds that each frame is held. ``dialect``: how frames are recognised. ``observers``: called with
    each frame that comes. Its port is known before it is started, and the target may be set later.
    """

    def __init__(
        self,
        target: Address,
        dialect: Callable[[], Dialect] = Raw,
        *,
        port: int | None = None,
    ) -> None:
        self.target = target
        self.host = LOOPBACK
        self.port = port or free_port()
        self.delay = 0.0
        self.observers: list[Callable[[Frame], None]] = []
        self.connections = 0
        """How many it has taken so far."""
        self._dialect = dialect
        self._traps: list[Trap] = []
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._answering = asyncio.Event()
        self._answering.set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Its address, for HTTP."""
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.refuse()
        self.cut()
        self._flowing.set()
        self._answering.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_SECONDS)

    # -- faults at once

    async def accept(self) -> None:
        """Take connections, from now on or again."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self.host, self.port)

    def refuse(self) -> None:
        """Refuse new connections, as a machine does on which nothing listens. Those that stand go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self, how: End = End.RESET) -> int:
        """End every connection; how many there were."""
        links = list(self._links)
        for link in links:
            link.end(how)
        return len(links)

    def stall(self) -> None:
        """From now on nothing passes, and nothing is closed: both sides seem to hang."""
        self._flowing.clear()

    def mute(self) -> None:
        """From now on what clients send passes, and nothing comes back: answers are lost when they are cut."""
        self._answering.clear()

    async def mend(self) -> None:
        """No faults any more: no traps, no delay, everything passes."""
        self._traps.clear()
        self.delay = 0.0
        self._flowing.set()
        self._answering.set()
        await self.accept()

    # -- faults at a point of the protocol

    def when(
        self, pattern: str, hook: Hook, *, answer: bool = False, skip: int = 0, times: int = 1
    ) -> Trap:
        """Run ``hook`` before a frame whose ``what`` matches ``pattern`` is passed on; its verdict counts.

        ``answer``: wait for answers to such frames, or what a server says; else for what clients send.
        """
        trap = Trap(re.compile(pattern), answer, hook, skip, times)
        self._traps.append(trap)
        return trap

    def forget(self, trap: Trap) -> None:
        """Remove a trap."""
        with contextlib.suppress(ValueError):
            self._traps.remove(trap)

    async def repeat(self, data: bytes) -> Frame:
        """Send a request once more, on a connection of its own; the answer.

        Raises OSError when there is none, TimeoutError when it does not come.
        """
        async with asyncio.timeout(_REPEAT_SECONDS):
            reader, writer = await self._connect()
            try:
                dialect = self._dialect()
                dialect.feed(data, to_server=True)
                writer.write(data)
                while read := await reader.read(_CHUNK):
                    for frame in dialect.feed(read, to_server=False):
                        return frame
            finally:
                writer.close()
        raise ConnectionError("the server closed the connection without an answer")

    # -- passing on

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(self.target)
        return await asyncio.open_connection(*self.target)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            server_reader, server_writer = await self._connect()
        except OSError:
            reset_when_closed(writer)
            writer.transport.abort()
            return
        link = _Link(writer, server_writer)
        self._links.add(link)
        dialect = self._dialect()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(link, dialect, reader, to_server=True))
                both.create_task(self._pass(link, dialect, server_reader, to_server=False))
        except* OSError:
            link.end(End.RESET)
        finally:
            self._links.discard(link)
            link.end(End.FIN)

    async def _pass(
        self, link: _Link, dialect: Dialect, reader: asyncio.StreamReader, *, to_server: bool
    ) -> None:
        here, there = (link.client, link.server) if to_server else (link.server, link.client)
        while data := await reader.read(_CHUNK):
            for frame in dialect.feed(data, to_server=to_server):
                verdict = await self._judge(frame)
                if verdict.back:
                    here.write(verdict.back)
                    await here.drain()
                passed = frame.data if verdict.forward is None else verdict.forward
                if passed:
                    there.write(passed)
                    await there.drain()
                elif to_server:
                    dialect.unasked()
                if verdict.end is not None:
                    link.end(verdict.end, in_order=there if passed else None)
                    return
        await self._flowing.wait()
        there.write(dialect.rest(to_server=to_server))
        if there.can_write_eof():
            there.write_eof()

    async def _judge(self, frame: Frame) -> Verdict:
        await self._flowing.wait()
        if not frame.to_server:
            await self._answering.wait()
        for observe in self.observers:
            observe(frame)
        if self.delay:
            await asyncio.sleep(self.delay)
        for trap in list(self._traps):
            if trap.takes(frame):
                try:
                    return await trap.hook(frame)
                finally:
                    if trap.met >= trap.times:
                        self.forget(trap)
                        trap.sprung.set()
        return PASS


def reset_when_closed(writer: asyncio.StreamWriter) -> None:
    """Let the connection end with a RST instead of a FIN."""
    connection = writer.get_extra_info("socket")
    if isinstance(connection, socket.socket) or hasattr(connection, "setsockopt"):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
