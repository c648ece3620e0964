"""Which users this process has, among all processes that use one database.

A process shows that it lives, buries those who no longer do, takes what is free and gives away what it has too
much of. What taking and giving a user mean to the rest of the bridge is its `Tenants`' business.

The rule that must never break: what a user has is touched only while their share is ours, and outside the database
only while others cannot have taken us for dead (`refusal`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Protocol

import structlog

from dm_bridge.bridge.balance import fair_load, surplus
from dm_bridge.bridge.vital_signs import (
    ACTS,
    BEAT,
    Machine,
    VitalSigns,
    seconds,
)
from dm_bridge.errors import AdminError, BridgeError
from dm_bridge.ids import UserId
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Buried
from dm_bridge.store.instances import Errand, Instance, InstanceStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

FORGOTTEN = "forgotten"
"""The kind of errand that says that a user was erased."""
AT_ONCE = 500
"""Users that are taken, or given away, in one step."""


class Tenants(Protocol):
    """What takes care of the users that a process has."""

    async def take(self, users: Collection[UserId]) -> None:
        """Get ready for users; they count as ours as soon as this returns."""
        ...

    async def taken(self, users: Collection[UserId]) -> None:
        """They are ours: take up what waits for them."""
        ...

    async def give(self, users: Collection[UserId]) -> None:
        """They do not count as ours any more: end what is under way for them."""
        ...

    def may_give(self, user: UserId) -> bool:
        """Whether nothing is under way for the user that another process could not go on with."""
        ...

    async def run(self, errand: Errand) -> None:
        """Do what another process left for us."""
        ...


class Shares:
    """The shares of one process. ``lease``: for how many seconds it may be silent; ``clock`` never jumps.

    ``vitals``: a store with connections of its own, so that a busy pool makes nobody look dead.
    ``errands``: waits until there may be errands, or for some seconds at most.
    """

    def __init__(
        self,
        store: InstanceStore,
        vitals: InstanceStore,
        lease: float,
        metrics: Metrics,
        errands: Callable[[float], Awaitable[None]],
        clock: Callable[[], float] = seconds,
        machine: Machine | None = None,
    ) -> None:
        self._store = store
        self._vitals = vitals
        self._lease = lease
        self._metrics = metrics
        self._wait_for_errands = errands
        self._clock = clock
        self._machine = machine or Machine()
        self._signs = VitalSigns(store.id, self._machine.has_ended)
        self._instances: list[Instance] = []
        self._beaten_at: float | None = None
        self._held: dict[UserId, int] = {}
        self._doubtful = False
        self._waited_for: set[UserId] = set()  # ours, but what waits for them was not taken up
        self._beating = asyncio.Lock()
        self._recording = asyncio.Lock()  # held while what we hold follows what is recorded
        self._seen = asyncio.Event()

    # -- what others ask

    def holds(self, user: UserId) -> bool:
        """Whether the share of ``user`` is ours."""
        return user in self._held

    @property
    def held(self) -> Collection[UserId]:
        """Whose shares are ours."""
        return self._held.keys()

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return len(self._instances) <= 1

    @property
    def eldest(self) -> bool:
        """Whether we joined before all others: then we do what is to be done once."""
        return not self._instances or self._instances[0].id == self._store.id

    def refusal(self) -> str | None:
        """Why nothing may be done outside the database right now, if so."""
        if self._beaten_at is None or self._clock() - self._beaten_at <= ACTS * self._lease:
            return None
        return phrase("process-keeps-still")

    # -- being there

    async def join(self, identity: str, version: str) -> None:
        """Be there. Raises `AdminError` when another bridge uses this database."""
        began = self._clock()
        place, process = self._machine.place(), self._machine.process()
        other = await self._store.join(identity, self._lease, place, process, version)
        if other is not None:
            raise AdminError(
                f"This database belongs to another bridge, {other}, and this one is {identity}. Set "
                "database.url to a database of its own. If the other one is gone for good, delete its "
                "rows from the table instance."
            )
        self._beaten_at = began

    async def live(self) -> None:
        """Until cancelled, show that we live, and bury who does not. Raises `Buried`."""
        while True:
            began = self._clock()
            try:
                async with asyncio.timeout(max(1.0, self._lease * ACTS / 2)):
                    await self._beat(began)
            except Buried:
                raise
            except (BridgeError, TimeoutError) as error:
                log.warning(
                    "this process cannot show that it lives",
                    reason=str(error) or "no answer in time",
                )
            except Exception:
                log.exception("this process cannot show that it lives for a reason of our own")
            await asyncio.sleep(max(0.0, began + BEAT * self._lease - self._clock()))

    async def _beat(self, began: float) -> None:
        async with self._beating:
            instances = await self._vitals.beat()
            self._beaten_at = began
            for dead in self._signs.see(instances, self._clock()):
                if await self._vitals.bury(dead):
                    log.warning(
                        "another process is gone; its users are free",
                        process=dead.id,
                        ended=self._signs.has_ended(dead),
                    )
                    self._metrics.lease_changes.labels("buried").inc()
                    instances.remove(dead)
            self._note(instances)

    def _note(self, instances: list[Instance]) -> None:
        if len(instances) != len(self._instances):
            log.info("processes of the bridge on this database", n=len(instances))
        self._instances = instances
        self._metrics.instances.set(len(instances))
        self._seen.set()

    async def leave(self) -> None:
        """Be gone, at once for the others too. What is not ended any more is for them."""
        self._held.clear()
        try:
            await self._store.leave()
        except BridgeError as error:
            log.warning(
                "the other processes will notice later that this one is gone", reason=str(error)
            )

    # -- taking and giving

    async def share(self, tenants: Tenants) -> None:
        """Until cancelled, see to it that we have our part of the users, and do the errands for them."""
        balancing = asyncio.create_task(self._balance_on(tenants))
        try:
            await self._run_errands(tenants)
        finally:
            balancing.cancel()
            await asyncio.gather(balancing, return_exceptions=True)

    async def take_free(self, tenants: Tenants) -> None:
        """At start: take our part of what nobody has. Raises `StorageError`."""
        await self._beat(self._clock())
        while await self._balance(tenants):
            pass

    async def adopt(self, users: Collection[UserId]) -> None:
        """Take the shares of those with whom the bridge never had to do."""
        async with self._recording:
            with self._doubting():
                taken = await self._store.take_new(users)
            self._held |= taken
        self._count("taken", len(taken))

    @contextlib.contextmanager
    def _doubting(self) -> Iterator[None]:
        """When this fails, the database may say that we have users whom we do not serve."""
        try:
            yield
        except BaseException:
            self._doubtful = True
            raise

    async def _settle_doubts(self, tenants: Tenants) -> None:
        if self._doubtful:
            self._doubtful = False
            async with self._recording:
                with self._doubting():
                    recorded = await self._store.held()
                    stray = [user for user in recorded if user not in self._held]
                    await tenants.give(stray)  # some of it may have been begun, or not ended
                    await self._store.give(stray)

    async def _balance_on(self, tenants: Tenants) -> None:
        while True:
            await self._seen.wait()
            self._seen.clear()
            try:
                while await self._balance(tenants):
                    pass
            except BridgeError as error:
                log.warning("users could not be taken over or given away", reason=str(error))
            except Exception:
                log.exception("users could not be shared for a reason of our own")

    async def _balance(self, tenants: Tenants) -> bool:
        """One step; whether there may be more to do."""
        await self._settle_doubts(tenants)
        await self._take_up(tenants)
        loads = await self._store.loads()
        names = [instance.id for instance in self._instances if instance.beat >= 0]
        if self._store.id not in names:
            return False
        ours = loads.of.get(self._store.id, 0)
        target = fair_load(self._store.id, names, loads.of, loads.free or 0)
        if ours > target and await self._give(tenants, target):
            return True
        if loads.free is None:
            return False
        least = min(names, key=lambda name: (loads.of.get(name, 0), names.index(name)))
        return await self._take(tenants, target - ours, least == self._store.id)

    async def _take(self, tenants: Tenants, most: int, at_least_one: bool) -> bool:
        with self._doubting():
            taken = await self._store.take(max(0, most), AT_ONCE, at_least_one=at_least_one)
            if not taken:
                return False
            await tenants.take(taken.keys())
        self._held |= taken
        self._waited_for |= taken.keys()
        self._count("taken", len(taken))
        log.info("users were taken", n=len(taken))
        await self._take_up(tenants)
        return True

    async def _take_up(self, tenants: Tenants) -> None:
        users = self._waited_for & self._held.keys()
        if users:
            await tenants.taken(users)
        self._waited_for -= users

    async def _give(self, tenants: Tenants, target: int) -> bool:
        weights = await self._store.weights(self._held)
        movable = [user for user in surplus(weights, target) if tenants.may_give(user)]
        users = movable[:AT_ONCE]
        if not users:
            return False
        await self.give(tenants, users)
        log.info("users were given to another process", n=len(users))
        return True

    async def give(self, tenants: Tenants, users: Collection[UserId]) -> None:
        """Let others have these users."""
        for user in users:
            self._held.pop(user, None)
        with self._doubting():
            await tenants.give(users)
            await self._store.give(users)
        self._count("given", len(users))

    async def forget(
        self, user: UserId, tenants: Tenants, work: Callable[[], Awaitable[object]]
    ) -> None:
        """End what is under way for a user, and do ``work``, which removes them; nobody has them then.

        When that fails, we have them no more, and whoever takes them does it again. Raises `BridgeError`.
        """
        self._held.pop(user, None)
        with self._doubting():
            await tenants.give([user])
            await work()
        others = [each.id for each in self._instances if each.id != self._store.id]
        if others:
            await self._store.leave_errands([Errand(each, FORGOTTEN, user) for each in others])
        self._metrics.users_held.set(len(self._held))

    def _count(self, change: str, users: int) -> None:
        self._metrics.lease_changes.labels(change).inc(users)
        self._metrics.users_held.set(len(self._held))

    # -- errands

    async def leave_errands(self, errands: Collection[Errand]) -> None:
        """Leave something for whoever has the share that it is about. Raises `StorageError`."""
        await self._store.leave_errands(list(errands))

    async def _run_errands(self, tenants: Tenants) -> None:
        while True:
            await self._wait_for_errands(BEAT * self._lease)
            try:
                while errands := await self._store.take_errands():
                    for errand in errands:
                        await tenants.run(errand)
            except BridgeError as error:
                log.warning("errands of other processes could not be done", reason=str(error))
            except Exception:
                log.exception("errands could not be done for a reason of our own")
