"""As little HTTP as a server can do: whole requests with a length, kept connections, answers at once.

Where a framework would cost more than what is measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Answer = tuple[int, bytes]
Handle = Callable[[str, str, bytes], Answer | Awaitable[Answer]]
"""Given method, target and body; the status and the JSON to answer with."""


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, handle: Handle, all_of_them: set[Connection]) -> None:
        self._handle = handle
        self._all = all_of_them
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._later: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._all.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)
        self._transport = None
        for task in self._later:
            task.cancel()

    def cut(self) -> None:
        """End it without a word."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _length(head)
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            method, target, _ = head[: head.index(b"\r\n")].decode().split(" ")
            answer = self._handle(method, target, body)
            if isinstance(answer, tuple):
                self._write(answer)
            else:
                task = asyncio.ensure_future(self._wait(answer))
                self._later.add(task)
                task.add_done_callback(self._later.discard)

    async def _wait(self, answer: Awaitable[Answer]) -> None:
        self._write(await answer)

    def _write(self, answer: Answer) -> None:
        status, body = answer
        if self._transport is not None:
            self._transport.write(
                b"HTTP/1.1 %d x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (status, len(body), body)
            )


def _length(head: bytes) -> int:
    at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    return int(head[at + 17 :].partition(b"\r\n")[0])


class Server:
    """Listens; `down` and `up` again."""

    def __init__(self, handle: Handle, host: str, port: int) -> None:
        self._handle = handle
        self._host, self._port = host, port
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def up(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._handle, self._connections),
            self._host,
            self._port,
            backlog=1024,
        )

    async def down(self) -> None:
        """Cut every connection, and refuse new ones."""
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.cut()
