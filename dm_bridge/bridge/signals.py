"""What is gone a moment later, both ways: typing, what has been read, who is there.

The rule that must never break: no message waits for any of this, and a flood of it fills nothing: what is too much
is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from dm_bridge.bridge.attention import Attention
from dm_bridge.bridge.limits import Limits
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.missed_reads import MissedReads
from dm_bridge.bridge.portal import OpenPortal
from dm_bridge.bridge.presences import Presences
from dm_bridge.bridge.receipts import Receipts
from dm_bridge.bridge.typing_notices import TypingNotices
from dm_bridge.errors import BridgeError
from dm_bridge.ids import LoginId, PortalKey, RoomId, UserId
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.ephemeral import Ephemeral, PresenceOf, ReadBy, TypingIn
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.network.events import SessionStatus
from dm_bridge.network.signals import RemoteLimit, RemotePresence, RemoteTyping, Signal
from dm_bridge.store.portals import PortalStore
from dm_bridge.store.references import ReferenceStore

log = structlog.get_logger(__name__)

MAX_PUSHED = 1000
"""Pushed signals that may wait until it is known whom they concern."""
AT_ONCE = 100

Route = Callable[[Sequence[Ephemeral]], Awaitable[None]]


class Signals:
    """``is_ours``: whether a user is the bot or a ghost. `run` must run for what the homeserver pushes.

    ``contacts``, ``users``: whether it is shown to the other side that they are there.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        portals: PortalStore,
        references: ReferenceStore,
        logins: Logins,
        is_ours: Callable[[UserId], bool],
        *,
        contacts: bool = False,
        users: bool = False,
    ) -> None:
        self._users = users
        self.presences = Presences(
            homeserver,
            portals,
            lambda login: logins.state(login).status is SessionStatus.CONNECTED,
            enabled=contacts,
        )
        self.receipts = Receipts(homeserver, accounts)
        self.typing = TypingNotices(homeserver, portals)
        self._limits = Limits(homeserver, portals)
        self.attention = Attention(homeserver, portals, references, logins)
        self.missed_reads = MissedReads(accounts, portals, logins, self.attention.missed)
        self._is_ours = is_ours
        self._pushed: asyncio.Queue[Ephemeral] = asyncio.Queue(MAX_PUSHED)
        self._typed: set[RoomId] = set()

    def connected(self, login: LoginId) -> None:
        """The network of a login can be told again."""
        self.attention.connected(login)
        self.missed_reads.connected(login)

    def from_network(self, login: LoginId, signal: Signal) -> None:
        """A session says something."""
        match signal:
            case RemoteTyping(chat, _, typing):
                self.typing.note(PortalKey(login, chat), typing)
            case RemotePresence():
                self.presences.note(login, signal)
            case RemoteLimit(chat):
                self._limits.note(PortalKey(login, chat), signal)

    def shown(self, portal: OpenPortal) -> None:
        """Something that the contact wrote is in the room."""
        self.typing.note(portal.key, typing=False)
        self.presences.seen(portal.key)

    def pushed(self, signals: Sequence[Ephemeral]) -> None:
        """The homeserver says what users do; what only ghosts do is passed over. Returns at once."""
        for signal in signals:
            if self._concerns_users(signal) and not self._pushed.full():
                self._pushed.put_nowait(signal)

    async def run(self, route: Route) -> None:
        """Until cancelled, give what was pushed to ``route``, which knows who has the users."""
        await asyncio.gather(self.presences.run(), self.missed_reads.run(), self._route(route))

    async def _route(self, route: Route) -> None:
        while True:
            some = [await self._pushed.get()]
            while not self._pushed.empty() and len(some) < AT_ONCE:
                some.append(self._pushed.get_nowait())
            try:
                await route(some)
            except BridgeError as error:
                log.info("what users do besides writing is not passed on", reason=str(error))
                self.missed_reads.look_again()
            except Exception:
                log.exception("what users do besides writing is not passed on")

    async def stop(self) -> None:
        """Give up what is under way."""
        parts = (self.receipts, self.typing, self.attention, self._limits)
        await asyncio.gather(*(part.stop() for part in parts))

    def _concerns_users(self, signal: Ephemeral) -> bool:
        match signal:
            case ReadBy(_, user, _):
                return not self._is_ours(user)
            case PresenceOf(user):
                return self._users and not self._is_ours(user)
            case TypingIn(room, users):
                typed, types = room in self._typed, not all(map(self._is_ours, users))
                if types and len(self._typed) < MAX_PUSHED:
                    self._typed.add(room)
                elif not types:
                    self._typed.discard(room)
                return types or typed
