"""Who is who on the null servers: names made of numbers, the same in every process.

Portal number ``n`` belongs to login ``n % logins``.
"""

from __future__ import annotations

from dataclasses import dataclass

from dm_bridge.ids import ContactId, GhostNamespace, LoginId, NetworkName, RoomId, UserId

DOMAIN = "null.localhost"
NETWORK = NetworkName("null")
_GHOSTS = GhostNamespace("_dm_", DOMAIN)


@dataclass(frozen=True, slots=True)
class Shape:
    """How many portals and logins there are from the start."""

    portals: int
    logins: int

    def login_of(self, portal: int) -> int:
        """The number of the login that has a portal."""
        return portal % self.logins

    def portals_of(self, login: int) -> range:
        """The numbers of the portals of a login."""
        return range(login, self.portals, self.logins)


def login_id(login: int) -> LoginId:
    """What the bridge calls a login."""
    return LoginId(f"login{login}")


def owner(login: int) -> UserId:
    """Whose login it is."""
    return UserId(f"@user{login}:{DOMAIN}")


def contact(portal: int) -> ContactId:
    """With whom a portal is; also its chat's id."""
    return ContactId(f"contact{portal}")


def room(portal: int) -> RoomId:
    """The room of a portal."""
    return RoomId(f"!room{portal}:{DOMAIN}")


def ghost(portal: int) -> UserId:
    """The ghost of a portal's contact."""
    return _GHOSTS.user_id(NETWORK, contact(portal))


def number_in(name: str) -> int:
    """The number in a name of ours: of a room, a user, a contact, a login."""
    local = name.partition(":")[0].rpartition("_")[2]
    return int("".join(character for character in local if character.isdigit()))
