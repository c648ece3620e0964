"""Acting for real users: with the token of the second registration, or with one that they gave.

The rule that must never break: the second registration's token acts only for users whom
``may_act_for`` allows, which are those with a login here, or in the middle of one; a user's token
acts for that user alone. Nothing else sends with either.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

import aiohttp
from mautrix.api import Path, PathBuilder

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, RoomId, UserId, server_name
from dm_bridge.matrix.homeserver import ATTEMPT_DEADLINE, TOTAL_DEADLINE, Homeserver, Json
from dm_bridge.matrix.signals import mark_read, reads_of
from dm_bridge.texts import phrase

DIRECT = "m.direct"
PATIENCE_ELSEWHERE = (
    30.0  # seconds for a request to a homeserver that is not ours, retries included
)
_MAX_ID = 255


class Access(enum.Enum):
    """How the bridge acts for a user: by the second registration, by a token they gave, or not at all."""

    MASQUERADE = "masquerade"
    TOKEN = "token"  # noqa: S105 (a way of access, no secret)
    NONE = "none"


class NoAccess(HomeserverError):
    """The bridge may not, or cannot, act for this user."""

    def __init__(self, user: UserId) -> None:
        super().__init__(phrase("homeserver-no-access", account=user))


class TokenHomeserver(Homeserver):
    """A homeserver as one user reaches it, with their own token.

    ``refused``: called with this object whenever the homeserver says that it does not know the token
    (``401 M_UNKNOWN_TOKEN``).
    """

    def __init__(
        self,
        owner: UserId,
        url: str,
        token: str,
        session: aiohttp.ClientSession,
        refused: Callable[[TokenHomeserver], None],
        refusal: Callable[[], str | None] = lambda: None,
    ) -> None:
        super().__init__(url, token, session, refusal=refusal)
        self.owner = owner
        self._refused = refused

    async def request_raw(
        self,
        method: str,
        path: PathBuilder,
        *,
        user: UserId | None = None,
        data: bytes | None = None,
        query: Mapping[str, str] | None = None,
        deadline: float = TOTAL_DEADLINE,
        attempt_deadline: float = ATTEMPT_DEADLINE,
        once: bool = False,
        repeat_unsure: bool = True,
    ) -> bytes:
        """As `Homeserver.request_raw`, with less patience; always as the owner, whom ``user`` may name."""
        if user not in (None, self.owner):
            raise NoAccess(user or self.owner)
        try:
            return await super().request_raw(
                method,
                path,
                data=data,
                query=query,
                deadline=min(deadline, PATIENCE_ELSEWHERE),
                attempt_deadline=min(attempt_deadline, PATIENCE_ELSEWHERE),
                once=once,
                repeat_unsure=repeat_unsure,
            )
        except HomeserverError as error:
            if error.status == 401 and error.errcode == "M_UNKNOWN_TOKEN":
                self._refused(self)
            raise


class Accounts:
    """Real users' accounts. ``homeserver`` carries the token of the second registration.

    ``available``: whether the homeserver knows that registration.
    """

    def __init__(
        self, homeserver: Homeserver, domain: str, may_act_for: Callable[[UserId], bool]
    ) -> None:
        self._homeserver = homeserver
        self._domain = domain
        self._may_act_for = may_act_for
        self._tokens: dict[UserId, TokenHomeserver] = {}
        self.available = False

    def access(self, user: UserId) -> Access:
        """How the bridge would act for ``user`` now; the second registration comes first."""
        if self.available and server_name(user) == self._domain and self._may_act_for(user):
            return Access.MASQUERADE
        return Access.TOKEN if user in self._tokens else Access.NONE

    def can_act_for(self, user: UserId) -> bool:
        """Whether the bridge can act for ``user``, one way or the other."""
        return self.access(user) is not Access.NONE

    def use_token(self, homeserver: TokenHomeserver) -> None:
        """Act for its owner with their token, in place of an earlier one."""
        self._tokens[homeserver.owner] = homeserver

    def drop_token(self, user: UserId) -> None:
        """Use the token of ``user`` no more."""
        self._tokens.pop(user, None)

    def uses_token(self, homeserver: TokenHomeserver) -> bool:
        """Whether this very token is the one in use for its owner."""
        return self._tokens.get(homeserver.owner) is homeserver

    def _acting(self, user: UserId) -> Homeserver:
        match self.access(user):
            case Access.MASQUERADE:
                return self._homeserver
            case Access.TOKEN:
                return self._tokens[user]
            case Access.NONE:
                raise NoAccess(user)

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
        event_type: str = "m.room.message",
    ) -> EventId:
        """Send what the user did on another device. Not repeated when the outcome is unknown.

        ``timestamp`` has no effect with a user's token.
        """
        homeserver = self._acting(user)
        if homeserver is not self._homeserver:
            timestamp = None
        event = await homeserver.send(
            room,
            event_type,
            content,
            transaction,
            user=user,
            timestamp=timestamp,
            repeat_unsure=False,
        )
        if not _is_event_id(event):
            raise HomeserverError(phrase("homeserver-no-event", url=homeserver.url), certain=False)
        return event

    async def set_state(
        self, user: UserId, room: RoomId, event_type: str, key: str, content: Json
    ) -> None:
        """Set a state event in a room that the user made."""
        await self._acting(user).set_state(room, event_type, key, content, user=user)

    async def redact(
        self,
        user: UserId,
        room: RoomId,
        event: EventId,
        reason: str,
        mark: Json | None = None,
    ) -> None:
        """Redact one of the user's own events. ``mark``: as for `Homeserver.redact`."""
        await self._acting(user).redact(room, event, event[1:], reason, user=user, mark=mark)

    async def mark_read(self, user: UserId, room: RoomId, event: EventId) -> None:
        """Say that the user has read ``event``, and all before it; their clients follow."""
        await mark_read(self._acting(user), room, event, user, fully=True)

    async def reads(self, user: UserId) -> dict[RoomId, EventId]:
        """Up to where the user has read each room, and let others know. Raises `HomeserverError`.

        By the second registration only: a sync with a user's token would take the messages that wait for the
        device to which it belongs.
        """
        if self.access(user) is not Access.MASQUERADE:
            raise NoAccess(user)
        return await reads_of(self._homeserver, user)

    async def set_push_rule(self, user: UserId, name: str, rule: Json | None) -> None:
        """Set a push rule of the user's that overrides others, or take it away (Client-server API, "Push rules").

        Raises `HomeserverError`: 404 when there is none to take away.
        """
        path = Path.v3.pushrules["global"].override[name]
        method = "DELETE" if rule is None else "PUT"
        await self._acting(user).request(method, path, user=user, body=rule, deadline=20)

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


def _is_event_id(event: object) -> bool:
    """Whether it can be stored as one: homeservers that are not ours may answer with anything."""
    return (
        isinstance(event, str)
        and event.startswith("$")
        and len(event) <= _MAX_ID
        and event.isascii()
        and event.isprintable()
    )
