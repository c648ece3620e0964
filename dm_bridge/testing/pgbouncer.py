"""A PgBouncer in transaction mode before a PostgreSQL, for tests.

The rule that must never break: `stop` leaves no process behind.
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import asyncpg

from dm_bridge.errors import AdminError
from dm_bridge.testing.processes import LOOPBACK, ManagedProcess, free_port

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_UNPRIVILEGED = "nobody"


class PgBouncer:
    """Made by `start`. ``url``: the database's URL by way of PgBouncer."""

    def __init__(self, process: ManagedProcess, url: str) -> None:
        self._process = process
        self.url = url

    @classmethod
    async def start(cls, directory: Path, database_url: str, *, servers: int = 4) -> Self:
        """Serve what is at ``database_url`` with ``servers`` connections to it. Raises `AdminError`.

        Started by root, it runs as another user, for whom ``directory`` must be within reach.
        """
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise AdminError("pgbouncer is missing. Install it: `tools/setup --tests` does so.")
        command, url = _prepare(directory, program, database_url, servers)
        process = ManagedProcess(
            "PgBouncer", command, log=directory / "pgbouncer.log", directory=directory
        )

        async def ready() -> bool:
            try:
                connection = await asyncpg.connect(url, timeout=5, statement_cache_size=0)
            except (OSError, asyncpg.PostgresError):
                return False
            await connection.close()
            return True

        await process.start(ready, timeout=_START_SECONDS)
        return cls(process, url)

    async def stop(self) -> None:
        """End it."""
        await self._process.stop(timeout=_STOP_SECONDS)


def _socket_or_host(url: str) -> str:
    parts = urlsplit(url)
    for pair in parts.query.split("&"):
        key, _, value = pair.partition("=")
        if key == "host":
            return value.replace("%2F", "/")
    return parts.hostname or LOOPBACK


def _prepare(
    directory: Path, program: str, database_url: str, servers: int
) -> tuple[list[str], str]:
    """Write what it needs; how to start it, and the URL by which it is reached."""
    parts = urlsplit(database_url)
    name = parts.path.lstrip("/")
    host = _socket_or_host(database_url)
    target = f"host={host} port={parts.port or 5432} dbname={name}"
    port = free_port()
    directory.mkdir(parents=True, exist_ok=True)
    users = directory / "users.txt"
    users.write_text(f'"{parts.username}" "{parts.password or ""}"\n', encoding="utf-8")
    settings = directory / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{name} = {target}\n[pgbouncer]\npool_mode = transaction\n"
        f"listen_addr = {LOOPBACK}\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {users}\ndefault_pool_size = {servers}\nmax_client_conn = 200\n",
        encoding="utf-8",
    )
    command = [program, str(settings)]
    if os.geteuid() == 0:  # it refuses to run as root
        owner = Path(host).stat().st_uid if host.startswith("/") else 0
        account = pwd.getpwuid(owner) if owner else pwd.getpwnam(_UNPRIVILEGED)
        for path in (directory, users, settings):
            os.chown(path, account.pw_uid, account.pw_gid)
        command[1:1] = ["-u", account.pw_name]
    url = f"postgresql://{parts.username}@{LOOPBACK}:{port}/{name}"
    return command, url
