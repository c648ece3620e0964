"""What a login's space needs next: pure functions of what is recorded of it, and of what its room says.

    on, no room --create--> on, a room --tend: invite, join, children--> on, a room
    on, creating --recover--> on, a room                 (a crash while creating)
    on, a room --the bot is gone, or a tombstone--> on, no room
    on, a room --the user leaves--> left --`space on`--> on, the same room
    off, a room --close--> off, no room

The rule that must never break: total. Whatever stands in the state of the room, written by whomever, gives an
answer; and who has left by themselves is not invited again.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from dm_bridge.direct.document import is_room_id
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.rooms import TOMBSTONE
from dm_bridge.matrix.spaces import CHILD
from dm_bridge.store.spaces import SpaceMode, SpaceRow


class Step(enum.Enum):
    """What a space needs next."""

    NOTHING = "nothing"
    CREATE = "create"
    RECOVER = "recover"
    TEND = "tend"
    CLOSE = "close"


def next_step(row: SpaceRow, *, logged_in: bool = True) -> Step:
    """The step that brings a space closer to what its user wants.

    ``logged_in``: whether the user has not logged out. After that a space stays, but none is made.
    """
    match row.mode:
        case SpaceMode.ON if row.room is not None:
            return Step.TEND
        case SpaceMode.ON if not logged_in:
            return Step.NOTHING
        case SpaceMode.ON:
            return Step.RECOVER if row.creating else Step.CREATE
        case SpaceMode.OFF:
            return Step.CLOSE if row.creating or row.room is not None else Step.NOTHING
        case SpaceMode.LEFT:
            return Step.NOTHING
        case _:
            assert_never(row.mode)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the state of a space says. ``usable``: the bot is in it, and nothing has replaced it.

    ``membership``: of its user, "" when they never were there. ``children``: the rooms that the bot has put in.
    """

    usable: bool
    membership: str
    children: frozenset[RoomId]


def sight(state: Iterable[Any], bot: UserId, user: UserId) -> Sight:
    """Read the state events of a space."""
    memberships: dict[str, str] = {}
    children: set[RoomId] = set()
    replaced = False
    for event in state:
        if not isinstance(event, dict):
            continue
        content, key = event.get("content"), event.get("state_key")
        if not isinstance(content, dict) or not isinstance(key, str):
            continue
        match event.get("type"):
            case "m.room.member":
                membership = content.get("membership")
                memberships[key] = membership if isinstance(membership, str) else ""
            case kind if kind == TOMBSTONE and key == "":
                replaced = True
            case kind if kind == CHILD and event.get("sender") == bot and content.get("via"):
                if is_room_id(key):
                    children.add(RoomId(key))
    usable = memberships.get(bot) == "join" and not replaced
    return Sight(usable, memberships.get(user, ""), frozenset(children))


class Guest(enum.Enum):
    """What is to be done about the user of a space. ``STAY``: nothing. ``LEFT``: take it as their decision."""

    INVITE = "invite"
    JOIN = "join"
    STAY = "stay"
    LEFT = "left"


def guest(membership: str, *, invited: bool, can_join: bool) -> Guest:
    """``invited``: as recorded. ``can_join``: whether the bridge may accept invites for the user."""
    match membership:
        case "join":
            return Guest.STAY
        case "invite":
            return Guest.JOIN if can_join else Guest.STAY
        case "leave" | "ban" if invited:
            return Guest.LEFT
        case _:
            return Guest.INVITE


@dataclass(frozen=True, slots=True)
class Changes:
    """Which rooms are to be put into a space, and which taken out; in the order of their ids."""

    add: Sequence[RoomId]
    remove: Sequence[RoomId]


def changes(chats: Collection[RoomId], children: Collection[RoomId]) -> Changes:
    """What makes ``chats`` the children that the bot has put into a space."""
    wanted, there = set(chats), set(children)
    return Changes(sorted(wanted - there), sorted(there - wanted))
