"""Power in rooms, as their state says it: who may write, and how one user takes another's place.

The rule that must never break: total. Whatever stands in a room's state, written by whomever, gives
an answer.
"""

from __future__ import annotations

from dm_bridge.ids import UserId
from dm_bridge.matrix.homeserver import Json

ADMIN = 100
_ORDINARY_CREATORS = frozenset(map(str, range(1, 12))) | {""}
"""Room versions in which creators have the power that the power levels give them, and no more."""


def creators(create: Json) -> frozenset[str]:
    """Who outranks the power levels: the creators, from room version 12 on. ``create``: the event."""
    content = create.get("content")
    content = content if isinstance(content, dict) else {}
    if str(content.get("room_version", "")) in _ORDINARY_CREATORS:
        return frozenset()
    more = content.get("additional_creators")
    more = more if isinstance(more, list) else []
    return frozenset(user for user in (create.get("sender"), *more) if isinstance(user, str))


def may_write(levels: Json, create: Json, user: UserId) -> bool:
    """Whether ``user`` has the power to send messages. ``levels``: content of the power levels."""
    if user in creators(create):
        return True
    users, events = levels.get("users"), levels.get("events")
    needed = _level(events, "m.room.message", _level(levels, "events_default", 0))
    return _level(users, user, _level(levels, "users_default", 0)) >= needed


def with_power_of(levels: Json, create: Json, old: UserId, new: UserId) -> Json | None:
    """Power levels in which ``new`` may do what ``old`` may; None when that is so already.

    Creators cannot be made; who takes the place of one becomes an admin.
    """
    known = levels.get("users")
    users = known if isinstance(known, dict) else {}
    default = _level(levels, "users_default", 0)
    had = ADMIN if old in creators(create) else _level(users, old, default)
    if new in creators(create) or _level(users, new, default) >= had:
        return None
    return {**levels, "users": {**users, new: had}}


def _level(levels: object, key: str, otherwise: int) -> int:
    value = levels.get(key) if isinstance(levels, dict) else None
    return value if isinstance(value, int) else otherwise
