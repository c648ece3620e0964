"""Builds what commands need that run beside a running bridge, or without one.

The rule that must never break: it changes nothing by being there. No schema is upgraded, no database and no
key is made, and an embedded PostgreSQL goes on running for as long as anybody else uses it.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from dm_bridge.bridge.access import MatrixTokens
from dm_bridge.bridge.direct_view import View
from dm_bridge.bridge.documents import Documents
from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.config import Config
from dm_bridge.direct import Bounds, DirectDocument, Malformed, NotSet
from dm_bridge.errors import BridgeError, StorageError, UserError
from dm_bridge.ids import UserId, server_name
from dm_bridge.matrix import handshake
from dm_bridge.matrix.accounts import Access, Accounts
from dm_bridge.matrix.discovery import Discovery, public_session
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.sessions import homeserver_session
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.embedded import EmbeddedPostgres
from dm_bridge.store.journals import JournalStore
from dm_bridge.store.logins import LoginRow, LoginState, LoginStore
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.portals import PortalStore
from dm_bridge.store.schema import check_schema
from dm_bridge.store.sealing import SealingKey
from dm_bridge.store.tokens import TokenStore

CONNECTIONS = 3
EMBEDDED_USER = "embedded_postgres"
"""As whom the embedded PostgreSQL runs when root starts it."""


class WitnessedDocuments(Documents):
    """Documents that remember what was done with them.

    ``seen``: what was read last, None while nothing was; ``writes``: what stood there before, and after.
    ``trouble``: the last failure, None after a success. ``uncertain``: whether the last write may have been
    made, though it failed.
    """

    def __init__(self, homeserver: Homeserver, accounts: Accounts, config: Config) -> None:
        super().__init__(homeserver, accounts, config.ghosts.owns)
        self.seen: DirectDocument | Malformed | NotSet | None = None
        self.writes: list[tuple[DirectDocument, DirectDocument]] = []
        self.trouble: BridgeError | None = None
        self.uncertain = False

    async def read(self, account: UserId) -> DirectDocument | Malformed | NotSet:
        """As `Documents.read`."""
        try:
            self.seen = await super().read(account)
        except BridgeError as error:
            self.trouble = error
            raise
        self.trouble = None
        return self.seen

    async def write(self, account: UserId, document: DirectDocument) -> None:
        """As `Documents.write`."""
        before = self.seen if isinstance(self.seen, DirectDocument) else DirectDocument()
        try:
            await super().write(account, document)
        except BridgeError as error:
            self.trouble, self.uncertain = error, not error.certain
            raise
        self.uncertain = False
        self.writes.append((before, document))


@dataclass(frozen=True, slots=True)
class Offline:
    """The parts. `keeper` and ``view`` do nothing by themselves."""

    config: Config
    database: Database
    store: DirectStore
    journals: JournalStore
    documents: WitnessedDocuments
    keeper: Keeper
    view: View
    accounts: Accounts
    logins: tuple[LoginRow, ...]
    tokens: frozenset[UserId]
    as_users: Homeserver

    def never_keys(self, account: UserId) -> list[UserId]:
        """The users under whom no managed room of the account may stand."""
        return list(_never_keys(self.config, self.logins, account))

    def has_login(self, account: UserId) -> bool:
        """Whether the account has a login on the bridge."""
        return _may_act_for(self.logins, account)

    async def check_access(self, account: UserId) -> str | None:
        """Find out whether the account can be acted for, which `accounts` says then; if not, why.

        Raises `HomeserverError` when the homeserver does not answer.
        """
        if self.config.ghosts.owns(account):
            return None
        problem: str | None = None
        local = server_name(account) == self.config.homeserver.domain
        if local and self.has_login(account):
            problem = await handshake.accounts_problem(self.as_users)
            self.accounts.available = problem is None
        if self.accounts.access(account) is not Access.NONE:
            return None
        why = [problem] if problem is not None else []
        if account in self.tokens:
            why.append(
                f"The token that {account} gave cannot be used: it was sealed with another key than the one in "
                f"{self.config.data_dir}/sealing.key, or that file is missing. Restore it from your backup."
            )
        elif not local:
            why.append(f"{account} has an account on another server, and has given no token.")
        elif problem is None:
            why.append(
                f"{account} has no login on this bridge, so the bridge may not act for them."
            )
        why.append("They can give access themselves: `login-matrix`, written to the bot.")
        return " ".join(why)


@asynccontextmanager
async def offline(config: Config, account: UserId) -> AsyncIterator[Offline]:
    """The parts, to look after ``account`` and nobody else. Raises `AdminError`."""
    async with AsyncExitStack() as stack:
        database = await _database(config, stack)
        session = homeserver_session()
        stack.push_async_callback(session.close)
        homeserver = Homeserver(
            config.homeserver.url, config.appservice.as_token.get_secret_value(), session
        )
        as_users = Homeserver(
            config.homeserver.url, config.appservice.accounts_token.get_secret_value(), session
        )
        logins = tuple(await LoginStore(database).all())
        accounts = Accounts(
            as_users, config.homeserver.domain, lambda user: _may_act_for(logins, user)
        )
        store, journals = DirectStore(database), JournalStore(database)
        documents = WitnessedDocuments(homeserver, accounts, config)
        keeper = Keeper(
            documents,
            database,
            store,
            journals,
            lambda user: _never_keys(config, logins, user),
            Metrics(),
            Bounds(config.direct.journal_versions, config.direct.journal_days * 86400.0),
        )
        stack.push_async_callback(keeper.stop)
        tokens = TokenStore(database)
        await _use_tokens(config, accounts, tokens, account, session, stack)
        ghosts = Ghosts(homeserver, PortalStore(database), config.ghosts)
        view = View(
            keeper,
            store,
            journals,
            ghosts.contact,
            PeopleStore(database).called,
            accounts.access,
            lambda _user: "",
            time.time,
        )
        yield Offline(
            config,
            database,
            store,
            journals,
            documents,
            keeper,
            view,
            accounts,
            logins,
            frozenset(row.user for row in await tokens.all([account])),
            as_users,
        )


@asynccontextmanager
async def offline_database(config: Config) -> AsyncIterator[Database]:
    """The database alone. Raises `AdminError`."""
    async with AsyncExitStack() as stack:
        yield await _database(config, stack)


async def _use_tokens(
    config: Config,
    accounts: Accounts,
    store: TokenStore,
    account: UserId,
    session: aiohttp.ClientSession,
    stack: AsyncExitStack,
) -> None:
    path = config.data_dir / "sealing.key"
    if not await store.all([account]) or not exists(path):
        return
    public = public_session()
    stack.push_async_callback(public.close)
    discovery = Discovery(
        config.homeserver.domain,
        config.homeserver.url,
        config.direct.homeservers,
        named=session,
        public=public,
    )
    key = SealingKey.load(path)
    tokens = MatrixTokens(accounts, discovery, store, key, _leave_to_bridge, lambda _user: None)
    await tokens.take([account])
    stack.push_async_callback(tokens.stop)


async def _leave_to_bridge(user: UserId, _text: str) -> None:
    # a token that ended is kept until the bridge itself has told its owner
    raise UserError(f"The bridge will tell {user} that their token does not work any more.")


def _may_act_for(logins: Iterable[LoginRow], user: UserId) -> bool:
    return any(row.owner == user and row.state is not LoginState.LOGGED_OUT for row in logins)


def _never_keys(config: Config, logins: Iterable[LoginRow], account: UserId) -> Iterable[UserId]:
    yield config.bot_user_id
    for row in logins:
        if row.owner == account and row.state is not LoginState.LOGGED_OUT:
            yield config.ghosts.user_id(row.network, row.remote)


async def _database(config: Config, stack: AsyncExitStack) -> Database:
    if config.database.embedded:
        check_embedded(config.data_dir / "postgres")
        postgres = await EmbeddedPostgres.start(config.data_dir)
        stack.push_async_callback(postgres.stop)
        url = postgres.url
    else:
        url = config.database.url.get_secret_value()
    await check_schema(url)
    database = await Database.open(url, size=CONNECTIONS)
    stack.push_async_callback(database.close)
    return database


def check_embedded(directory: Path) -> None:
    """Make sure that there is a database, and that joining it leaves it to whom it belongs."""
    if not exists(directory):
        raise StorageError(
            f"There is no database in {directory}: the bridge has not run with this configuration yet. Check "
            "which configuration file this is (--config), and its data_dir."
        )
    import pwd

    owner = directory.stat().st_uid
    try:
        ours = pwd.getpwnam(EMBEDDED_USER).pw_uid if os.geteuid() == 0 else os.geteuid()
    except KeyError:
        ours = -1
    if owner == ours:
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    if name == EMBEDDED_USER:
        name = "root"
    raise StorageError(
        f"The database in {directory} belongs to the system user {name}. Run this command as {name}: "
        f"sudo -u {name} dm-bridge …"
    )


def exists(path: Path) -> bool:
    """Whether something is there. Raises `StorageError` when that cannot be seen."""
    try:
        return path.exists()
    except OSError as error:
        raise StorageError(
            f"{path} cannot be looked at ({error.strerror}). Run this command as the user that the bridge runs as."
        ) from error
