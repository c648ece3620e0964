"""One run: people write in both directions while faults happen; then all is well again, and everything is counted.

Every message is numbered. Some chats exist, some begin meanwhile. What was accepted and what arrived is read
from the two servers, by their own clients.

The rule that must never break: a run ends only when the last message of every chat and direction has arrived,
or its patience is over; and a fault that was asked for and did not happen is a complaint like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from dm_bridge.errors import BridgeError, HomeserverError
from dm_bridge.testing.xmpp_client import XmppUser
from tests.faults.scenarios import Inject, Scenario
from tests.faults.tally import Count, Line, Tag, complaints, count, tag_of
from tests.faults.world import Person, World

Event = dict[str, Any]

AT_LEAST = 5
"""Messages of one chat and direction, without the last one."""
BURST, PACE, SLOWLY = 6, 0.4, 3.0
"""Of each chat and direction so many messages come with each fault, with so many seconds between them on average;
then, so that a slow machine can follow, with so many.
"""
PATIENCE = 120.0
MARKED_WITHIN = 60.0
PUSHED_WITHIN = 10.0
PUSHES_AGAIN = 2
SETTLING = 0.8
"""Seconds in which a second copy would have come."""
FAULT_WITHIN = 60.0
LINES_MORE = 60
"""Of the log, after the line that must not be there."""
_UNEXPECTED = ("Traceback (most recent call last)", "of our own", "unexpectedly", "handler failed")


@dataclass(eq=False, slots=True)
class Chat:
    """One chat of one person."""

    name: str
    person: Person
    contact: XmppUser
    sent: dict[str, int] = field(default_factory=lambda: {"in": 0, "out": 0})


@dataclass(slots=True)
class Result:
    """What came of a run. ``injected``: how many faults. ``unpushed``: how many messages Synapse never pushed.
    ``wrong``: what must not be and is no message's fate; ``complaints``: that, and what went wrong with messages.
    """

    injected: int
    unpushed: int
    to_matrix: Count
    to_network: Count
    wrong: list[str]
    complaints: list[str]


class Run:
    """One run of one scenario, for its hooks to use. ``refused``: whose login was refused meanwhile."""

    def __init__(self, world: World, name: str, seed: int) -> None:
        self.world = world
        self.rng = random.Random(f"{name} {seed}")
        self.id = f"r{time.time_ns():x}"
        self.injected = 0
        self.wrong: list[str] = []
        self.refused: list[Person] = []
        self.people: list[Person] = []
        self.chats: list[Chat] = []
        self._tasks = asyncio.TaskGroup()
        self._done = asyncio.Event()
        self._faults = 0
        self._unpushed: dict[Chat, int] = {}
        self._since = world.now()
        logs = world.bridge.directory.rglob("dm-bridge.log")
        self._logs = {path: path.stat().st_size for path in logs}

    async def play(self, scenario: Scenario) -> Result:
        """Everything: load, faults, quiet, count."""
        self.people = await self.world.everybody(scenario.people)
        async with asyncio.TaskGroup() as self._tasks:
            for number, person in enumerate(self.people):
                for contact in person.contacts:
                    self._begin(number, contact)
            await self.newcomer()
            for step in scenario.steps:
                self._faults += 1
                await self.some_time()
                await self._inject(step)
            self._done.set()
        return await self._finish()

    # -- for faults

    async def happened(self, event: asyncio.Event, what: str) -> bool:
        """Wait until a fault was met; else it is complained about."""
        try:
            async with asyncio.timeout(FAULT_WITHIN):
                await event.wait()
        except TimeoutError:
            self.wrong.append(f"never met: {what}")
            return False
        self.injected += 1
        return True

    async def some_time(self, at_least: float = 0.1, at_most: float = 0.6) -> None:
        """A random while, made by the seed."""
        await asyncio.sleep(self.rng.uniform(at_least, at_most))

    @contextlib.contextmanager
    def must_hold(self, what: str) -> Iterator[Callable[[bool], None]]:
        """Gives a check; what fails is complained about once."""
        failures = 0

        def check(holds: bool) -> None:
            nonlocal failures
            failures += not holds

        yield check
        if failures:
            self.wrong.append(f"{what}: {failures} times not")

    async def newcomer(self) -> None:
        """From now on somebody writes whom nobody has met."""
        number = self.rng.randrange(len(self.people))
        contact = await self.world.contact()
        self.world.strangers.append(contact)
        self._begin(number, contact)

    async def _inject(self, step: Inject) -> None:
        try:
            async with asyncio.timeout(FAULT_WITHIN * 2):
                await step(self)
        except TimeoutError:
            self.wrong.append("the fault did not happen in time")
        except BridgeError as error:
            self.wrong.append(f"the fault could not be injected: {error}")
        finally:
            await self.world.heal()

    # -- load

    def _begin(self, number: int, contact: XmppUser) -> None:
        name = f"p{number}{contact.bare_jid.partition('@')[0]}"
        chat = Chat(name, self.people[number], contact)
        self.chats.append(chat)
        self._tasks.create_task(self._write_in(chat))
        self._tasks.create_task(self._write_out(chat))

    def _next(self, chat: Chat, way: str) -> str:
        number = chat.sent[way]
        chat.sent[way] += 1
        return str(Tag(self.id, chat.name, way, number))

    async def _going_on(self, chat: Chat, way: str) -> AsyncIterator[None]:
        """Once for every message that is to be written."""
        fault, burst = self._faults, 0
        while chat.sent[way] < AT_LEAST or not self._done.is_set():
            yield
            if fault != self._faults:
                fault, burst = self._faults, 0
            burst += 1
            pause = PACE if burst < BURST else SLOWLY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.rng.uniform(0, 2 * pause)):
                    await self._done.wait()

    async def _write_in(self, chat: Chat) -> None:
        async for _ in self._going_on(chat, "in"):
            if chat.contact.connected:
                chat.contact.send(chat.person.romeo, self._next(chat, "in"))

    async def _write_out(self, chat: Chat) -> None:
        room = await self._room(chat)
        async for _ in self._going_on(chat, "out"):
            if room is None:
                return
            await self._say(chat, room)

    async def _room(self, chat: Chat) -> str | None:
        ghost = self.world.ghost(chat.contact)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(HomeserverError):
                for room, creator in (await chat.person.rooms()).items():
                    if creator == ghost:
                        return room
            await asyncio.sleep(0.25)
        self.wrong.append(f"{chat.name}: no room")
        return None

    async def _say(self, chat: Chat, room: str) -> None:
        """Write until the homeserver has it: what it has, it has once."""
        body = self._next(chat, "out")
        path = f"v3/rooms/{quote(room)}/send/m.room.message/{quote(body)}"
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                await chat.person.alice.request("PUT", path, {"msgtype": "m.text", "body": body})
                return
            except HomeserverError as error:
                if 400 <= error.status < 500:
                    self.wrong.append(f"{chat.name}: the homeserver refuses a message: {error}")
                    return
            await asyncio.sleep(0.2)
        self.wrong.append(f"{chat.name}: the homeserver takes no message")

    # -- counting

    async def _finish(self) -> Result:
        rooms = {chat: await self._room(chat) for chat in self.chats}
        for chat, room in rooms.items():
            chat.contact.send(chat.person.romeo, self._next(chat, "in"))
            if room is not None:
                await self._say(chat, room)
        await self._all_has_come()
        await asyncio.sleep(SETTLING)
        lines = {chat: await self._lines(chat) for chat in self.chats}
        await self._check_rooms_and_direct()
        self._check_log()
        every = [line for pair in lines.values() for line in pair]
        unpushed = sum(self._unpushed.values())
        return Result(
            self.injected,
            unpushed,
            count(pair[0] for pair in lines.values()),
            count(pair[1] for pair in lines.values()),
            self.wrong,
            [*complaints(every), *self.wrong],
        )

    async def _all_has_come(self) -> None:
        """Wait for the last message of every chat and direction, and let Synapse push what it has kept back."""
        start, again = time.monotonic(), 0
        while time.monotonic() < start + PATIENCE:
            lines = {chat: await self._lines(chat) for chat in self.chats}
            unpushed = sum(self._unpushed.values())
            complete = all(_complete(line) for pair in lines.values() for line in pair)
            if complete and (not unpushed or (again == PUSHES_AGAIN)):
                return
            if unpushed and again < PUSHES_AGAIN and time.monotonic() > start + PUSHED_WITHIN:
                start, again = time.monotonic(), again + 1
                await self.world.push_again()
            await asyncio.sleep(0.3)

    async def _lines(self, chat: Chat) -> tuple[Line, Line]:
        """What is to Matrix, and what is to the network, as it stands now.

        What is to the network was accepted in the order in which Synapse pushed it.
        """
        ghost, alice = self.world.ghost(chat.contact), chat.person.alice.user_id
        rooms = [room for room, creator in (await chat.person.rooms()).items() if creator == ghost]
        events = [event for room in rooms for event in await self._timeline(chat, room)]
        kept = await chat.contact.archive(self._since)
        mine = chat.contact.bare_jid
        told = _told(self.id, events, ghost)
        pushed = self.world.pushed
        written = [e for e in events if e["sender"] == alice and tag_of(_body(e))]
        self._unpushed[chat] = sum(event["event_id"] not in pushed for event in written)
        written = [event for event in written if event["event_id"] in pushed]
        written.sort(key=lambda event: pushed[event["event_id"]])
        return (
            Line(
                f"{chat.name}, to Matrix",
                self._numbers(chat, "in", (k.body for k in kept if k.sender.startswith(mine))),
                self._numbers(chat, "in", (_body(e) for e in events if e["sender"] == ghost)),
            ),
            Line(
                f"{chat.name}, to the network",
                self._numbers(chat, "out", map(_body, written)),
                self._numbers(chat, "out", (k.body for k in kept if not k.sender.startswith(mine))),
                *told,
                refused=chat.person in self.refused,
            ),
        )

    def _numbers(self, chat: Chat, way: str, bodies: Iterable[object]) -> list[int]:
        tags = (tag_of(body) for body in bodies)
        return [t.number for t in tags if t and (t.run, t.chat, t.way) == (self.id, chat.name, way)]

    async def _timeline(self, chat: Chat, room: str) -> list[Event]:
        """The messages in a room since the run began, the oldest first."""
        since = self._since.timestamp() * 1000
        query = {"dir": "b", "limit": "200", "filter": '{"types":["m.room.message"]}'}
        events: list[Event] = []
        path = f"v3/rooms/{quote(room)}/messages"
        while True:
            answer = await chat.person.alice.request("GET", path, query=query)
            events += answer["chunk"]
            old = any(event["origin_server_ts"] < since - 60_000 for event in answer["chunk"])
            if old or not answer["chunk"] or "end" not in answer:
                return events[::-1]
            query["from"] = str(answer["end"])

    async def _check_rooms_and_direct(self) -> None:
        """Each chat has one room, each room is in m.direct under its ghost, and nothing else is missing there."""
        for person in self.people:
            deadline = time.monotonic() + MARKED_WITHIN
            while wrong := await self._wrong_with(person):
                if time.monotonic() > deadline:
                    self.wrong += wrong
                    break
                await asyncio.sleep(0.3)

    async def _wrong_with(self, person: Person) -> list[str]:
        direct = await person.alice.m_direct() or {}
        creators = await person.rooms()
        wrong = [
            f"m.direct: {key} is {direct.get(key)}, and was {rooms}"
            for key, rooms in person.foreign.items()
            if direct.get(key) != rooms
        ]
        wrong += [f"an invite to {room} was left" for room in await person.invited()]
        for chat in self.chats:
            if chat.person is person:
                ghost = self.world.ghost(chat.contact)
                rooms = [room for room, creator in creators.items() if creator == ghost]
                if len(rooms) != 1:
                    wrong.append(f"{chat.name}: {len(rooms)} rooms")
                if direct.get(ghost) != rooms:
                    wrong.append(f"m.direct: {ghost} is {direct.get(ghost)}, and has {rooms}")
        return wrong

    def _check_log(self) -> None:
        """Nothing happened that the bridge itself did not think of."""
        for path in self.world.bridge.directory.rglob("dm-bridge.log"):
            with path.open(encoding="utf-8", errors="replace") as log:
                log.seek(self._logs.get(path, 0))
                for line in log:
                    if any(word in line for word in _UNEXPECTED):
                        more = itertools.islice(log, LINES_MORE)
                        self.wrong.append(f"in {path.name}: {line}{''.join(more)}".strip())
                        break


def _complete(line: Line) -> bool:
    """Whether every message has found its end."""
    return set(line.accepted) <= set(line.arrived) | line.failed | line.uncertain


def _body(event: Event) -> object:
    return event.get("content", {}).get("body")


def _told(
    run: str, events: list[Event], ghost: str
) -> tuple[frozenset[int], frozenset[int], frozenset[str]]:
    """About which messages of a run their author was told that they failed, or that it is uncertain; the words."""
    numbers = {event["event_id"]: tag_of(_body(event)) for event in events}
    failed: set[int] = set()
    uncertain: set[int] = set()
    words: set[str] = set()
    for event in events:
        relation = event.get("content", {}).get("m.relates_to") or {}
        tag = numbers.get((relation.get("m.in_reply_to") or {}).get("event_id"))
        said = str(_body(event))
        if tag is None or tag.run != run or event["sender"] != ghost or not said.startswith("⚠"):
            continue
        (uncertain if "may not have been" in said else failed).add(tag.number)
        words.add(said)
    return frozenset(failed), frozenset(uncertain), frozenset(words)


async def every_message_arrives_once(world: World, scenario: Scenario) -> None:
    """Play a scenario with the seed 0; fail unless every fault was done and every message arrived once."""
    result = await Run(world, scenario.name, 0).play(scenario)
    assert result.complaints == [], "\n".join(result.complaints)
    assert result.injected >= len(scenario.steps)
    assert result.to_matrix.accepted
    assert result.to_network.accepted
