"""What must be true: some of it after every step, the rest once everything has come to rest.

They look at the world from outside: at rooms, at the network, at documents. Only to learn whether an event was
accepted, and what it was decided to become, they look into the database.

The rule that must never break: a check that finds something says what, and in which message or room.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from dm_bridge.bridge.portal_life import marker
from dm_bridge.bridge.sent_before import PART, REMOTE_ID
from dm_bridge.ids import ChatId, EventId, PortalKey, RoomId, UserId
from dm_bridge.matrix.rooms import MARKER
from dm_bridge.network.api import OutgoingMessage
from dm_bridge.store.logins import LoginState
from dm_bridge.store.portals import Membership, PortalState
from dm_bridge.testing.fake_homeserver import DirectWrite
from dm_bridge.testing.fake_network import POISON, Account, Stanza
from dm_bridge.testing.fake_rooms import CREATE, TOMBSTONE, Event, Json, Room
from dm_bridge.testing.memory.database import OutboxEntry
from dm_bridge.testing.simulator.world import NAMESPACE, Person, World


@dataclass(slots=True)
class Tally:
    """Messages: what became of them."""

    to_matrix: int = 0
    to_network: int = 0
    lost: int = 0
    doubled: int = 0
    misordered: int = 0
    failed: int = 0
    uncertain: int = 0
    parked: int = 0


@dataclass(frozen=True, slots=True)
class _Written:
    """A message of a user in Matrix. ``seen``: whether a ghost was in the room."""

    event: Event
    person: Person
    seen: bool


class Checks:
    """Watches a world. ``violations``: sentences, none if all is well."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.violations: list[str] = []
        self.tally = Tally()
        self._stanzas: dict[str, Stanza] = {}
        self._shown: Counter[str] = Counter()
        self._shown_as: dict[str, EventId] = {}
        self._last_shown: dict[tuple[str, ChatId], int] = defaultdict(int)
        self._written: dict[str, _Written] = {}
        self._taken: Counter[str] = Counter()
        self._last_taken: dict[RoomId, int] = defaultdict(int)
        self._marked: dict[str, list[Room]] = defaultdict(list)
        self.delays: dict[tuple[str, str], float] = defaultdict(float)
        """Seconds that a message took at most, by account and contact."""
        self._had_by_several: set[UserId] = set()
        self._forgotten: set[str] = set()
        """Messages that were there, and that a restored homeserver does not know any more."""
        self._settled: set[str] = set()
        """Messages whose authors may have been told what became of them, and may not find it any more."""
        self._given_up: set[RoomId] = set()
        """Rooms that the bridge had left for good, and that a restored homeserver has again."""
        self._people = {person.id: person for person in world.people}
        world.server.on_store.append(self._stored)
        world.server.on_take.append(self._took)
        world.homeserver.rooms.on_event.append(self._happened)
        world.homeserver.on_create.append(self._created)
        world.homeserver.on_direct.append(self._marked_direct)
        world.on_restore.append(self._restored)

    def found(self, violation: str) -> None:
        """Something is wrong."""
        self.violations.append(violation)
        self._world.dice.say(f"VIOLATION: {violation}")

    # -- after every step

    def _stored(self, account: Account, stanza: Stanza) -> None:
        self._stanzas[stanza.body] = stanza

    def _happened(self, room: Room, event: Event) -> None:
        self._had_by_one()
        say = self._world.dice.say
        content = event.content
        key = "" if event.state_key is None else f" [{event.state_key}]"
        about = content.get("body") or content.get("membership") or ""
        say(f"{room.id} {event.sender} {event.type}{key} {about}".rstrip())
        if event.type != "m.room.message":
            return
        body = content.get("body", "")
        if REMOTE_ID in content and body in self._stanzas:
            self._show(event, self._stanzas[body])
        elif event.sender in self._people and body.startswith("u"):
            seen = any(NAMESPACE.owns(user) for user in room.members("join"))
            self._written[body] = _Written(event, self._people[event.sender], seen)

    def _show(self, event: Event, stanza: Stanza) -> None:
        if PART in event.content:
            return
        body = stanza.body
        self._shown[body] += 1
        self.tally.to_matrix += 1
        if self._shown[body] > 1:
            self.tally.doubled += 1
            self.found(f"{body} became two Matrix events")
            return
        owner = self._owner(stanza)
        if stanza.number < self._last_shown[owner, stanza.chat]:
            self.tally.misordered += 1
            self.found(f"{body} came into the room after what was written later")
        self._shown_as[body] = event.id
        self._last_shown[owner, stanza.chat] = stanza.number
        self._took_so_long(owner, stanza.chat, event.at - stanza.at)

    def _owner(self, stanza: Stanza) -> str:
        for person in self._world.people:
            if stanza.chat in map(str, person.contacts):
                return person.account.address
        raise AssertionError(f"nobody has a chat {stanza.chat}")

    def _took(self, account: Account, message: OutgoingMessage) -> None:
        self._had_by_one()
        body = message.content.body
        self._world.dice.say(f"network: {account.address} to {message.chat}: {body}")
        written = self._written.get(body)
        if written is None:
            self.found(f"{body} was sent to the network, and its user did not write it in Matrix")
            return
        self._taken[body] += 1
        self.tally.to_network += 1
        if self._taken[body] > 1:
            self.tally.doubled += 1
            self.found(f"{body} was sent to the network twice")
        event = written.event
        if body in self._forgotten:
            return
        if event.number < self._last_taken[event.room] and not self._world.pusher.disordered:
            self.tally.misordered += 1
            self.found(f"{body} was sent to the network after what was written later")
        self._last_taken[event.room] = max(event.number, self._last_taken[event.room])
        now = self._world.tables.clock()
        self._took_so_long(account.address, message.chat, now - event.at)

    def _took_so_long(self, account: str, chat: str, seconds: float) -> None:
        key = (account, chat)
        self.delays[key] = max(self.delays[key], seconds)

    def _had_by_one(self) -> None:
        """No two processes may act for the same user."""
        bridges = self._world.sharing
        for person in self._people if len(bridges) > 1 else ():
            serving = [str(bridge.number) for bridge in bridges if bridge.serves(person)]
            if len(serving) > 1 and person not in self._had_by_several:
                self._had_by_several.add(person)
                self.found(f"{person} is had by processes {' and '.join(serving)}")

    def _created(self, room: Room, creation: Json) -> None:
        made_for = creation.get(MARKER)
        if not isinstance(made_for, str):
            return
        for other in self._marked[made_for]:
            if self._is_good(other):
                self.found(f"{room.id} was made although {other.id} is there for the same chat")
        self._marked[made_for].append(room)

    def _is_good(self, room: Room) -> bool:
        """Whether a room could still be the room of its chat."""
        here = any(
            room.membership(person.id) in ("join", "invite") for person in self._world.people
        )
        return (
            here
            and room.membership(room.creator) == "join"
            and (TOMBSTONE, "") not in room.state
            and room.id not in self._world.tables.former
        )

    def _marked_direct(self, write: DirectWrite) -> None:
        self._world.dice.say(f"bridge: m.direct of {write.user} = {sorted(write.written.items())}")
        managed = self._world.tables.direct.get(write.user, {})
        written = set(_entries(write.written))
        for key, room in _entries(write.read or {}):
            ours = room in managed or NAMESPACE.owns(key)
            if not ours and (key, room) not in written:
                self.found(f"the bridge took {room} of {key} out of the m.direct of {write.user}")

    def _restored(self) -> None:
        """The homeserver is as it was some time ago: what came after that is gone, and nobody's fault."""
        rooms = self._world.homeserver.rooms.rooms
        there = {event.id for room in rooms.values() for event in room.events}
        for body, written in self._written.items():
            row = self._world.tables.outbox.get(written.event.id)
            if written.event.id not in there:
                self._forgotten.add(body)
            elif row is not None and row.state != "waiting":
                self._settled.add(body)
        self._last_shown.clear()
        for body, event in list(self._shown_as.items()):
            stanza = self._stanzas[body]
            if event in there:
                key = (self._owner(stanza), stanza.chat)
                self._last_shown[key] = max(self._last_shown[key], stanza.number)
            else:
                del self._shown_as[body]
                self._shown[body] = 0
                self._forgotten.add(body)
        portals = self._world.tables.portals.values()
        looked_for = {marker(row.key) for row in portals if row.state is PortalState.CREATING}
        self._given_up |= rooms.keys() - {row.room for row in portals}
        self._given_up |= {  # or will, because of something that was taken in and is forgotten
            row.room
            for event, row in self._world.tables.outbox.items()
            if row.state == "waiting" and event not in there and b'"state_key"' in row.event
        }
        self._given_up -= {
            room.id for room in rooms.values() if room.content(CREATE).get(MARKER) in looked_for
        }
        for made in self._marked.values():
            made[:] = [
                rooms[room.id]
                for room in made
                if room.id in rooms and room.id not in self._given_up
            ]

    # -- at rest

    def unfinished(self) -> list[str]:
        """What still has to happen before everything is at rest."""
        world = self._world
        if len(world.bridges) < world.wanted or not all(each.ready for each in world.bridges):
            return ["no bridge"]
        left = [
            f"{name}: {count}"
            for bridge in world.bridges
            for name, count in bridge.remembered.items()
            if count
        ]
        left += unshared(world)
        if not world.pusher.idle:
            left.append("events to be pushed")
        left += [f"{body} waits" for body in self._waiting()]
        for account in world.server.accounts.values():
            if account.stream is None or account.stream.behind:
                left.append(f"{account.address} is behind")
        return left

    def _waiting(self) -> Iterator[str]:
        for key, rows in self._world.tables.inbox.items():
            yield from (f"{key.chat} {id_}" for id_, row in rows.items() if row.state == "waiting")
        yield from (id_ for id_, row in self._world.tables.outbox.items() if row.state == "waiting")

    def at_rest(self) -> None:
        """Everything has come to rest: is everything right?"""
        for body, stanza in self._stanzas.items():
            if body not in self._written:
                self._was_shown(body, stanza)
        for body, written in self._written.items():
            self._was_taken(body, written)
        for person in self._world.people:
            for number in range(len(person.contacts)):
                self._has_one_room(person, number)
            self._is_marked(person)

    def _was_shown(self, body: str, stanza: Stanza) -> None:
        if self._shown[body] or body in self._forgotten:
            return
        rows = [
            row
            for key, rows in self._world.tables.inbox.items()
            if key.chat == stanza.chat
            for id_, row in rows.items()
            if id_ in (f"n{stanza.number}", f"o{stanza.origin}")
        ]
        if POISON in body and any(row.state == "parked" for row in rows):
            self.tally.parked += 1
            return
        self.tally.lost += 1
        states = [f"{row.state} {row.reason}" for row in rows]
        self.found(f"{body} of {stanza.chat} never came into a room: {states or 'not accepted'}")

    def _was_taken(self, body: str, written: _Written) -> None:
        if body in self._forgotten:
            return
        event, taken = written.event, self._taken[body]
        row = self._world.tables.outbox.get(event.id)
        room = self._world.homeserver.rooms.rooms[event.room]
        if row is None:
            if written.seen or self._is_of_a_chat(event.room):
                self.tally.lost += 1
                self.found(f"{body} in {event.room} was never accepted")
            return
        told = body in self._settled or self._was_told(room, event.id)
        fine = {
            "delivered": taken == 1,
            "failed": taken == 0 and told,
            "uncertain": told,
            "parked": told or not self._is_of_a_chat(event.room),
        }.get(row.state, not self._is_of_a_chat(event.room))
        self._count(row)
        if not fine:
            self.tally.lost += 1
            self.found(
                f"{body} in {event.room} ended as {row.state} ({row.reason}), sent {taken} times, "
                f"its user was {'' if told else 'not '}told"
            )

    def _count(self, row: OutboxEntry) -> None:
        self.tally.failed += row.state == "failed"
        self.tally.uncertain += row.state == "uncertain"
        self.tally.parked += row.state == "parked"

    def _is_of_a_chat(self, room: RoomId) -> bool:
        """Whether a room is, or was until lately, the room of a chat, and the ghost is in it."""
        tables = self._world.tables
        return room in tables.former or any(row.room == room for row in tables.portals.values())

    def _was_told(self, room: Room, about: EventId) -> bool:
        """Whether somebody answered a message; also true where nobody of ours is left who could."""
        if not any(NAMESPACE.owns(user) for user in room.members("join")):
            return True
        for event in room.events:
            relation = event.content.get("m.relates_to", {})
            if (
                NAMESPACE.owns(event.sender)
                and relation.get("m.in_reply_to", {}).get("event_id") == about
            ):
                return True
        return False

    def _has_one_room(self, person: Person, number: int) -> None:
        rooms = [
            room
            for room in self._world.rooms_of(person, person.contacts[number])
            if room.id not in self._world.tables.former and room.id not in self._given_up
        ]
        if len(rooms) > 1:
            names = ", ".join(room.id for room in rooms)
            self.found(f"{person.id} has several rooms with {person.contacts[number]}: {names}")

    def _is_marked(self, person: Person) -> None:
        world = self._world
        if not world.setup.settings.accounts:
            return
        document = world.homeserver.documents.get(person.id, {})
        if "!friend:example.org" not in document.get("@friend:example.org", []):
            self.found(f"an entry of others is gone from the m.direct of {person.id}")
        for key, row in world.tables.portals.items():
            if not self._is_theirs(person, key) or row.room is None:
                continue
            room = world.homeserver.rooms.rooms.get(row.room)
            here = room is not None and room.membership(person.id) == "join"
            wanted = row.state is PortalState.OPEN and row.membership is Membership.JOIN
            decided = (person.id, row.ghost) in world.unmarked or row.crowded
            if here and wanted and not decided and row.room not in document.get(row.ghost, []):
                self.found(f"{row.room} is not in the m.direct of {person.id}")

    def _is_theirs(self, person: Person, key: PortalKey) -> bool:
        return self._world.tables.logins[key.login].owner == person.id


def _entries(document: Json) -> Iterator[tuple[str, str]]:
    for key, rooms in document.items():
        if isinstance(rooms, list):
            yield from ((key, room) for room in rooms)


def unshared(world: World) -> Iterator[str]:
    """What is not as it should be between several processes: who has whom, evenly, and what is left for others."""
    bridges = {bridge.database.instance: bridge for bridge in world.sharing}
    if not bridges:
        return
    loads = dict.fromkeys(bridges, 0)
    for user, share in world.tables.shares.items():
        having = [name for name, bridge in bridges.items() if bridge.shares.holds(user)]
        if having != [share.holder]:
            yield f"{user} is had by {having}, and recorded for {share.holder}"
        elif having:
            logins = world.tables.logins.values()
            loads[having[0]] += sum(
                row.owner == user and row.state is not LoginState.LOGGED_OUT for row in logins
            )
    if max(loads.values()) - min(loads.values()) > 1:
        yield f"uneven: {sorted(loads.items())}"
    if gone := world.tables.instances.keys() - bridges.keys():
        yield f"not noticed to be gone: {sorted(gone)}"
    for errand in world.tables.errands.values():
        yield f"errand: {errand.kind} of {errand.for_whom}"


async def rest(checks: Checks, patience: float) -> bool:
    """Wait until everything is at rest; whether it is, within ``patience`` seconds."""
    until = asyncio.get_running_loop().time() + patience
    pause = 0.5
    while checks.unfinished():
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(pause)
        pause = min(20.0, pause * 1.3)
    return True
