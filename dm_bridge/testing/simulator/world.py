"""Everything around the simulated bridge: a homeserver, a network, a database, people; and the bridge in it.

The rule that must never break: what outlives a process is here, and nothing else is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import orjson

from dm_bridge.bridge.sent_before import REMOTE_ID
from dm_bridge.errors import BridgeError
from dm_bridge.ids import ChatId, ContactId, GhostNamespace, RoomId, UserId
from dm_bridge.store.logins import LoginState
from dm_bridge.testing.dice import Dice
from dm_bridge.testing.fake_homeserver import FakeHomeserver, services
from dm_bridge.testing.fake_network import FAKE, POISON, Account, FakeNetwork, FakeNetworkServer
from dm_bridge.testing.fake_push import Pusher
from dm_bridge.testing.fake_rooms import MEMBER, TOMBSTONE, Event, Refused, Room
from dm_bridge.testing.life import Life
from dm_bridge.testing.memory import MemoryDatabase, Tables
from dm_bridge.testing.simulator.bridge import KEY, Settings, SimulatedBridge
from dm_bridge.testing.simulator.links import (
    DatabaseFaults,
    DatabaseLink,
    HomeserverFaults,
    HomeserverWire,
    NetworkFaults,
    NetworkLine,
    NoticeFaults,
)
from dm_bridge.testing.simulator.sharing import SharingBridge, machine
from dm_bridge.testing.virtual_time import WallClock

FAR = 3
"""Entries by which a restored m.direct must differ from the last, for nobody to take it for a user's edit."""
DOMAIN = "example.org"
BOT = UserId(f"@dmbot:{DOMAIN}")
NAMESPACE = GhostNamespace("_dm_", DOMAIN)
RESTART = 2.0
MOST_PROCESSES = 3
BALANCER_PATIENCE = 10.0
"""Seconds after which the balancer gives a transaction up that a process does not answer."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a history begins with. ``contacts``: how many each user has.

    ``processes``: how many share the users; 0 for one alone. ``lease``: theirs, in seconds. ``one_machine``:
    whether they see each other end.
    """

    users: int = 1
    contacts: int = 2
    archives: bool = True
    settings: Settings = field(default_factory=Settings)
    processes: int = 0
    lease: float = 30.0
    one_machine: bool = False


@dataclass(slots=True)
class Person:
    """A user. ``copy``: what a client of theirs read of m.direct long ago."""

    id: UserId
    account: Account
    contacts: list[ContactId]
    copy: dict[str, Any] = field(default_factory=dict)


class World:
    """``bridges``: the processes that run; all of them share ``tables``. ``wanted``: how many there should be."""

    def __init__(self, dice: Dice, setup: Setup) -> None:
        loop = asyncio.get_running_loop()
        clock = WallClock(loop.time)
        self.dice = dice
        self.setup = setup
        self.tables = Tables(clock=clock)
        self.server = FakeNetworkServer(clock, archives=setup.archives)
        self.homeserver = FakeHomeserver(
            DOMAIN, services(BOT, NAMESPACE.owns, DOMAIN), clock, loop.time
        )
        self.homeserver.rooms.refuses = lambda _sender, content: (
            REMOTE_ID in content and POISON in content["body"]
        )
        self.pusher = Pusher(
            self.homeserver, lambda u: u == BOT or NAMESPACE.owns(u), self._receive, dice
        )
        self.database_faults = DatabaseFaults()
        self.homeserver_faults = HomeserverFaults()
        self.network_faults = NetworkFaults()
        self.notice_faults = NoticeFaults(dice)
        self.tables.hears = self.notice_faults.hears
        self.wanted = setup.processes or 1
        self._context = copy_context()
        self.bridges: list[SimulatedBridge[FakeNetwork]] = []
        self.machine_clock = WallClock(loop.time)
        self.processes = 0
        self.broken: list[str] = []
        """What went wrong in the simulation itself, or in the bridge by its own log."""
        self.unmarked: set[tuple[UserId, str]] = set()
        """Contacts whose rooms users took out of their m.direct, by ghost; that goes for later rooms, too."""
        self.added: set[tuple[UserId, str]] = set()
        """Rooms that clients of users put in."""
        self.stale_writes = 0
        self.backed_up = False
        """Whether there is a backup that will be restored."""
        self.on_restore: list[Callable[[], None]] = []
        """Told when the homeserver is again as it was some time ago."""
        self._numbers = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self.people = [self._person(number) for number in range(setup.users)]

    def _person(self, number: int) -> Person:
        account = self.server.account(f"user{number}@net")
        contacts = [ContactId(f"c{number}{letter}@net") for letter in "abc"[: self.setup.contacts]]
        person = Person(UserId(f"@user{number}:{DOMAIN}"), account, contacts)
        self.homeserver.registered.add(person.id)
        self.homeserver.documents[person.id] = {"@friend:example.org": ["!friend:example.org"]}
        person.copy = dict(self.homeserver.documents[person.id])
        return person

    @property
    def now(self) -> float:
        """Seconds since the history began."""
        return asyncio.get_running_loop().time()

    def number(self) -> int:
        """A number that was not there before."""
        self._numbers += 1
        return self._numbers

    def body(self, kind: str) -> str:
        """The text of a message, unlike any other."""
        return f"{kind}{self.number()}"

    def ghost(self, contact: ContactId | ChatId) -> UserId:
        """The ghost of a contact."""
        return NAMESPACE.user_id(FAKE, ContactId(contact))

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something of the world's own."""
        # Else a world's task would belong to the process by whose doing it begins; in old seeds it does.
        context = self._context if self.setup.processes else None
        task = asyncio.create_task(self._watched(work), context=context)
        task.add_done_callback(lambda _: work.close())  # it may not have begun
        self._tasks.append(task)
        return task

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Refused:
            pass  # somebody did what they may not
        except Exception as error:
            self.broken.append(f"the simulator itself: {error!r}")

    # -- the bridge

    @property
    def bridge(self) -> SimulatedBridge[FakeNetwork] | None:
        """A process that runs, any one if there are several; or None."""
        if len(self.bridges) > 1:
            return self.dice.draw.choice(self.bridges)
        return next(iter(self.bridges), None)

    @property
    def sharing(self) -> list[SharingBridge]:
        """The processes that run, where there may be several."""
        return [bridge for bridge in self.bridges if isinstance(bridge, SharingBridge)]

    def launch(self) -> SimulatedBridge[FakeNetwork]:
        """Start a process."""
        self.processes += 1
        life = Life()
        name = f"dm_bridge {self.processes}"
        database = MemoryDatabase(
            self.tables, DatabaseLink(life, self.dice, self.database_faults), name
        )
        line = NetworkLine(life, self.dice, self.network_faults, archives=self.server.archives)
        network = FakeNetwork(self.server, line)
        parts = (
            life,
            self.machine_clock,
            self.homeserver,
            HomeserverWire(life, self.dice, self.homeserver_faults),
            database,
            network,
            BOT,
            NAMESPACE,
            self.setup.settings,
        )
        bridge = SimulatedBridge(*parts) if not self.setup.processes else self._sharing(parts)
        life.on_death = lambda: self._died(bridge, name)
        self.bridges.append(bridge)
        self.dice.say(f"bridge: process {self.processes} starts")
        life.start(self._begin(bridge))
        return bridge

    def _sharing(self, parts: tuple[Any, ...]) -> SharingBridge:
        number = self.processes
        place = "here" if self.setup.one_machine else f"machine {number}"

        def running() -> list[int]:
            return [each.number for each in self.sharing]

        return SharingBridge(
            *parts, number=number, lease=self.setup.lease, machine=machine(place, number, running)
        )

    async def _begin(self, bridge: SimulatedBridge[FakeNetwork]) -> None:
        try:
            await bridge.begin()
        except BridgeError as error:
            self.dice.say(f"bridge: cannot start ({error})")
            bridge.life.kill()
        else:
            if self.setup.processes:
                bridge.life.kill()

    def _died(self, bridge: SimulatedBridge[FakeNetwork], name: str) -> None:
        self.dice.say(f"bridge: {name} is gone")
        self.bridges.remove(bridge)
        self.tables.disconnect(name)
        for account in self.server.accounts.values():
            if account.stream is not None and account.stream.network is bridge.network:
                account.stream = None
            if account.broken is not None and account.broken.network is bridge.network:
                account.broken = None
        if len(self.bridges) < self.wanted:
            wait = RESTART
            if self.bridges and self.dice.chance(0.5):
                wait = self.dice.between(RESTART, 60.0)  # its machine is gone, too
            loop = asyncio.get_running_loop()
            loop.call_later(wait, self._restart, context=self._context)

    def _restart(self) -> None:
        if len(self.bridges) < self.wanted:
            self.launch()

    async def _receive(self, transaction: str, body: bytes) -> int:
        if not self.setup.processes:
            bridge = self.bridge
            if bridge is None:
                raise ConnectionError
            return await bridge.receive(transaction, body)
        ready = [bridge for bridge in self.bridges if bridge.ready]
        if not ready:
            raise ConnectionError
        try:
            async with asyncio.timeout(BALANCER_PATIENCE):
                return await self.dice.draw.choice(ready).receive(transaction, body)
        except TimeoutError:
            raise ConnectionError from None

    async def log_in(self, person: Person) -> None:
        """A user logs in, and again, until the bridge says that they are."""
        while True:
            bridge = self._serving(person)
            if bridge is not None and bridge.ready:
                done = bridge.network.login_of(person.account)
                task = bridge.life.start(bridge.log_in(person.id, FAKE, done))
                await asyncio.wait([task])
                error = None if task.cancelled() else task.exception()
                if isinstance(error, BridgeError):
                    self.dice.say(f"{person.id}: could not log in ({error})")
                elif self.is_logged_in(person):
                    return
            await asyncio.sleep(1.0)

    def _serving(self, person: Person) -> SimulatedBridge[FakeNetwork] | None:
        """The process that has a person; any one when nobody knows them."""
        if self.setup.processes and person.id in self.tables.shares:
            return next((each for each in self.bridges if each.serves(person.id)), None)
        return self.bridge

    def is_logged_in(self, person: Person) -> bool:
        """Whether the login of a person is recorded, and connected with the password of now."""
        return any(
            row.owner == person.id
            and row.state is LoginState.ACTIVE
            and row.sealed is not None
            and KEY.unseal(row.id, row.sealed)["password"] == person.account.password
            for row in self.tables.logins.values()
        )

    async def end(self) -> None:
        """Stop all that is under way."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- the homeserver

    def backup(self) -> Callable[[], None]:
        """A backup of the homeserver; what this returns puts it back."""
        kept, pushes = self.homeserver.backup(), self.pusher.backup()

        def restore() -> None:
            for person in self.people:
                self.forget_marks(person, kept.documents.get(person.id, {}))
            self.homeserver.restore(kept)
            self.pusher.restore(pushes)
            for tell in self.on_restore:
                tell()
            for person in self.people:  # their clients see again what they were invited to
                for room in kept.rooms.values():
                    if room.membership(person.id) == "invite":
                        self.start(self._accept(person, room.id))

        return restore

    def forget_marks(self, person: Person, now: dict[str, Any]) -> None:
        """A document that lacks few of the entries that the bridge knows looks as if its user had edited it."""
        account = self.tables.accounts.get(person.id)
        head = orjson.loads((account and account.head) or b"{}")
        for known in (head, self.homeserver.documents.get(person.id, {})):
            lost = _pairs(known) - _pairs(now)
            if len(_pairs(known) ^ _pairs(now)) < FAR:
                self.unmarked |= {(person.id, key) for key, _ in lost}

    # -- rooms

    def rooms_of(self, person: Person, contact: ContactId) -> list[Room]:
        """Rooms in which a person and the ghost of a contact are, the newest first."""
        ghost = self.ghost(contact)
        return [
            room
            for room in reversed(self.homeserver.rooms.rooms.values())
            if room.membership(person.id) == "join"
            and room.membership(ghost) == "join"
            and (TOMBSTONE, "") not in room.state
        ]

    def follow_invites(self, person: Person) -> None:
        """Let the client of a person accept invites of the bridge, where the bridge does not do that."""

        def note(room: Room, event: Event) -> None:
            if (event.type, event.state_key) != (MEMBER, person.id):
                return
            if event.content.get("membership") == "invite":
                self.start(self._accept(person, room.id))

        self.homeserver.rooms.on_event.append(note)

    async def _accept(self, person: Person, room: RoomId) -> None:
        await asyncio.sleep(self.dice.between(0.2, 30.0))
        self.homeserver.rooms.join(room, person.id)


def _pairs(document: dict[str, Any]) -> set[tuple[UserId, str]]:
    return {(UserId(key), room) for key, rooms in document.items() for room in rooms}
