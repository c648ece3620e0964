"""Which room may take the place of another one. Pure: state events in, a verdict out.

The rule that must never break: nobody but the user moves their chat. A portal follows a tombstone
only when `judge` finds all of this in the state of both rooms, as the homeserver gives it to the
ghost, whatever came first and by whichever way we heard of it:

* The tombstone in the old room was sent by the user of the chat (or by the bridge's own users): a
  third person who was given power there could otherwise move the user's words into a room of theirs.
* The new room was created by that same sender. The ``sender`` of ``m.room.create`` is signed by
  the sender's server; the ``creator`` in its content is gone since room version 11 and proves nothing.
* It names the old room as its predecessor, so that it was made for this. The predecessor's
  ``event_id`` is gone since room version 12 and was never sure to be the tombstone: it is not looked at.
"""

from __future__ import annotations

import enum
from collections.abc import Collection

from dm_bridge.direct.document import is_room_id
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.homeserver import Json


class Verdict(enum.Enum):
    """Whether a room may take another one's place; if not, why not (see the message ``chat-stays``)."""

    FOLLOW = "follow"
    NO_TOMBSTONE = "no-tombstone"
    NOT_BY_THE_USER = "not-by-the-user"
    NOT_CREATED_BY_THEM = "not-created-by-them"
    OTHER_PREDECESSOR = "other-predecessor"


def judge(
    tombstone: Json | None,
    create: Json | None,
    *,
    old: RoomId,
    new: RoomId,
    trusted: Collection[UserId],
) -> Verdict:
    """Whether a portal may move from ``old`` to ``new``. Total over any JSON.

    ``tombstone``: the event in ``old``; ``create``: the ``m.room.create`` event of ``new``; None: not there.
    """
    if tombstone is None or replacement_in(tombstone) != new or new == old:
        return Verdict.NO_TOMBSTONE
    if tombstone.get("sender") not in trusted:
        return Verdict.NOT_BY_THE_USER
    if create is None or create.get("sender") != tombstone["sender"]:
        return Verdict.NOT_CREATED_BY_THEM
    if predecessor_in(create) != old:
        return Verdict.OTHER_PREDECESSOR
    return Verdict.FOLLOW


def replacement_in(tombstone: Json) -> RoomId | None:
    """The room that a tombstone names, or None."""
    content = tombstone.get("content")
    room = content.get("replacement_room") if isinstance(content, dict) else None
    return room if is_room_id(room) else None


def predecessor_in(create: Json) -> RoomId | None:
    """The room that an ``m.room.create`` event names as its predecessor, or None."""
    content = create.get("content")
    predecessor = content.get("predecessor") if isinstance(content, dict) else None
    room = predecessor.get("room_id") if isinstance(predecessor, dict) else None
    return room if is_room_id(room) else None
