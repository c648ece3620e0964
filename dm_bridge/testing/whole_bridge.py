"""The whole bridge in a test, in milliseconds: the bridge's own code around a network, on a homeserver in memory.

Everything from the bot to the queues is what runs in production; only the database, the homeserver and the
process are not. The network is real if it is given one that is: so a connector can be seen through to the
user's `m.direct` without any other server::

    async with WholeBridge(connector.build(config)) as bridge:
        alice = bridge.user("alice")
        await alice.log_in({"name": "alice", "password": "sesame"})
        room = await alice.chat_with(ContactId("romeo"))    # after Romeo wrote
        alice.say(room, "Hello!")

The rule that must never break: after `kill`, only what the database and the homeserver have is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Self

from dm_bridge.ids import ContactId, EventId, GhostNamespace, RoomId, UserId
from dm_bridge.network.api import Network
from dm_bridge.network.events import SessionStatus
from dm_bridge.testing.dice import Dice
from dm_bridge.testing.fake_homeserver import FakeHomeserver, services
from dm_bridge.testing.fake_http import Direct
from dm_bridge.testing.fake_push import Pusher
from dm_bridge.testing.fake_rooms import Event, Json
from dm_bridge.testing.life import Life, task_factory
from dm_bridge.testing.memory import MemoryDatabase, Tables
from dm_bridge.testing.simulator.bridge import Settings, SimulatedBridge

PATIENCE = 30.0
_TURN = 0.002
_STOP_SECONDS = 15.0


class WholeBridge:
    """``async with WholeBridge(network) as bridge``. ``homeserver`` and ``tables`` may be looked into.

    ``started``: somebody else has started the network, and stops it.
    """

    def __init__(
        self,
        network: Network,
        *,
        domain: str = "example.org",
        started: bool = False,
        settings: Settings | None = None,
    ) -> None:
        self.network = network
        self._settings = settings or Settings()
        self._started = started
        self.domain = domain
        self.bot = UserId(f"@dmbot:{domain}")
        self.ghosts = GhostNamespace("_dm_", domain)
        self.tables = Tables()
        self.homeserver = FakeHomeserver(
            domain, services(self.bot, self.ghosts.owns, domain), time.time, time.monotonic
        )
        self.pusher = Pusher(
            self.homeserver,
            lambda user: user == self.bot or self.ghosts.owns(user),
            self._receive,
            Dice(0),
        )
        self.pusher.delay = 0.0
        self._processes = 0
        self._process: SimulatedBridge[Network] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._former_factory = loop.get_task_factory()
        loop.set_task_factory(task_factory)  # type: ignore[arg-type] # so that a process can be killed
        if not self._started:
            await self.network.start()
        self._pushing = asyncio.create_task(self.pusher.run())
        await self._launch()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pushing.cancel()
        await asyncio.gather(self._pushing, return_exceptions=True)
        process = self._process
        if process is not None:
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.wait([process.life.start(process.stop())])
            await _ended(process.life)
        if not self._started:
            await self.network.stop()
        asyncio.get_running_loop().set_task_factory(self._former_factory)

    def user(self, localpart: str) -> MatrixUser:
        """A new user of the homeserver."""
        user = UserId(f"@{localpart}:{self.domain}")
        self.homeserver.registered.add(user)
        return MatrixUser(self, user)

    def ghost(self, contact: ContactId) -> UserId:
        """The ghost of a contact."""
        return self.ghosts.user_id(self.network.name, contact)

    async def connected(self) -> None:
        """Return once every login is connected."""
        process = self._process
        assert process is not None
        await self.until(
            lambda: all(
                process.logins.state(login).status is SessionStatus.CONNECTED
                for login in self.tables.logins
            ),
            "every login is connected",
        )

    async def kill(self) -> None:
        """The process dies wherever it is, and another one begins."""
        process = self._process
        assert process is not None
        process.life.kill()
        await _ended(process.life)
        self.tables.connected.clear()
        await self._launch()

    async def until(
        self, condition: Callable[[], object], what: str, seconds: float | None = None
    ) -> None:
        """Return once ``condition`` holds; raise TimeoutError with ``what`` was waited for when it does not."""
        seconds = seconds or PATIENCE
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"It did not happen within {seconds:.0f} seconds: {what}")
            await asyncio.sleep(_TURN)

    async def _launch(self) -> None:
        self._processes += 1
        process = SimulatedBridge(
            Life(),
            time.time,
            self.homeserver,
            Direct(),
            MemoryDatabase(self.tables, instance=f"dm_bridge {self._processes}"),
            self.network,
            self.bot,
            self.ghosts,
            self._settings,
        )
        self._process = process
        await process.life.start(process.begin())

    async def _receive(self, transaction: str, body: bytes) -> int:
        if self._process is None:
            raise ConnectionError
        return await self._process.receive(transaction, body)


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as a client shows it. ``answers``: which one it answers; ``reactions``: who, and with what."""

    id: EventId
    sender: UserId
    text: str
    answers: EventId | None = None
    reactions: frozenset[tuple[UserId, str]] = frozenset()


def shown(events: Sequence[Event]) -> list[Shown]:
    """What is left of events: without what was redacted, with what edits and reactions make of the rest."""
    messages: dict[str, Shown] = {}
    gone = {event.content.get("redacts") for event in events if event.type == "m.room.redaction"}
    for event in events:
        relation = event.content.get("m.relates_to", {})
        about = messages.get(relation.get("event_id", ""))
        if event.id in gone:
            continue
        if event.type == "m.reaction" and about is not None:
            all_now = about.reactions | {(event.sender, relation["key"])}
            messages[about.id] = replace(about, reactions=all_now)
        elif event.type == "m.room.message" and relation.get("rel_type") == "m.replace":
            if about is not None and about.sender == event.sender:
                new = event.content["m.new_content"]["body"]
                messages[about.id] = replace(about, text=new)
        elif event.type == "m.room.message":
            answers = relation.get("m.in_reply_to", {}).get("event_id")
            messages[event.id] = Shown(event.id, event.sender, event.content["body"], answers)
    return list(messages.values())


class MatrixUser:
    """A user of the homeserver, with a client of theirs."""

    def __init__(self, bridge: WholeBridge, user: UserId) -> None:
        self.id = user
        self._bridge = bridge
        self._bot_room: RoomId | None = None

    @property
    def direct(self) -> dict[str, Any]:
        """The user's `m.direct`."""
        return self._bridge.homeserver.documents.get(self.id) or {}

    async def log_in(self, *answers: Mapping[str, str]) -> None:
        """Log in to the network with the bot. ``answers``: for each step, in the order of its fields.

        Raises TimeoutError, with what the bot said, when that does not succeed.
        """
        room = await self.bot_room()
        self.say(room, f"login {self._bridge.network.name}")
        for values in answers:
            for value in values.values():
                await self._bridge.until(partial(self._is_asked, room), "the bot asks something")
                self.say(room, value)
        try:
            await self._bridge.until(
                lambda: any("You are logged in" in text for text in self._said_by_bot()), "a login"
            )
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the bot said {self._said_by_bot()}") from None

    async def bot_room(self) -> RoomId:
        """The user's room with the bot."""
        if self._bot_room is None:
            rooms = self._bridge.homeserver.rooms
            room = rooms.create(
                self.id, invite=[self._bridge.bot], direct=True, creation={}, initial=[]
            )
            await self._bridge.until(
                lambda: room.membership(self._bridge.bot) == "join", "the bot joins"
            )
            self._bot_room = room.id
        return self._bot_room

    def invite(self, contact: ContactId) -> RoomId:
        """Begin a chat with a contact, as clients do: a direct room, with the ghost invited."""
        rooms = self._bridge.homeserver.rooms
        ghost = self._bridge.ghost(contact)
        return rooms.create(self.id, invite=[ghost], direct=True, creation={}, initial=[]).id

    async def chat_with(self, contact: ContactId) -> RoomId:
        """The room with a contact, once both are in it and it is in the user's `m.direct`."""
        ghost = self._bridge.ghost(contact)

        def found() -> RoomId | None:
            for room in self._bridge.homeserver.rooms.rooms.values():
                both = room.membership(self.id) == room.membership(ghost) == "join"
                if both and room.id in self.direct.get(ghost, []):
                    return room.id
            return None

        await self._bridge.until(found, f"a direct room of {self.id} with {ghost}")
        room = found()
        assert room is not None
        return room

    def say(self, room: RoomId, text: str) -> EventId:
        """Write into a room."""
        content = {"msgtype": "m.text", "body": text}
        return self._bridge.homeserver.rooms.send(room, self.id, "m.room.message", content).id

    def reply(self, room: RoomId, about: EventId, text: str) -> EventId:
        """Answer a message."""
        return self._send(room, text, {"m.in_reply_to": {"event_id": about}})

    def edit(self, room: RoomId, about: EventId, text: str) -> EventId:
        """Change a message, as clients do."""
        new = {"msgtype": "m.text", "body": text}
        relation = {"rel_type": "m.replace", "event_id": about}
        return self._send(room, f"* {text}", relation, {"m.new_content": new})

    def react(self, room: RoomId, about: EventId, emoji: str) -> EventId:
        """React to a message."""
        relation = {"rel_type": "m.annotation", "event_id": about, "key": emoji}
        content = {"m.relates_to": relation}
        return self._bridge.homeserver.rooms.send(room, self.id, "m.reaction", content).id

    def redact(self, room: RoomId, event: EventId) -> EventId:
        """Take a message or a reaction back."""
        content = {"redacts": event}
        return self._bridge.homeserver.rooms.send(room, self.id, "m.room.redaction", content).id

    def _send(self, room: RoomId, text: str, relation: Json, more: Json | None = None) -> EventId:
        content: Json = {"msgtype": "m.text", "body": text, "m.relates_to": relation}
        content |= more or {}
        return self._bridge.homeserver.rooms.send(room, self.id, "m.room.message", content).id

    def shown(self, room: RoomId) -> list[Shown]:
        """The messages of a room as a client shows them, in order."""
        return shown(self._bridge.homeserver.rooms.room(room).events)

    def sees(self, room: RoomId) -> list[tuple[UserId, str]]:
        """Who wrote what into a room, in order."""
        return [
            (event.sender, str(event.content["body"]))
            for event in self._bridge.homeserver.rooms.room(room).events
            if event.type == "m.room.message" and "body" in event.content
        ]

    def _is_asked(self, room: RoomId) -> bool:
        """Whether the bot had the last word."""
        said = self.sees(room)
        return bool(said) and said[-1][0] == self._bridge.bot

    def _said_by_bot(self) -> list[str]:
        if self._bot_room is None:
            return []
        return [text for sender, text in self.sees(self._bot_room) if sender == self._bridge.bot]


async def _ended(life: Life) -> None:
    """Return once nothing of a life is at work."""
    if tasks := life.at_work:
        await asyncio.wait(tasks, timeout=_STOP_SECONDS)
