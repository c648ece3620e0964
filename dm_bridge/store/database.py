"""The connection pool, and the translation of database trouble into `StorageError`.

The rule that must never break: no database call lasts longer than its deadline, and none fails
with anything but a `StorageError` (a bug in our SQL excepted).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from dm_bridge.errors import StorageError

Connection = PoolConnectionProxy  # what `Database.connection` yields

COMMAND_DEADLINE = 30.0
PROBE_DEADLINE = 2.0
CONNECT_DEADLINE = 10.0

TROUBLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says of a connection that ended at the wrong moment
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,
)


def storage_error(error: BaseException) -> StorageError:
    """The `StorageError` that says what an asyncpg or socket error means to an admin."""
    if isinstance(
        error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError
    ):
        return StorageError(
            f"PostgreSQL refuses our user or password ({error}). Check database.url."
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return StorageError(
            f"PostgreSQL has no such database ({error}). Create it, or check database.url."
        )
    if isinstance(error, asyncpg.UndefinedTableError):
        return StorageError(
            "The database has no dm_bridge schema (or only a part of it). Run `dm-bridge migrate`."
        )
    detail = str(error) or type(error).__name__
    return StorageError(
        f"PostgreSQL cannot be used right now ({detail}). Check that it runs and that database.url is right.",
        certain=isinstance(error, ConnectionRefusedError | FileNotFoundError),
        retry_after=1.0,
    )


async def _nothing_to_reset(connection: asyncpg.Connection) -> None:
    """We leave no session state behind; asyncpg's own reset would cost a round trip for every call."""


class Database:
    """A pool of connections. Made by `open`; closed with `close`."""

    def __init__(self, pool: asyncpg.Pool, instance: str = "dm_bridge") -> None:
        self._pool = pool
        self.instance = instance
        self._probe: asyncio.Task[bool] | None = None
        """What the server shows as ``application_name``: this process's own name."""

    @classmethod
    async def open(cls, url: str, *, size: int = 10) -> Database:
        """Connect to ``url``. Raises `StorageError` when that is impossible."""
        instance = f"dm_bridge {secrets.token_hex(8)}"
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=size,
                timeout=CONNECT_DEADLINE,
                command_timeout=COMMAND_DEADLINE,
                reset=_nothing_to_reset,
                server_settings={"application_name": instance},
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
            raise storage_error(error) from error
        return cls(pool, instance)

    async def close(self) -> None:
        """Close every connection, within five seconds."""
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit mode. Raises `StorageError` for any trouble inside."""
        try:
            async with self._pool.acquire(timeout=COMMAND_DEADLINE) as connection:
                yield connection
        except TROUBLE as error:
            if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
                raise  # a value that PostgreSQL cannot hold: waiting does not help
            raise storage_error(error) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction, committed at the end of the block."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def healthy(self) -> bool:
        """Whether the database answers within two seconds.

        A server that hangs also keeps a question from being taken back, so that is not waited for; nor is
        another one asked meanwhile.
        """
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._answers())
        done, _ = await asyncio.wait({self._probe}, timeout=PROBE_DEADLINE)
        return bool(done) and self._probe.result()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_DEADLINE), self.connection() as connection:
                await connection.fetchval("SELECT 1")
        except (StorageError, TimeoutError, asyncpg.PostgresError):
            return False
        return True
