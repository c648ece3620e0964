"""A load balancer as small as can be: one address before several processes.

The rule that must never break: a connection goes to a process that accepts connections; while there is none, it
ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from dm_bridge.testing.processes import LOOPBACK, free_port

CONNECT_DEADLINE = 0.5
CHUNK = 65536


class Balancer:
    """Listens on ``port``, and passes each connection on to the next of ``backends`` (ports) that accepts it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.backends: Sequence[int] = ()
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            behind = await self._connect()
            if behind is not None:
                await asyncio.gather(_pump(reader, behind[1]), _pump(behind[0], writer))
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        first = next(self._turn)
        for number in range(len(self.backends)):
            port = self.backends[(first + number) % len(self.backends)]
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_DEADLINE):
                    return await asyncio.open_connection(LOOPBACK, port)
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort() if reader.exception() else writer.close()
