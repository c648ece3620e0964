"""One of several simulated bridge processes on one database: it has the users whose shares it holds.

What `dm_bridge.app.app` does about that is done here in its order; all else is the bridge's own.

The rule that must never break: a process knows of the others only what it reads in the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any, cast

from dm_bridge.app.keeping import Keeping
from dm_bridge.app.queue_watch import QueueWatch
from dm_bridge.app.tenancy import Tenancy
from dm_bridge.bridge.access import MatrixTokens
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.observation import Observation
from dm_bridge.bridge.shares import Shares
from dm_bridge.bridge.vital_signs import Machine
from dm_bridge.bridge.whose import Whose
from dm_bridge.ids import NetworkName, PortalKey, RoomId, UserId
from dm_bridge.network.login import LoginDone
from dm_bridge.store.bell import Bell
from dm_bridge.store.instances import CHANNEL
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.testing.fake_network import FakeNetwork
from dm_bridge.testing.memory import MemoryDatabase, MemoryInstanceStore, MemoryJournalStore
from dm_bridge.testing.simulator.bridge import METRICS, SimulatedBridge


class _NoTokens:
    """Nobody gave the bridge a token."""

    async def take(self, users: Collection[UserId]) -> None: ...

    def drop(self, users: Collection[UserId]) -> None: ...


class _Keeping(Keeping):
    """The part of `Keeping` that has to do with users who come and go."""

    def __init__(self, keeper: Keeper, observation: Observation) -> None:
        self.keeper = keeper
        self.observation = observation
        self.tokens = cast(MatrixTokens, _NoTokens())


class SharingBridge(SimulatedBridge[FakeNetwork]):
    """A process. ``lease``: for how many seconds it may be silent. ``machine``: where it runs."""

    def __init__(self, *parts: Any, number: int, lease: float, machine: Machine) -> None:
        super().__init__(*parts)
        self.number = number
        store = MemoryInstanceStore(self.database)
        self._bell = Bell(self.database, CHANNEL)
        self.shares = Shares(
            store,
            MemoryInstanceStore(self.database),
            lease,
            METRICS,
            self._bell.wait,
            asyncio.get_running_loop().time,
            machine,
        )
        self._tenancy = Tenancy(
            self.shares,
            Whose(store),
            self.logins,
            _Keeping(self.keeper, self.observation),
            self.carrier,
            self.inbox,
            self.outbox,
            self.to_matrix,
            self.to_remote,
            cast(Any, None),  # nobody pings
            self.signals.attention,
        )
        self._queues = QueueWatch(
            cast(Any, None),
            METRICS,
            cast(Any, None),
            self._tenancy.wake_rooms,
            self.deliveries.settle,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._work: asyncio.Task[None] | None = None
        self._told_to_stop = asyncio.Event()

    # -- its life

    async def begin(self) -> None:
        """Be one of the processes, until told to stop, or buried. Raises `BridgeError`."""
        await self.shares.join("simulated", "0")
        try:
            await self._live()
        finally:
            await self._unwind()

    async def _live(self) -> None:
        alive = self._in_background(self.shares.live())
        self._in_background(self._bell.hear())
        self.ready = True
        work = self._work = asyncio.create_task(self._carry())
        stopped = asyncio.create_task(self._told_to_stop.wait())
        await asyncio.wait({alive, work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in (alive, work):
            if task.done():
                await task

    async def _carry(self) -> None:
        self.accounts.available = self._accounts_available
        self.to_matrix.start()
        self.to_remote.start()
        await self.shares.take_free(self._tenancy)
        await self.observation.start()
        self._in_background(self._queues.settle_notices())
        self._in_background(self._tenancy.look_after())
        await self.shares.share(self._tenancy)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def stop(self) -> None:
        """As after SIGTERM: what is under way is finished, and others go on."""
        self._told_to_stop.set()
        await asyncio.sleep(3600.0)  # it ends before

    async def _unwind(self) -> None:
        if self._work is not None:
            await _ended(self._work)
        for task in self._tasks[2:]:
            await _ended(task)
        await self.observation.stop()
        await self.to_remote.stop()
        await self.logins.stop()
        await self.to_matrix.stop()
        await self.keeper.stop()
        self.ready = False
        while self.taking:
            await asyncio.wait(self.taking)
        for task in self._tasks[:2]:
            await _ended(task)
        await self.shares.leave()
        await self.signals.stop()
        await self.database.close()

    # -- what is different where there are several processes

    def _refusal(self) -> str | None:
        return self.shares.refusal()

    def _is_alone(self) -> bool:
        return self.shares.alone

    async def _ours(self, rooms: Collection[RoomId]) -> Collection[RoomId]:
        return await self._tenancy.ours(rooms)

    def _journals(self, database: MemoryDatabase) -> MemoryJournalStore:
        return MemoryJournalStore(database, is_instance=True)

    def _wake_chats(self, chats: Iterable[PortalKey]) -> None:
        self._tenancy.wake_chats(sorted(chats, key=lambda key: (key.login, key.chat)))

    async def _missed(self, rows: Sequence[OutboxRow]) -> None:
        await self._tenancy.accept(rows)

    def serves(self, user: UserId) -> bool:
        """Whether it has the user, and may act for them."""
        return (
            self.life.alive
            and not self.life.frozen
            and self.shares.holds(user)
            and self.shares.refusal() is None
        )

    async def log_in(self, user: UserId, network: NetworkName, done: LoginDone) -> None:
        """The user's login has succeeded: keep it, if we have them. Raises `BridgeError`."""
        await self.shares.adopt([user])
        if not self.serves(user):
            return
        self.logins.begin(user)
        try:
            await self.logins.add(user, network, done)
        finally:
            self.logins.end(user)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def machine(name: str, number: int, running: Callable[[], Collection[int]]) -> Machine:
    """A machine on which processes have numbers; ``running``: those that have not ended."""

    def has_ended(place: str, process: str) -> bool:
        return place == name and int(process) not in running()

    return Machine(lambda: name, lambda: str(number), has_ended)
