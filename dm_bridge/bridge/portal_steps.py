"""What a portal needs next, by what is recorded of it: a pure function.

    RESERVED --create--> OPEN(invite) --join--> OPEN(join)
    CREATING --recover--> OPEN(invite), or create        (a crash while creating)
    OPEN(leave) --invite again--> OPEN(invite)           (the user had left)
    OPEN(replaced) --follow--> OPEN in the new room, or create    (the user upgraded it)

The rule that must never break: no step asks for a second room while the first may exist.
"""

from __future__ import annotations

import enum
from typing import assert_never

from dm_bridge.store.portals import Membership, PortalState


class Step(enum.Enum):
    """What a portal needs next. ``READY``: nothing."""

    CREATE = "create"
    RECOVER = "recover"
    INVITE = "invite"
    JOIN = "join"
    FOLLOW = "follow"
    READY = "ready"


def next_step(
    state: PortalState, membership: Membership, *, can_join: bool, replaced: bool = False
) -> Step:
    """The step that brings a message closer to its reader.

    ``can_join``: whether the bridge may accept invites for the user (auto-join, with access).
    ``replaced``: whether the user has upgraded the room, and the ghost is not in the new one yet.
    """
    match state:
        case PortalState.RESERVED:
            return Step.CREATE
        case PortalState.CREATING:
            return Step.RECOVER
        case PortalState.OPEN if replaced:
            return Step.FOLLOW
        case PortalState.OPEN:
            match membership:
                case Membership.LEAVE | Membership.NONE:
                    return Step.INVITE
                case Membership.INVITE:
                    return Step.JOIN if can_join else Step.READY
                case Membership.JOIN:
                    return Step.READY
                case _:
                    assert_never(membership)
        case _:
            assert_never(state)
