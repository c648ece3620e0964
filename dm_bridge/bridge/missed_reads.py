"""What a user has read while nobody heard of it: the bridge was not there, or took nothing in.

A homeserver pushes receipts to who is there, once, and keeps none for later. So what an account has read is
looked up when one of its logins is connected, once more when the homeserver must have noticed that the bridge is
back, and after transactions were refused; and what differs from what the network was told last, is told.

The rule that must never break: only accounts are looked at for which the bridge may act by the second
registration, one at a time; and nothing that is found replaces what was pushed meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.turns import DELAY, Turns
from dm_bridge.ids import EventId, LoginId
from dm_bridge.matrix.accounts import Access, Accounts
from dm_bridge.network.abilities import Reads
from dm_bridge.network.api import capabilities_of
from dm_bridge.store.portals import Membership, PortalRow, PortalStore

log = structlog.get_logger(__name__)

AGAIN = 60.0
"""Seconds after which an account is looked at once more: Synapse pushes receipts only after what it owes."""
PAUSE = 1.0
"""Seconds between two accounts."""


class MissedReads:
    """``tell``: as `Attention.missed`. `run` must run."""

    def __init__(
        self,
        accounts: Accounts,
        portals: PortalStore,
        logins: Logins,
        tell: Callable[[PortalRow, EventId], None],
    ) -> None:
        self._accounts = accounts
        self._portals = portals
        self._logins = logins
        self._tell = tell
        self._turns = Turns(self._look, delay=DELAY, pause=PAUSE)
        self._met: set[LoginId] = set()

    def connected(self, login: LoginId) -> None:
        """A login is connected. Only the first time, the bridge may have been away before."""
        if login not in self._met:
            self._met.add(login)
            self._turns.note(login)
            asyncio.get_running_loop().call_later(AGAIN, self._turns.note, login)

    def look_again(self) -> None:
        """Something that was pushed has not been taken in."""
        for login in self._met:
            self._turns.note(login)

    async def run(self) -> None:
        """Until cancelled, look at one account after the other."""
        await self._turns.run()

    async def _look(self, login: LoginId) -> bool:
        owner, session = self._logins.owner(login), self._logins.session(login)
        if owner is None or session is None:
            self._met.discard(login)
            return False
        tells = capabilities_of(session).reads and isinstance(session, Reads)
        if not tells or self._accounts.access(owner) is not Access.MASQUERADE:
            return False
        chats = [
            portal
            for portal in await self._portals.of_login(login)
            if portal.membership is Membership.JOIN
        ]
        reads = await self._accounts.reads(owner) if chats else {}
        for portal in chats:
            event = None if portal.room is None else reads.get(portal.room)
            if event is None or event == portal.read_event:
                continue
            if portal.read_event == "":
                await self._portals.set_read(portal.key, event)  # it may have been told long ago
            else:
                log.info("what was read meanwhile is told now", room=portal.room)
                self._tell(portal, event)
        return False
