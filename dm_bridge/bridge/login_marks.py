"""What logging in and out means for the chats that are there: marked while logged in, not after.

The rule that must never break: the rooms stay, and so does the user's own decision about each;
logging in again finds both. Marks go while the bridge can still act for the user; what could not be
written by then is written as soon as it can again.
"""

from __future__ import annotations

from collections.abc import Collection

from dm_bridge.bridge.keeper import Keeper
from dm_bridge.bridge.logins import LoginHooks
from dm_bridge.bridge.portal import Portals
from dm_bridge.ids import UserId
from dm_bridge.store.logins import LoginRow

WRITTEN_WITHIN = 5.0  # how long a logout waits for m.direct


class AllHooks:
    """Several `LoginHooks`, in order; when a user logs out, the other way round."""

    def __init__(self, *hooks: LoginHooks) -> None:
        self._hooks = hooks

    async def started(self, owners: Collection[UserId] | None) -> None:
        for hooks in self._hooks:
            await hooks.started(owners)

    async def logged_in(self, login: LoginRow) -> None:
        for hooks in self._hooks:
            await hooks.logged_in(login)

    async def logged_out(self, login: LoginRow) -> None:
        for hooks in reversed(self._hooks):
            await hooks.logged_out(login)


class LoginMarks:
    """The `LoginHooks` of the bridge."""

    def __init__(self, keeper: Keeper, portals: Portals) -> None:
        self._keeper = keeper
        self._portals = portals

    async def started(self, owners: Collection[UserId] | None) -> None:
        """The logins of these users, or all, are known: complete the logouts that an earlier run did not."""
        for room in await self._portals.store.managed_without_login(owners):
            await self._portals.life.marks.retire(room)

    async def logged_in(self, login: LoginRow) -> None:
        """A user is logged in (again): their chats are direct chats again."""
        for row in await self._portals.store.of_login(login.id):
            await self._portals.life.marks.mark(row, login)
        self._keeper.touch(login.owner)  # something may have waited for access to this account

    async def logged_out(self, login: LoginRow) -> None:
        """A user has logged out, and the bridge can still act for them."""
        for row in await self._portals.store.of_login(login.id):
            assert row.room is not None
            await self._portals.life.marks.retire(row.room)
        await self._keeper.settled(login.owner, within=WRITTEN_WITHIN)
