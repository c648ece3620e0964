"""Which room took over from which, when rooms are upgraded (client-server API, "Room upgrades").

The rule that must never break: a tombstone alone proves nothing. The new room must name the old one
as its predecessor, too; otherwise whoever may write a tombstone could lead a chat anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from dm_bridge.direct.document import is_room_id
from dm_bridge.direct.facts import Membership, RoomFacts
from dm_bridge.ids import RoomId

_LONGEST_CHAIN = 100
"""Upgrades followed in a row."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """Where a chat went. ``proven``: every tombstone on the way could be seen."""

    room: RoomId
    facts: RoomFacts
    proven: bool


class Upgrades:
    """The upgrades among some rooms."""

    def __init__(self, rooms: Mapping[RoomId, RoomFacts]) -> None:
        self._rooms = rooms
        claims = [
            (facts.predecessor, room)
            for room, facts in rooms.items()
            if facts.predecessor and facts.membership is Membership.JOIN
        ]
        times = Counter(old for old, _ in claims)
        self._claimed = {old: new for old, new in claims if times[old] == 1}

    def outcome(self, room: RoomId) -> Upgraded | None:
        """The last room, after one or more upgrades of ``room``, that the account has joined.

        A room that the account is no longer in may hide its tombstone; then one joined room that
        claims to replace it will do, unproven.
        """
        found: Upgraded | None = None
        proven = True
        seen = {room}
        while len(seen) < _LONGEST_CHAIN:
            facts = self._rooms.get(room)
            following = facts.successor if facts is not None else ""
            if not following and facts is not None and facts.membership.gone:
                following = self._claimed.get(room, "")
                proven = False
            after = self._rooms.get(RoomId(following))
            if not is_room_id(following) or following in seen or after is None:
                break
            if after.predecessor != room:
                break
            room = following
            seen.add(room)
            if after.membership is Membership.JOIN and not after.space:
                found = Upgraded(room, after, proven)
        return found
