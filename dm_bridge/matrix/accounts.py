"""Acting for real users, with the token of the second registration.

The rule that must never break: the token acts only for users whom ``may_act_for`` allows, which are
those with a login here, or in the middle of one. Nothing else holds the token.
"""

from __future__ import annotations

from collections.abc import Callable

from mautrix.api import Path, PathBuilder

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, RoomId, UserId, server_name
from dm_bridge.matrix.homeserver import Homeserver, Json

DIRECT = "m.direct"


class NoAccess(HomeserverError):
    """The bridge may not, or cannot, act for this user."""

    def __init__(self, user: UserId) -> None:
        super().__init__(f"The bridge has no access to the account {user}.")


class Accounts:
    """Real users' accounts. ``homeserver`` carries the token of the second registration."""

    def __init__(
        self, homeserver: Homeserver, domain: str, may_act_for: Callable[[UserId], bool]
    ) -> None:
        self._homeserver = homeserver
        self._domain = domain
        self._may_act_for = may_act_for
        self.available = False

    def can_act_for(self, user: UserId) -> bool:
        """Whether the bridge can act for ``user``: local, allowed, and the registration works."""
        return self.available and server_name(user) == self._domain and self._may_act_for(user)

    def _acting(self, user: UserId) -> Homeserver:
        if not self.can_act_for(user):
            raise NoAccess(user)
        return self._homeserver

    async def join(self, user: UserId, room: RoomId) -> None:
        """Accept an invite for the user."""
        await self._acting(user).join(room, user=user)

    async def send(
        self,
        user: UserId,
        room: RoomId,
        content: Json,
        transaction: str,
        timestamp: float | None = None,
    ) -> EventId:
        """Send what the user wrote on another device."""
        return await self._acting(user).send(
            room, "m.room.message", content, transaction, user=user, timestamp=timestamp
        )

    async def set_state(
        self, user: UserId, room: RoomId, event_type: str, key: str, content: Json
    ) -> None:
        """Set a state event in a room that the user made."""
        await self._acting(user).set_state(room, event_type, key, content, user=user)

    async def redact(self, user: UserId, room: RoomId, event: EventId, reason: str) -> None:
        """Redact one of the user's own events."""
        await self._acting(user).redact(room, event, event[1:], reason, user=user)

    async def direct(self, user: UserId) -> bytes | None:
        """The user's m.direct content as it came, or None when it was never set."""
        return await get_direct(self._acting(user), user)

    async def put_direct(self, user: UserId, content: str) -> None:
        """Replace the user's m.direct content with this JSON text."""
        await put_direct(self._acting(user), user, content)


async def get_direct(homeserver: Homeserver, user: UserId) -> bytes | None:
    """An account's m.direct content, fresh; None only for a real ``404 M_NOT_FOUND``."""
    try:
        return await homeserver.request_raw("GET", _direct_path(user), user=user, deadline=20)
    except HomeserverError as error:
        if error.status == 404 and error.errcode == "M_NOT_FOUND":
            return None
        raise


async def put_direct(homeserver: Homeserver, user: UserId, content: str) -> None:
    """Replace an account's m.direct content with this JSON text.

    Tried once: before another try, what stands there has to be read again.
    """
    await homeserver.request_raw(
        "PUT", _direct_path(user), user=user, data=content.encode(), deadline=20, once=True
    )


def _direct_path(user: UserId) -> PathBuilder:
    return Path.v3.user[user].account_data[DIRECT]
