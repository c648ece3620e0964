"""What people do: contacts, users with their Matrix clients, and users on their other devices.

The rule that must never break: people know nothing of the bridge's insides; they see rooms, and a network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from dm_bridge.ids import ContactId, UserId
from dm_bridge.testing.fake_homeserver import canonical
from dm_bridge.testing.fake_rooms import MEMBER
from dm_bridge.testing.simulator.world import DOMAIN, Person, World

FRIEND = UserId(f"@friend:{DOMAIN}")


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens at a moment. ``size``: from 0 to 1, how much of it."""

    at: float
    kind: str
    person: int = 0
    contact: int = 0
    size: float = 0.5

    def who(self, world: World) -> tuple[Person, ContactId]:
        """Whom it is about."""
        person = world.people[self.person]
        return person, person.contacts[self.contact]


Doing = Callable[[World, Act], Coroutine[Any, Any, None]]


async def contact_writes(world: World, act: Act) -> None:
    """A contact writes."""
    person, contact = act.who(world)
    body = world.body("c")
    world.dice.say(f"{contact}: {body}")
    world.server.say(person.account, contact, body, f"from-{body}")


async def writes_elsewhere(world: World, act: Act) -> None:
    """The user writes on another device of the network."""
    person, contact = act.who(world)
    body = world.body("e")
    world.dice.say(f"{person.id} elsewhere to {contact}: {body}")
    world.server.say_elsewhere(person.account, contact, body, f"from-{body}")


async def user_writes(world: World, act: Act) -> None:
    """The user writes in Matrix, into the room that they have with the contact."""
    person, contact = act.who(world)
    for room in world.rooms_of(person, contact)[:1]:
        content = {"msgtype": "m.text", "body": world.body("u")}
        world.homeserver.rooms.send(room.id, person.id, "m.room.message", content)


async def user_begins(world: World, act: Act) -> None:
    """The user opens a chat by inviting the ghost, and writes at once; the contact writes as well."""
    person, contact = act.who(world)
    invite = [world.ghost(contact)]
    room = world.homeserver.rooms.create(
        person.id, invite=invite, direct=True, creation={}, initial=[]
    )
    content = {"msgtype": "m.text", "body": world.body("u")}
    world.homeserver.rooms.send(room.id, person.id, "m.room.message", content)
    await asyncio.sleep(world.dice.between(0.0, 0.2))
    await contact_writes(world, act)


async def user_leaves(world: World, act: Act) -> None:
    """The user leaves the room."""
    person, contact = act.who(world)
    for room in world.rooms_of(person, contact)[:1]:
        world.homeserver.rooms.leave(room.id, person.id)


async def user_kicks(world: World, act: Act) -> None:
    """The user removes the ghost, where they have the power."""
    person, contact = act.who(world)
    for room in world.rooms_of(person, contact)[:1]:
        content = {"membership": "leave"}
        ghost = world.ghost(contact)
        world.homeserver.rooms.set_state(room.id, person.id, MEMBER, ghost, content)


async def user_upgrades(world: World, act: Act) -> None:
    """The user replaces the room with a newer one; their client invites the others."""
    person, contact = act.who(world)
    for room in world.rooms_of(person, contact)[:1]:
        invite = [world.ghost(contact)] if act.size < 0.8 else []
        world.homeserver.rooms.upgrade(room.id, person.id, invite)


async def friend_visits(world: World, act: Act) -> None:
    """The user brings somebody else into the room, who leaves again."""
    person, contact = act.who(world)
    rooms = world.homeserver.rooms
    for room in world.rooms_of(person, contact)[:1]:
        rooms.set_state(room.id, person.id, MEMBER, FRIEND, {"membership": "invite"})
        await asyncio.sleep(world.dice.between(0.5, 10))
        rooms.join(room.id, FRIEND)
        await asyncio.sleep(world.dice.between(1, 30))
        rooms.leave(room.id, FRIEND)


# -- what their clients do with m.direct


def _write(world: World, person: Person, document: dict[str, Any]) -> None:
    world.homeserver.documents[person.id] = document
    world.dice.say(f"{person.id}: m.direct = {sorted(document.items())}")


async def client_adds(world: World, act: Act) -> None:
    """A client adds a chat of its own, to what it has just read."""
    person, _ = act.who(world)
    document = dict(world.homeserver.documents[person.id])
    number = world.number()
    document[f"@other{number}:{DOMAIN}"] = [f"!other{number}:{DOMAIN}"]
    world.added.add((person.id, f"!other{number}:{DOMAIN}"))
    _write(world, person, document)


async def client_writes_old(world: World, act: Act) -> None:
    """A client adds a chat to what it read long ago, and so overwrites what came after."""
    person, _ = act.who(world)
    number = world.number()
    document = {**person.copy, f"@old{number}:{DOMAIN}": [f"!old{number}:{DOMAIN}"]}
    if canonical(person.copy) not in world.homeserver.shown.get(person.id, ()):
        world.forget_marks(person, document)  # the bridge cannot know it for an old copy
    world.stale_writes += 1
    _write(world, person, document)


async def client_reads(world: World, act: Act) -> None:
    """A client takes a copy, that it may use much later."""
    person, _ = act.who(world)
    person.copy = dict(world.homeserver.documents[person.id])


async def user_unmarks(world: World, act: Act) -> None:
    """The user decides that a room is no direct chat."""
    person, contact = act.who(world)
    ghost = world.ghost(contact)
    document = dict(world.homeserver.documents[person.id])
    if ghost in document:
        del document[ghost]
        world.unmarked.add((person.id, ghost))
        _write(world, person, document)


DOINGS: dict[str, Doing] = {
    doing.__name__: doing
    for doing in (
        contact_writes,
        writes_elsewhere,
        user_writes,
        user_begins,
        user_leaves,
        user_kicks,
        user_upgrades,
        friend_visits,
        client_adds,
        client_writes_old,
        client_reads,
        user_unmarks,
    )
}
