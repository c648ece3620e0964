"""The connection pool, and the translation of database trouble into `StorageError`.

Behind a pooler that hands out connections by transaction (PgBouncer), every call is a transaction of its own,
and nothing is prepared beyond it; that is found out when the pool is opened.

The rule that must never break: no database call lasts longer than its deadline, and none fails
with anything but a `StorageError` (a bug in our SQL excepted). And no call of a process that the others have
buried has an effect: what makes sure of that is `fence`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from dm_bridge.errors import StorageError
from dm_bridge.texts import phrase

Connection = PoolConnectionProxy  # what `Database.connection` yields

COMMAND_DEADLINE = 30.0
PROBE_DEADLINE = 2.0
CONNECT_DEADLINE = 10.0
IDLE_IN_TRANSACTION = "5s"
"""After this time a pooled transaction of a process that does not go on ends, whatever the process does."""

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
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,
)


class Buried(StorageError):
    """The other processes have taken this one for dead, and have taken over all it had."""

    def __init__(self) -> None:
        super().__init__(phrase("storage-taken-over"))


def storage_error(error: BaseException) -> StorageError:
    """The `StorageError` that says what an asyncpg or socket error means to an admin."""
    if isinstance(
        error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError
    ):
        return StorageError(phrase("storage-refused", why=str(error)))
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return StorageError(phrase("storage-none", why=str(error)))
    if isinstance(error, asyncpg.UndefinedTableError):
        return StorageError(phrase("storage-empty"))
    detail = str(error) or type(error).__name__
    return StorageError(
        phrase("storage-away", why=detail),
        certain=isinstance(error, ConnectionRefusedError | FileNotFoundError),
        retry_after=1.0,
    )


async def _nothing_to_reset(connection: asyncpg.Connection) -> None:
    """We leave no session state behind; asyncpg's own reset would cost a round trip for every call."""


async def _is_pooled(url: str) -> bool:
    """Whether who answers at ``url`` is not the server process itself, by the id that each says it has."""
    connection = await asyncpg.connect(
        url, timeout=CONNECT_DEADLINE, command_timeout=CONNECT_DEADLINE, statement_cache_size=0
    )
    try:
        async with connection.transaction():
            backend = await connection.fetchval("SELECT pg_backend_pid()")
    finally:
        await connection.close(timeout=CONNECT_DEADLINE)
    return bool(backend != connection.get_server_pid())


class Database:
    """A pool of connections. Made by `open`; closed with `close`."""

    def __init__(self, url: str, instance: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool
        self.instance = instance
        """What the server shows as ``application_name``: this process's own name."""
        self.pooled = False
        """Whether a pooler hands out server connections by transaction."""
        self._fenced = False
        self._probe: asyncio.Task[bool] | None = None

    @classmethod
    async def open(cls, url: str, *, size: int = 10, instance: str | None = None) -> Database:
        """Connect to ``url``. Raises `StorageError` when that is impossible.

        ``instance``: the name of the process, when it has one already.
        """
        database = cls(url, instance or f"dm_bridge {secrets.token_hex(8)}")
        try:
            database.pooled = await _is_pooled(url)
            database._pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=size,
                timeout=CONNECT_DEADLINE,
                command_timeout=COMMAND_DEADLINE,
                statement_cache_size=0 if database.pooled else 100,
                init=database._init,
                reset=_nothing_to_reset,
                server_settings={"application_name": database.instance},
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
            raise storage_error(error) from error
        return database

    def fence(self) -> None:
        """From now on, nothing works once the row of ``instance`` that has our name is gone.

        Whoever deletes the row ends our connections first (`InstanceStore.bury`); a new one is refused here.
        Behind a pooler that cannot be done from outside, so every transaction looks for the row.
        """
        self._fenced = True

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
                if self.pooled:
                    async with connection.transaction():
                        if self._fenced:
                            await self._check_fence(connection, "FOR KEY SHARE")
                        yield connection
                else:
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

    async def _init(self, connection: asyncpg.Connection) -> None:
        if self._fenced and not self.pooled:
            await self._check_fence(connection)

    async def _check_fence(
        self, connection: asyncpg.Connection | Connection, lock: str = ""
    ) -> None:
        try:
            await connection.execute(
                f"""
                SELECT set_config('idle_in_transaction_session_timeout', '{IDLE_IN_TRANSACTION}', true),
                    1 / count(*)
                FROM (SELECT FROM instance WHERE instance_id = '{self.instance}' AND beat >= 0 {lock}) AS alive
                """
            )
        except asyncpg.DivisionByZeroError:
            raise Buried from None

    async def connect_alone(self) -> asyncpg.Connection:
        """A connection outside the pool, which the caller closes. Raises what asyncpg raises."""
        return await asyncpg.connect(
            self._url,
            timeout=CONNECT_DEADLINE,
            command_timeout=COMMAND_DEADLINE,
            server_settings={"application_name": self.instance},
        )

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
