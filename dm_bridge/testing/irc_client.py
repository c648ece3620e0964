"""An IRC client for tests and the demo. It shares no code with the connector.

The rule that must never break: what it says that it received is what the server sent, line by line.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

_WAIT_SECONDS = 60.0
_LEAVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Received:
    """A line as it came. ``at``: `time.monotonic` of its arrival."""

    raw: str
    tags: dict[str, str]
    prefix: str
    command: str
    params: tuple[str, ...]
    at: float = field(compare=False, default=0.0)

    @property
    def nick(self) -> str:
        """Who sent it."""
        return self.prefix.split("!", 1)[0]

    @property
    def text(self) -> str:
        """The last parameter."""
        return self.params[-1] if self.params else ""


class IrcUser:
    """``async with IrcUser("juliet", host, port) as juliet``: somebody who is connected."""

    def __init__(
        self,
        nick: str,
        host: str,
        port: int,
        *,
        user: str = "",
        password: str = "",
        caps: tuple[str, ...] = (),
        ca_file: Path | None = None,
    ) -> None:
        self.nick = nick
        self.received: list[Received] = []
        self._host, self._port = host, port
        self._user = user or "".join(filter(str.isalnum, nick)) or "x"
        self._password = password
        self._caps = caps
        self._ca_file = ca_file
        self._arrived = asyncio.Condition()
        self._numbers = itertools.count(1)
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        context = None
        if self._ca_file is not None:
            context = ssl.create_default_context(cafile=self._ca_file)
        reader, self._writer = await asyncio.open_connection(self._host, self._port, ssl=context)
        self._task = asyncio.create_task(self._read(reader))
        if self._caps:
            self.send_raw("CAP LS 302")
        if self._password:
            self.send_raw(f"PASS {self._password}")
        self.send_raw(f"NICK {self.nick}")
        self.send_raw(f"USER {self._user} 0 * :{self.nick}")
        if self._caps:
            self.send_raw(f"CAP REQ :{' '.join(self._caps)}")
            self.send_raw("CAP END")
        await self.wait_for(lambda line: line.command in ("376", "422"))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.quit()

    async def quit(self) -> None:
        """Leave, and wait until the server has closed the connection; idempotent."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.write(b"QUIT :bye\r\n")
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LEAVE_SECONDS):
                    await asyncio.gather(self._task, return_exceptions=True)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if writer is not None:
            writer.close()

    def send_raw(self, line: str | bytes) -> None:
        """Send a line as it is."""
        assert self._writer is not None, "not connected"
        data = line if isinstance(line, bytes) else line.encode()
        self._writer.write(data + b"\r\n")

    def say(self, target: str, text: str) -> None:
        """Write a private message."""
        self.send_raw(f"PRIVMSG {target} :{text}")

    async def change_nick(self, nick: str) -> None:
        """Take another nick; returns when the server has done so."""
        mark = self.mark()
        old = self.nick
        self.send_raw(f"NICK {nick}")
        await self.wait_for(lambda line: line.command == "NICK" and line.nick == old, after=mark)
        self.nick = nick

    async def join(self, channel: str) -> None:
        """Join a channel; returns when that is done."""
        mark = self.mark()
        self.send_raw(f"JOIN {channel}")
        await self.wait_for(lambda line: line.command == "366", after=mark)

    async def settled(self) -> None:
        """Return when the server has dealt with everything so far."""
        token = f"t{next(self._numbers)}"
        self.send_raw(f"PING {token}")
        await self.wait_for(lambda line: line.command == "PONG" and line.text == token)

    def mark(self) -> int:
        """Where we are now, for ``after``."""
        return len(self.received)

    def texts(self, sender: str | None = None) -> list[str]:
        """What was written to us privately."""
        return [
            line.text
            for line in self.received
            if line.command == "PRIVMSG"
            and line.params[0].lower() == self.nick.lower()
            and (sender is None or line.nick.lower() == sender.lower())
        ]

    async def wait_for(
        self,
        condition: Callable[[Received], bool],
        *,
        after: int = 0,
        timeout: float = _WAIT_SECONDS,
    ) -> Received:
        """The first line that satisfies ``condition``. Raises TimeoutError."""
        async with asyncio.timeout(timeout), self._arrived:
            while True:
                for line in self.received[after:]:
                    if condition(line):
                        return line
                after = max(after, len(self.received))
                await self._arrived.wait()

    async def wait_for_text(
        self, text: str, *, after: int = 0, timeout: float = _WAIT_SECONDS
    ) -> Received:
        """The private message or notice that says exactly this."""
        return await self.wait_for(
            lambda line: line.command in ("PRIVMSG", "NOTICE") and line.text == text,
            after=after,
            timeout=timeout,
        )

    async def wait_for_nick(self, nick: str, *, timeout: float = _WAIT_SECONDS) -> None:
        """Wait until somebody is on the server. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while True:
                mark = self.mark()
                self.send_raw(f"ISON {nick}")
                line = await self.wait_for(lambda line: line.command == "303", after=mark)
                if nick.lower() in line.text.lower().split():
                    return
                await asyncio.sleep(0.02)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                line = _split((await reader.readuntil(b"\n")).decode(errors="replace"))
                if line.command == "PING":
                    self.send_raw(f"PONG :{line.text}")
                async with self._arrived:
                    self.received.append(line)
                    self._arrived.notify_all()


def _split(raw: str) -> Received:
    rest = raw.rstrip("\r\n")
    tags: dict[str, str] = {}
    prefix = ""
    if rest.startswith("@"):
        packed, rest = rest[1:].split(" ", 1)
        tags = dict(item.partition("=")[::2] for item in packed.split(";"))
    if rest.startswith(":"):
        prefix, rest = rest[1:].split(" ", 1)
    words = rest.split(" :", 1)
    params = words[0].split() + words[1:]
    return Received(raw, tags, prefix, params[0], tuple(params[1:]), time.monotonic())
