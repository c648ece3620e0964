"""What is known about one room of an account, for judging whether it is rightly marked as direct.

The rule that must never break: what was not learned is not guessed. A room without facts, a member
without an entry and `Membership.UNKNOWN` all mean "nobody said"; nothing may be concluded from them.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dm_bridge.ids import UserId


class Membership(enum.Enum):
    """A user's place in a room.

    ``NONE``: the homeserver says that there is none: never a member, forgotten, or no such room.
    ``UNKNOWN``: no answer, or none that settles it.
    """

    JOIN = "join"
    INVITE = "invite"
    KNOCK = "knock"
    LEAVE = "leave"
    BAN = "ban"
    NONE = "none"
    UNKNOWN = "unknown"

    @property
    def present(self) -> bool:
        """In the room, or asked into it."""
        return self in (Membership.JOIN, Membership.INVITE, Membership.KNOCK)

    @property
    def gone(self) -> bool:
        """Surely not in the room."""
        return self in (Membership.LEAVE, Membership.BAN, Membership.NONE)


class Standing(enum.Enum):
    """How a user who is given as somebody's contact stands in the room of that chat."""

    FITS = "fits"
    OWN = "own"
    HELPER = "helper"
    DEPARTED = "departed"
    NEVER = "never"
    UNSETTLED = "unsettled"


@dataclass(frozen=True, slots=True)
class RoomFacts:
    """One room, as the account sees it.

    ``membership``: the account's own; ``by``: who sent it (the kicker, the inviter), or empty.
    ``title``: a name to show to a person, or empty; ``named``: the room has a name or alias of its own.
    ``room_type``: ``m.space`` for spaces, usually empty. ``successor``, ``predecessor``: room ids
    from tombstone and create event, or empty. ``members``: whoever is known, the account included;
    ``complete``: nobody who is present is missing there; ``counted``: how many the homeserver says
    are present, 0 when it does not. ``bots``: bridge bots that ``m.bridge``
    names, ``bridge_creators``: whom it names as creator. ``functional``: service members
    (``io.element.functional_members``). ``direct``: the invite was direct, None: not known;
    ``invited_by_us``: that invite was the account's own.
    """

    membership: Membership
    by: str = ""
    title: str = ""
    named: bool = False
    public: bool = False
    room_type: str = ""
    creator: str = ""
    successor: str = ""
    predecessor: str = ""
    members: Mapping[str, Membership] = field(default_factory=lambda: MappingProxyType({}))
    complete: bool = False
    counted: int = 0
    bridged: bool = False
    bots: frozenset[str] = frozenset()
    bridge_creators: frozenset[str] = frozenset()
    functional: frozenset[str] = frozenset()
    direct: bool | None = None
    invited_by_us: bool = False

    @property
    def space(self) -> bool:
        return self.room_type == "m.space"

    @property
    def helpers(self) -> frozenset[str]:
        """Members that are no persons: bridge bots and service members."""
        return self.bots | self.functional

    def persons(self, account: UserId) -> list[str]:
        """Who else is present that counts as a person; all of them only when ``complete``."""
        return [
            member
            for member, membership in self.members.items()
            if membership.present and member != account and member not in self.helpers
        ]

    def partner(self, account: UserId) -> UserId | None:
        """The one other person, where there is exactly one and that is certain."""
        persons = self.persons(account)
        if not self.complete:
            return None
        if len(persons) > 1 and self.bridged:
            persons = [person for person in persons if person in self.bridge_creators]
        return UserId(persons[0]) if len(persons) == 1 else None

    def standing(self, user: str, account: UserId) -> Standing:
        """How ``user`` stands in this room.

        A bot is a helper only while somebody else is the one to talk to: with nobody else there, the
        chat is with the bot.
        """
        if user == account:
            return Standing.OWN
        if user in self.helpers and (self.persons(account) or not self.complete):
            return Standing.HELPER
        membership = self.members.get(user, Membership.NONE if self.complete else None)
        match membership:
            case None | Membership.UNKNOWN:
                return Standing.UNSETTLED
            case Membership.NONE:
                return Standing.NEVER
            case Membership.LEAVE | Membership.BAN:
                return Standing.DEPARTED
            case _:
                return Standing.FITS
