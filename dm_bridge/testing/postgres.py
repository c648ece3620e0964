"""A real PostgreSQL of its own, the one that comes with the bridge, for tests that do it harm.

The rule that must never break: it listens on a Unix socket only, and nothing of it is left after `stop`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg

from dm_bridge.errors import StorageError
from dm_bridge.store.embedded import EmbeddedPostgres

_STOP_SECONDS = 20.0
_ONE_AT_A_TIME = asyncio.Lock()  # the library's own lock is for processes, not for threads


class Postgres:
    """A running server. Made by `start`; ended by `stop`. ``url`` reaches its database ``postgres``."""

    def __init__(self, directory: Path, server: EmbeddedPostgres) -> None:
        self._pid_file = directory / "postgres" / "postmaster.pid"
        self._server = server
        self.url = server.url
        query = parse_qs(urlsplit(server.url).query)
        self.socket = Path(query["host"][0]) / ".s.PGSQL.5432"

    @classmethod
    async def start(cls, directory: Path) -> Postgres:
        """Start a server whose data are in ``directory``. Raises `StorageError`."""
        async with _ONE_AT_A_TIME:
            return cls(directory, await EmbeddedPostgres.start(directory))

    @property
    def running(self) -> bool:
        """Whether the server lives."""
        return self._pid_file.exists()

    async def execute(self, *statements: str) -> None:
        """Run statements, each on its own, as the superuser."""
        connection = await asyncpg.connect(self.url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def fetch(self, database: str, statement: str, *values: object) -> list[Any]:
        """The rows of a query in ``database``."""
        connection = await asyncpg.connect(self.url.replace("/postgres?", f"/{database}?"))
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def break_down(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT, in order; SIGQUIT, at once, with recovery at the next start.

        Returns when it is gone. Raises `StorageError` when it does not go.
        """
        pid = int(self._pid_file.read_text(encoding="ascii").split()[0])
        os.kill(pid, how)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._pid_file.exists():
            if time.monotonic() > deadline:
                raise StorageError("PostgreSQL does not stop.")
            await asyncio.sleep(0.02)

    async def start_again(self) -> None:
        """Start the server after `break_down`."""
        async with _ONE_AT_A_TIME:
            await self._server.start_again()

    async def stop(self) -> None:
        """Stop the server; the data stay."""
        async with _ONE_AT_A_TIME:
            await self._server.stop()
