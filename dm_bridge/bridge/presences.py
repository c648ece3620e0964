"""Whether contacts are there, shown in Matrix as the presence of their ghosts, where that is switched on.

A homeserver takes a user who says nothing for half a minute for gone, so what is shown is said again and again.
That is dear; only contacts whose chat the user is in are shown.

The rule that must never break: of a ghost there is one request at a time, and at most `MAX_SHOWN` are shown.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import structlog

from dm_bridge.errors import BridgeError
from dm_bridge.ids import LoginId, PortalKey, UserId
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.signals import set_presence
from dm_bridge.network.signals import Availability, RemotePresence
from dm_bridge.store.portals import Membership, PortalStore

log = structlog.get_logger(__name__)

AGAIN = 20.0
"""Seconds until what is shown is said again; Synapse forgets it after 30."""
MAX_SHOWN = 500
MAX_UNSEEN = 5000
"""Of how many contacts that nobody sees yet it is remembered whether they are there."""
AT_ONCE = 4
_ORDER = (Availability.OFFLINE, Availability.AWAY, Availability.ONLINE)

_Said = tuple[Availability, str]


class Presences:
    """``enabled``: whether it is switched on; else nothing is kept. `run` must run.

    ``connected``: whether the session of a login is; of who is there, only such a one knows.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        portals: PortalStore,
        connected: Callable[[LoginId], bool],
        *,
        enabled: bool,
    ) -> None:
        self._connected = connected
        self._homeserver = homeserver
        self._portals = portals
        self._enabled = enabled
        self._news: dict[PortalKey, RemotePresence] = {}
        self._unseen: OrderedDict[PortalKey, RemotePresence] = OrderedDict()
        self._said: dict[UserId, dict[LoginId, _Said]] = {}
        self._shown: dict[UserId, _Said] = {}
        self._changed = asyncio.Event()

    def note(self, login: LoginId, presence: RemotePresence) -> None:
        """A session says whether a contact is there."""
        key = PortalKey(login, presence.chat)
        if self._enabled and (key in self._news or len(self._news) < MAX_SHOWN):
            self._news[key] = presence
            self._changed.set()

    def seen(self, key: PortalKey) -> None:
        """The user is in this chat now; if it was said before that the contact is there, it counts now."""
        presence = self._unseen.pop(key, None)
        if presence is not None:
            self.note(key.login, presence)

    async def run(self) -> None:
        """Until cancelled, show it."""
        if not self._enabled:
            return
        while True:
            again = False
            try:
                async with asyncio.timeout(AGAIN):
                    await self._changed.wait()
            except TimeoutError:
                again = True
            self._changed.clear()
            try:
                await self._learn()
                await self._show(again=again)
            except BridgeError as error:
                log.info("it cannot be shown who is there", reason=str(error))
            except Exception:
                log.exception("it cannot be shown who is there for a reason of our own")

    async def _learn(self) -> None:
        """From chats to ghosts."""
        news, self._news = self._news, {}
        for key, presence in news.items():
            portal = await self._portals.get(key)
            self._unseen.pop(key, None)
            if portal is None or portal.membership is not Membership.JOIN:
                self._remember(key, presence)
                continue
            if portal.ghost in self._said or len(self._said) < MAX_SHOWN:
                said = self._said.setdefault(portal.ghost, {})
                said[key.login] = presence.availability, presence.text

    def _remember(self, key: PortalKey, presence: RemotePresence) -> None:
        if key not in self._news and presence.availability is not Availability.OFFLINE:
            self._unseen[key] = presence
            if len(self._unseen) > MAX_UNSEEN:
                self._unseen.popitem(last=False)

    async def _show(self, *, again: bool) -> None:
        slots = asyncio.Semaphore(AT_ONCE)
        offline = Availability.OFFLINE, ""

        async def show(ghost: UserId, now: _Said) -> None:
            async with slots:
                await set_presence(self._homeserver, ghost, now[0].value, now[1])
            self._shown[ghost] = now

        wanted = {
            ghost: max(
                (each for login, each in said.items() if self._connected(login)),
                key=lambda each: _ORDER.index(each[0]),
                default=offline,
            )
            for ghost, said in self._said.items()
        }
        due = {
            ghost: now
            for ghost, now in wanted.items()
            if self._shown.get(ghost, offline) != now or (again and now != offline)
        }
        results = await asyncio.gather(
            *(show(ghost, now) for ghost, now in due.items()), return_exceptions=True
        )
        for ghost, now in wanted.items():
            said = self._said[ghost].values()
            if now == self._shown.get(ghost, offline) == offline and set(said) <= {offline}:
                del self._said[ghost]
                self._shown.pop(ghost, None)
        for failed in results:
            if isinstance(failed, BaseException):
                raise failed
