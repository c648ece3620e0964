"""One simulated bridge process: the parts that `dm_bridge.app` wires, over links that can fail.

This one is alone on its database, and has everybody; `sharing` makes one of several of it.

The rule that must never break: everything between the links is the bridge's own code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from dm_bridge.bridge.commands import Commands
from dm_bridge.bridge.delivery import Deliveries, DeliverySettings
from dm_bridge.bridge.documents import Documents
from dm_bridge.bridge.files_in import FilesIn
from dm_bridge.bridge.files_out import FilesOut
from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.invites import Invites
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.lanes import Lanes
from dm_bridge.bridge.login_marks import LoginMarks
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.management import Management
from dm_bridge.bridge.observation import Observation, ObservationSettings
from dm_bridge.bridge.portal import Portals, PortalSettings
from dm_bridge.bridge.signals import Signals
from dm_bridge.bridge.to_matrix import ToMatrix
from dm_bridge.bridge.to_remote import ToRemote
from dm_bridge.bridge.watchers import Watch
from dm_bridge.direct import Source
from dm_bridge.errors import BridgeError
from dm_bridge.ids import GhostNamespace, NetworkName, PortalKey, RoomId, UserId
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.media import MediaRepository
from dm_bridge.matrix.transactions import BadTransaction, PushedEvent, parse_transaction
from dm_bridge.network.api import Network
from dm_bridge.network.login import LoginDone
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.store.sealing import SealingKey
from dm_bridge.testing.fake_homeserver import FakeHomeserver
from dm_bridge.testing.fake_http import Wire, fake_session
from dm_bridge.testing.life import Life
from dm_bridge.testing.memory import (
    MemoryDatabase,
    MemoryDirectStore,
    MemoryInboxStore,
    MemoryJournalStore,
    MemoryLoginStore,
    MemoryOutboxStore,
    MemoryPeopleStore,
    MemoryPortalStore,
    MemoryReferenceStore,
    MemoryRoomStore,
)
from dm_bridge.web import Web

N = TypeVar("N", bound=Network)

KEY = SealingKey(bytes(32))


class _UnreadMetrics(Metrics):
    """Nobody reads them, so they keep hold of no bridge that could be asked for figures."""

    def before_exposition(self, count: Callable[[], None]) -> None:
        pass


METRICS = _UnreadMetrics()
"""Shared by all simulated processes: nobody reads them, and they are slow to make."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a simulated bridge is configured."""

    auto_join: bool = True
    mark_ghosts: bool = True
    accounts: bool = True
    status_events: bool = False


class SimulatedBridge(Generic[N]):
    """A process. ``life``: what ends it; ``clock``: what its machine shows, in seconds since the epoch."""

    def __init__(
        self,
        life: Life,
        clock: Callable[[], float],
        homeserver: FakeHomeserver,
        wire: Wire,
        database: MemoryDatabase,
        network: N,
        bot: UserId,
        namespace: GhostNamespace,
        settings: Settings,
    ) -> None:
        self.life = life
        self.ready = False
        """Whether it listens for the homeserver."""
        self.taking: set[asyncio.Task[int]] = set()
        """Transactions that it is taking in."""
        self.clock = clock
        self.network = network
        self.database = database
        self._bot = bot
        self._namespace = namespace
        session = fake_session(homeserver, wire)
        client = Homeserver(homeserver.url, "main", session, refusal=self._refusal)
        as_users = Homeserver(homeserver.url, "accounts", session, refusal=self._refusal)
        self.accounts = Accounts(as_users, homeserver.domain, lambda u: self.logins.may_act_for(u))
        self._accounts_available = settings.accounts
        self.inbox, self.outbox = MemoryInboxStore(database), MemoryOutboxStore(database)
        portal_store, direct = MemoryPortalStore(database), MemoryDirectStore(database)
        ghosts = Ghosts(client, portal_store, namespace)
        self._ghosts = ghosts
        self.keeper = Keeper(
            Documents(client, self.accounts, namespace.owns, ghosts.revived),
            database,
            direct,
            self._journals(database),
            self._never_keys,
            METRICS,
            wrote=lambda account: self.observation.wrote(account),
            clock=clock,
        )
        self.observation = Observation(
            self.keeper,
            _nobody_is_watched,
            self.accounts.access,
            namespace.owns,
            direct.accounts,
            self.keeper.last_seen,
            ObservationSettings(watch_accounts=0),
            clock=clock,
            alone=self._is_alone,
        )
        self.portals = Portals(
            client,
            self.accounts,
            ghosts,
            self.keeper,
            portal_store,
            direct,
            PortalSettings(bot, settings.auto_join, settings.mark_ghosts),
            lambda rows: self._missed(rows),
            clock,
        )
        self.logins = Logins(
            {network.name: network},
            MemoryLoginStore(database),
            self.inbox,
            KEY,
            self._tell,
            lambda chats: self._wake_chats(chats),
            lambda login: self.to_remote.resume(taker.waited_for(login)),
            METRICS,
            LoginMarks(self.keeper, self.portals),
        )
        self.invites = Invites(
            client, self.portals, ghosts, self.logins, portal_store, bot, lambda _user: True
        )
        self._management = Management(
            client,
            self.accounts,
            MemoryRoomStore(database),
            Commands(self.logins, self.portals, namespace, MemoryPeopleStore(database)),
            bot,
            namespace,
            lambda _user: True,
            homeserver.domain,
        )
        references = MemoryReferenceStore(database)
        self.signals = Signals(
            client, self.accounts, portal_store, references, self.logins, namespace.owns
        )
        self.deliveries = Deliveries(
            client,
            self.outbox,
            portal_store,
            DeliverySettings(status_events=settings.status_events),
            self.signals.receipts,
            lambda rooms: self._ours(rooms),
        )
        self.carrier = ToMatrix(
            client,
            self.accounts,
            self.portals,
            self.logins,
            self.inbox,
            self.outbox,
            references,
            portal_store,
            METRICS,
            self.deliveries,
            self.signals,
            FilesIn(client, MediaRepository(client), Web(), 0),
            lambda chat: self.to_matrix.ends(chat),
            self.observation.happened,
            clock=clock,
        )
        taker = ToRemote(
            client,
            self.portals,
            self.logins,
            self.invites,
            self._management,
            self.inbox,
            self.outbox,
            references,
            portal_store,
            bot,
            namespace,
            METRICS,
            self.deliveries,
            FilesOut(MediaRepository(client), bot, 0),
            lambda room: self.to_remote.ends(room),
            clock,
        )
        self.to_matrix: Lanes[PortalKey] = Lanes("to Matrix", self.carrier.drain)
        self.to_remote: Lanes[RoomId] = Lanes("to the network", taker.drain)

    # -- its life

    async def begin(self) -> None:
        """Listen, and take up what waits. Raises `StorageError` when the process cannot start."""
        self.ready = True
        self.accounts.available = self._accounts_available
        waiting = set(await self.inbox.chats_waiting())
        self.carrier.doubt(waiting)
        self.to_matrix.start()
        self.to_remote.start()
        await self.logins.take()
        await self.keeper.resume()
        self._wake_chats(waiting)
        for room in await self.outbox.rooms_waiting():
            self.to_remote.wake(room)
        await self.deliveries.settle()
        self.sweep()

    def sweep(self) -> None:
        """Look at every account, as happens after a start and now and then."""
        for account in sorted(self.keeper._kept):
            if not self._namespace.owns(account):
                self.keeper.look(account, Source.SWEEP)

    async def stop(self) -> None:
        """As after SIGTERM: no more is taken in, what is under way is finished."""
        self.ready = False
        self.observation._looks.stop()
        await self.to_remote.stop()
        await self.logins.stop()
        await self.to_matrix.stop()
        await self.keeper.stop()
        await self.signals.stop()
        await self.database.close()
        self.life.kill()

    # -- what the homeserver pushes

    async def receive(self, transaction: str, body: bytes) -> int:
        """The status of the answer to a pushed transaction. Raises `ConnectionError` when nobody is there."""
        if not self.ready or not self.life.alive:
            raise ConnectionError
        task = self.life.start(self._take(body))
        self.taking.add(task)
        task.add_done_callback(self.taking.discard)
        await asyncio.wait([task])
        if task.cancelled():
            raise ConnectionError
        return task.result()

    async def _take(self, body: bytes) -> int:
        self.life.step()
        try:
            events = parse_transaction(body).events
            for sender in dict.fromkeys(event.sender for event in events):
                self.observation.activity(sender)
            await self._missed(
                [
                    OutboxRow(event.id, event.room, event.sender, event.raw)
                    for event in events
                    if not self._is_ours(event)
                ]
            )
        except BadTransaction:
            return 400
        except BridgeError:
            return 503
        self.life.step()
        return 200

    async def _missed(self, rows: Sequence[OutboxRow]) -> None:
        if rows:
            await self.outbox.add(rows)
            for room in dict.fromkeys(row.room for row in rows):
                self.to_remote.wake(room)

    def _is_ours(self, event: PushedEvent) -> bool:
        return self._namespace.owns(event.sender) or (
            event.sender == self._bot and event.type != "m.room.member"
        )

    # -- what is different where there are several processes

    def _refusal(self) -> str | None:
        return None

    def _is_alone(self) -> bool:
        return True

    async def _ours(self, rooms: Collection[RoomId]) -> Collection[RoomId]:
        return rooms

    def _journals(self, database: MemoryDatabase) -> MemoryJournalStore:
        return MemoryJournalStore(database)

    def serves(self, user: UserId) -> bool:
        """Whether it has the user, and may act for them."""
        return True

    async def log_in(self, user: UserId, network: NetworkName, done: LoginDone) -> None:
        """The user's login has succeeded: keep it. Raises `BridgeError`."""
        await self.logins.add(user, network, done)

    # -- wiring

    def _never_keys(self, account: UserId) -> Iterable[UserId]:
        yield self._bot
        for login in self.logins.of(account):
            yield self._ghosts.user_id(login.network, login.remote)

    async def _tell(self, user: UserId, text: str) -> None:
        await self._management.tell(user, text)

    def _wake_chats(self, chats: Iterable[PortalKey]) -> None:
        for chat in sorted(chats, key=lambda key: (key.login, key.chat)):
            self.to_matrix.wake(chat)

    @property
    def remembered(self) -> dict[str, int]:
        """What its parts hold in memory that should be nothing once all work is done."""
        return {
            "lanes to Matrix": len(self.to_matrix._tasks) + len(self.to_matrix._woken),
            "lanes to the network": len(self.to_remote._tasks) + len(self.to_remote._woken),
            "chats in doubt": len(self.carrier._sent_before._chats),
            "portals locked": len(self.portals._locks),
            "accounts to keep": len(self.keeper._work),
            "receipts": len(self.signals.receipts._tasks),
            "ghosts being made": len(self._ghosts._busy),
        }


def _nobody_is_watched(account: UserId, patience: object) -> Watch:
    raise AssertionError("watch_accounts is 0")
