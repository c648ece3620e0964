"""Spaces, one for each login that wants one: made, kept in step with the chats, given up.

`space_plan` decides, this carries it out: one login at a time, a while after the last of its chats has changed,
and slowly, so that nothing waits for it. Where no login has a space, nothing happens at all.

A space is no direct chat and no room to talk to the bot in. Its rooms carry no ``m.space.parent``: a client finds
the children of a space by its ``m.space.child`` events alone, the parent would cost an event in each chat, and
everybody in a chat could read it.

The rule that must never break: one login has one space, also when this is cut short; and who has left it by
themselves is not brought back unasked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.names import clean_name
from dm_bridge.bridge.space_plan import Guest, Step, changes, guest, next_step, sight
from dm_bridge.bridge.turns import DELAY, PAUSE, Turns
from dm_bridge.errors import BridgeError, HomeserverError, may_pass
from dm_bridge.ids import LoginId, RoomId, UserId, digest_id
from dm_bridge.matrix import rooms, spaces
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.store.logins import LoginRow, LoginState
from dm_bridge.store.spaces import SpaceRow, SpaceStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

PAGE = 50
"""Rooms that are put into one space, or taken out, before another login has its turn."""
ANSWER_WITHIN = 20.0
"""Seconds for which who asks for a space waits for it."""


@dataclass(frozen=True, slots=True)
class SpaceSettings:
    """``domain``: of the homeserver. ``auto_join``: accept invites for users for whom the bridge can act.

    ``new_logins``: whether a new login has a space unasked.
    """

    bot: UserId
    domain: str
    auto_join: bool
    new_logins: bool


class Spaces:
    """It is one of the `LoginHooks`. ``turns`` must run. ``delay``, ``pause``: as for `Turns`; for tests."""

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        store: SpaceStore,
        logins: Callable[[], Logins],
        settings: SpaceSettings,
        *,
        delay: float = DELAY,
        pause: float = PAUSE,
    ) -> None:
        self._homeserver = homeserver
        self._accounts = accounts
        self._store = store
        self._logins = logins
        self._settings = settings
        self._pause = pause
        self._known: set[LoginId] = set()  # those for which there is anything to do, now or later
        self.turns = Turns(self._look_after, delay=delay, pause=pause)

    # -- which logins

    async def started(self, owners: Collection[UserId] | None) -> None:
        """See `LoginHooks`."""
        for row in await self._store.of(owners):
            self._look_at(row)

    async def logged_in(self, login: LoginRow) -> None:
        """See `LoginHooks`."""
        if self._settings.new_logins:
            await self._store.offer(login.id)
        row = await self._store.get(login.id)
        if row is not None:
            self._look_at(row)

    async def logged_out(self, login: LoginRow) -> None:
        """See `LoginHooks`: the chats stay, and so does their space."""

    def _look_at(self, row: SpaceRow) -> None:
        if next_step(row) is not Step.NOTHING:
            self._known.add(row.login)
            self.note(row.login)

    async def give(self, owners: Collection[UserId]) -> None:
        """Another process goes on for these users."""
        wanted = set(owners)
        gone = {login for login in self._known if self._logins().owner(login) in wanted}
        for login in gone:
            self._forget(login)
        await self.turns.ended(gone)

    def _forget(self, login: LoginId) -> None:
        self._known.discard(login)
        self.turns.forget(login)

    # -- what others say

    def note(self, login: LoginId) -> None:
        """A login has connected, or one of its chats has another room: look after its space, if it has one."""
        if login in self._known:
            self.turns.note(login)

    async def owner(self, room: RoomId) -> UserId | None:
        """Whose space ``room`` is, or None. Raises `StorageError`."""
        row = await self._store.by_room(room)
        login = None if row is None else await self._logins().row(row.login)
        return None if login is None else login.owner

    async def changed(self, room: RoomId) -> None:
        """Somebody has left the space ``room``, or another room is to take its place. Raises `StorageError`."""
        row = await self._store.by_room(room)
        if row is not None:
            self.note(row.login)

    # -- what users say

    async def want(self, login: LoginId) -> None:
        """The user wants a space for a login: returns when it is there, or tried. Raises `StorageError`."""
        await self._store.want(login)
        await self._now(login)

    async def refuse(self, login: LoginId) -> None:
        """The user wants no space for a login: returns when it is gone, or tried. Raises `StorageError`."""
        await self._store.refuse(login)
        await self._now(login)

    async def _now(self, login: LoginId) -> None:
        self._known.add(login)
        await self.turns.take(login, ANSWER_WITHIN)

    async def row(self, login: LoginId) -> SpaceRow | None:
        """What there is of a login's space. Raises `StorageError`."""
        return await self._store.get(login)

    def trouble(self, login: LoginId) -> str | None:
        """Why the last attempt to look after a login's space has failed, as a sentence."""
        return self.turns.trouble(login)

    async def end(self, user: UserId) -> None:
        """The user leaves for good: take their spaces away. Raises `BridgeError`; can then be called again."""
        for row in await self._store.of([user]):
            self._forget(row.login)
            await self._store.refuse(row.login)
            async with self.turns.alone:
                again = await self._store.get(row.login)
                if again is not None and next_step(again) is Step.CLOSE:
                    await self._close(again, user)

    # -- steps

    async def _look_after(self, login: LoginId) -> bool:
        """Take all steps that there are; whether there is more to do."""
        made = False
        while True:
            row, account = await self._store.get(login), await self._logins().row(login)
            if row is None or account is None or login not in self._known:
                self._forget(login)
                return False
            match next_step(row, logged_in=account.state is not LoginState.LOGGED_OUT):
                case Step.CREATE | Step.RECOVER:
                    await self._make(row, account)
                    made = True
                case Step.TEND:
                    assert row.room is not None
                    more = await self._tend(row, row.room, account, made=made)
                    if more is not None:
                        return more
                case Step.CLOSE:
                    await self._close(row, account.owner)
                case Step.NOTHING:
                    self._forget(login)
                    return False

    def _naming(self, login: LoginRow) -> tuple[str, str]:
        """What a space is called, and what is said about it."""
        network = self._logins().network_of(login)
        title = login.network if network is None else network.title
        called = clean_name(login.name) or login.id
        topic = phrase("space-topic", network=title, bot=self._settings.bot)
        return phrase("space-name", network=title, login=called), topic

    async def _make(self, row: SpaceRow, account: LoginRow) -> None:
        name, topic = self._naming(account)
        bot = self._settings.bot
        room = await self._find(row) if row.creating else None
        if room is not None:
            await spaces.complete_space(self._homeserver, room, bot, name, topic)
        else:
            await self._store.set_creating(row.login)
            room = await spaces.create_space(self._homeserver, bot, _marker(row.login), name, topic)
        await self._store.set_room(row.login, room)
        log.info("a login has a space", login=row.login, room=room)

    async def _find(self, row: SpaceRow) -> RoomId | None:
        """The room that was made for a space and, for whatever reason, is not recorded."""
        bot = self._settings.bot
        unknown = await self._store.unknown(await rooms.joined_rooms(self._homeserver, bot))
        return await rooms.find_made(
            self._homeserver, bot, spaces.MARKER, _marker(row.login), unknown
        )

    async def _tend(
        self, row: SpaceRow, room: RoomId, account: LoginRow, *, made: bool
    ) -> bool | None:
        """Bring a space in step; whether there is more to do. None: what is recorded of it has changed.

        ``made``: a moment ago.
        """
        bot, owner = self._settings.bot, account.owner
        state = await spaces.state_of_space(self._homeserver, room, user=bot)
        seen = sight(state or (), bot, owner)
        if not seen.usable and made:
            raise HomeserverError(phrase("space-not-in-it"))
        if not seen.usable:
            await self._leave(room)
            await self._store.set_room(row.login, None)
            log.info("a space is lost", login=row.login, room=room)
            return None
        if not await self._attend(row, room, owner, seen.membership):
            return None
        wanted = changes(await self._store.chats(row.login), seen.children)
        steps: list[tuple[RoomId, str | None]] = [(gone, None) for gone in wanted.remove]
        steps += [(chat, self._settings.domain) for chat in wanted.add]
        for chat, via in steps[:PAGE]:
            if row.login not in self._known:
                return False  # given away
            await spaces.set_child(self._homeserver, room, chat, via, user=bot)
            await asyncio.sleep(self._pause)
        return len(steps) > PAGE

    async def _attend(self, row: SpaceRow, room: RoomId, owner: UserId, membership: str) -> bool:
        """Invite the user, where they have not decided against it; whether they have not."""
        can_join = self._settings.auto_join and self._accounts.can_act_for(owner)
        while True:
            match guest(membership, invited=row.invited, can_join=can_join):
                case Guest.LEFT:
                    await self._store.set_left(row.login, room)
                    log.info("a user has left a space", login=row.login, room=room)
                    return False
                case Guest.INVITE:
                    content = {"membership": "invite"}
                    await self._homeserver.set_state(
                        room, "m.room.member", owner, content, user=self._settings.bot
                    )
                    membership = "invite"
                case Guest.JOIN:
                    can_join = False
                    try:
                        await self._accounts.join(owner, room)
                        membership = "join"
                    except BridgeError as error:
                        log.warning("a user could not be joined", room=room, reason=str(error))
                case Guest.STAY:
                    if not row.invited:
                        await self._store.set_invited(row.login, room)
                    return True

    async def _close(self, row: SpaceRow, owner: UserId) -> None:
        """Give a space up: its user does not have it any more, and nobody is in it."""
        room = row.room or await self._find(row)
        if room is not None:
            content = {"membership": "leave", "reason": phrase("space-closed")}
            bot = self._settings.bot
            try:
                await self._homeserver.set_state(room, "m.room.member", owner, content, user=bot)
            except HomeserverError as error:
                if may_pass(error):
                    raise
                log.debug("a user is not in their space", room=room, reason=str(error))
            await self._leave(room)
        await self._store.set_room(row.login, None)
        log.info("a space was given up", login=row.login, room=room)

    async def _leave(self, room: RoomId) -> None:
        try:
            await self._homeserver.leave(room, user=self._settings.bot)
        except HomeserverError as error:
            if may_pass(error):
                raise
            log.debug("the bot is not in a space", room=room, reason=str(error))


def _marker(login: LoginId) -> str:
    """By what the space of a login is recognised (`spaces.MARKER`)."""
    return digest_id("space", login)
