"""A TCP connection that goes through us, and can be cut, or go deaf in either direction."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from dm_bridge.testing.processes import LOOPBACK


class Wire:
    """``async with Wire(host, port) as wire``: what connects to ``wire.port`` reaches the server.

    ``to_server``, ``to_client``: whether what is said in that direction arrives; what does not is lost.
    ``up``: whether connections are taken.
    """

    def __init__(self, host: str, port: int, own_port: int = 0) -> None:
        self._target = (host, port)
        self.port = own_port
        self.to_server = self.to_client = self.up = True
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection, for both ends."""
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """All is well again for those who connect from now on."""
        self.to_server = self.to_client = self.up = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        try:
            if self.up:
                server_reader, server_writer = await asyncio.open_connection(*self._target)
                writers.append(server_writer)
                self._writers.update(writers)
                await asyncio.gather(
                    self._pass(reader, server_writer, "to_server"),
                    self._pass(server_reader, writer, "to_client"),
                )
        except OSError:
            pass
        finally:
            self._writers.difference_update(writers)
            for each in writers:
                each.transport.abort()
                with contextlib.suppress(OSError):
                    await each.wait_closed()
            self._tasks.discard(task)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str
    ) -> None:
        while data := await reader.read(65536):
            if getattr(self, direction):
                writer.write(data)
                await writer.drain()
        writer.close()
