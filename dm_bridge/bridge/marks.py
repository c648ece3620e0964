"""Which rooms of portals are managed, for the user and for the ghost.

The rule that must never break: a room is to be marked as direct, in both accounts, exactly while it is
the open room of a chat of two whose user has not logged out. What was decided about it by the user
is not ours to change, and is not changed here.
"""

from __future__ import annotations

from collections.abc import Collection

from dm_bridge.bridge.keeper import Keeper
from dm_bridge.direct.ledger import DMState
from dm_bridge.ids import RoomId, UserId
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.logins import LoginRow, LoginState
from dm_bridge.store.portals import Membership, PortalRow

DECIDED_WITHIN = 3.0  # how long a change of a room waits for a look at its user's m.direct


def marked_as(login: LoginState, membership: Membership, *, crowded: bool) -> DMState:
    """How the room of a portal should stand in its user's m.direct."""
    if login is LoginState.LOGGED_OUT or crowded:
        return DMState.RETIRED
    return DMState.ACTIVE if membership is Membership.JOIN else DMState.PENDING


class Marks:
    """Keeps ledgers in step with portals. ``ghosts_too``: keep the ghosts' own m.direct as well."""

    def __init__(self, keeper: Keeper, direct: DirectStore, *, ghosts_too: bool) -> None:
        self._keeper = keeper
        self._direct = direct
        self._ghosts_too = ghosts_too

    async def mark(self, row: PortalRow, login: LoginRow) -> None:
        """Bring the ledgers of the user and of the ghost in step with the portal as it is in ``row``."""
        assert row.room is not None
        state = marked_as(login.state, row.membership, crowded=row.crowded)
        if state is DMState.RETIRED:
            await self.retire(row.room)
            return
        await self._direct.manage(login.owner, row.room, row.ghost, state)
        if state is DMState.ACTIVE:
            self._keeper.touch(login.owner)
        if self._ghosts_too:
            await self._direct.manage(row.ghost, row.room, login.owner, DMState.ACTIVE)
            self._keeper.touch(row.ghost)

    async def user_joined(self, row: PortalRow, login: LoginRow) -> None:
        """The user is in the room: it is marked for them, too. The ghost's side is as it was."""
        assert row.room is not None
        if marked_as(login.state, Membership.JOIN, crowded=row.crowded) is DMState.ACTIVE:
            await self._direct.manage(login.owner, row.room, row.ghost, DMState.ACTIVE)
            self._keeper.touch(login.owner)

    async def retire(self, room: RoomId) -> None:
        """The room is no direct chat of ours any more: our marks go, from every account."""
        self.touch(await self._direct.set_state(room, DMState.RETIRED))

    def touch(self, accounts: Collection[UserId]) -> None:
        """The ledgers of these accounts have changed."""
        for account in accounts:
            self._keeper.touch(account)

    async def decided(self, user: UserId) -> None:
        """Take note of what the user decided about their chats so far, before the ledger changes.

        A mark that they removed a moment ago is their decision about the room as it was until now.
        """
        self._keeper.touch(user)
        await self._keeper.settled(user, within=DECIDED_WITHIN)
