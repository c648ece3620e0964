"""What happens to the room of a private chat once it is there: people come, go, are removed.

The rule that must never break: what is recorded of a room follows what the homeserver says of it, and
the marks follow what is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import structlog

from dm_bridge.bridge.allowance import Allowance
from dm_bridge.bridge.marks import Marks
from dm_bridge.bridge.succession import replacement_in
from dm_bridge.errors import BridgeError, HomeserverError, may_pass
from dm_bridge.ids import GhostNamespace, LoginId, PortalKey, RoomId, UserId, digest_id
from dm_bridge.matrix import power, rooms
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.formatting import code, notice
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.network.api import Network
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.portals import Membership, PortalRow, PortalStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

REPAIRS_AN_HOUR = 10  # of the functional members of one room, before somebody else has their way
ROOMS_REPAIRED = 1000  # rooms for which repairs are counted


def is_crowded(
    members: Mapping[UserId, str], expected: Collection[UserId], namespace: GhostNamespace
) -> bool:
    """Whether somebody is in the room who is not ``expected``, nor of the bridge.

    Who is only invited is not in it.
    """
    return any(
        membership == "join" and user not in expected and not namespace.owns(user)
        for user, membership in members.items()
    )


class PortalLife:
    """Records what happens to the rooms of portals, and keeps marks and room state in step.

    ``changed``: told of which login a chat has another room, or none, or one that its user has left or is back in.
    ``joined``: told of which chat the user is in the room now.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        marks: Marks,
        store: PortalStore,
        namespace: GhostNamespace,
        bot: UserId,
        changed: Callable[[LoginId], None] = lambda login: None,
        joined: Callable[[PortalKey], None] = lambda key: None,
    ) -> None:
        self._homeserver = homeserver
        self._accounts = accounts
        self.changed = changed
        self.joined = joined
        self.marks = marks
        self._store = store
        self._namespace = namespace
        self._bot = bot
        self._repairs: dict[RoomId, Allowance] = {}
        self.changes = 0
        """Grows whenever a chat has got another room, or none: who remembers a room must look again."""

    @contextmanager
    def changing(self, login: LoginId) -> Iterator[None]:
        """Around recording that a chat gets another room, or none; whether that succeeds or not."""
        try:
            yield
        finally:
            self.changes += 1
            self.changed(login)

    # -- the user and the ghost

    async def user_joined(self, row: PortalRow, login: LoginRow) -> None:
        """The user is in the portal's room now: their DM is active."""
        assert row.room is not None
        await self.marks.user_joined(row, login)
        await self._set_membership(row, Membership.JOIN)  # last: then it is not done again

    async def user_left(self, row: PortalRow) -> None:
        """The user is not in the room any more; the next message invites them again.

        Where they leave others behind, it opens another room: those are not to read what was for the user.
        """
        await self._set_membership(row, Membership.LEAVE)
        if row.crowded:
            await self._leave_to_others(row)

    async def _leave_to_others(self, row: PortalRow) -> None:
        assert row.room is not None
        await self.abandon(row)
        await self.leave(row.room, [self._bot, row.own_ghost, row.ghost], phrase("chat-elsewhere"))
        await self._store.forget_former(row.room)

    async def user_invited(self, row: PortalRow) -> None:
        """The user is invited, because they had left."""
        await self._set_membership(row, Membership.INVITE)

    async def _set_membership(self, row: PortalRow, membership: Membership) -> None:
        await self._store.set_membership(row.key, membership)
        if membership is Membership.JOIN:
            self.joined(row.key)
        if Membership.LEAVE in (row.membership, membership):
            self.changed(row.key.login)

    async def ghost_removed(self, row: PortalRow) -> None:
        """The ghost cannot write into the room any more; the next message gets another room."""
        assert row.room is not None
        with self.changing(row.key.login):
            await self._store.set_lost(row.key)
        await self.marks.retire(row.room)

    async def abandon(self, row: PortalRow) -> None:
        """Give up a room of which nothing can be made any more; the next message gets another one.

        What the user still writes there is carried as long as the ghost is there to see it.
        """
        assert row.room is not None
        with self.changing(row.key.login):
            await self._store.replace_room(row.key, row.room, None)
        await self.marks.retire(row.room)
        log.info("a room was given up", login=row.key.login, room=row.room)

    async def look_again(self, row: PortalRow, login: LoginRow) -> bool:
        """The homeserver refused something: find out why. Whether the portal has changed by that."""
        assert row.room is not None
        try:
            members = await self._homeserver.members(row.room, user=row.ghost)
        except HomeserverError as error:
            if error.status != 403:
                raise
            members = {}
        if members.get(row.ghost) != "join":
            await self.ghost_removed(row)
            return True
        found = membership_of(members, login.owner)
        news = found is not row.membership
        if news and found is Membership.JOIN:
            await self.user_joined(row, login)
        elif news and found is Membership.LEAVE:
            await self.user_left(row)
            if row.crowded:
                return True
        elif news:
            await self._set_membership(row, found)
        if row.own_ghost is not None and members.get(row.own_ghost) != "join":
            await self._store.set_own_ghost(row.key, None)
            news = True
        if not news:
            successor = await self._successor(row, row.room, login.owner)
            if successor is not None:
                await self._store.set_successor(row.key, successor)
                news = True
            elif not await self.may_write(row, row.room):
                await self.abandon(row)
                news = True
        return news

    async def _successor(self, row: PortalRow, room: RoomId, owner: UserId) -> RoomId | None:
        """By which room the user has replaced ``room``, when its tombstone is still on its way to us."""
        tombstone = await rooms.state_event(self._homeserver, room, rooms.TOMBSTONE, user=row.ghost)
        if tombstone is None or tombstone.get("sender") != owner:
            return None
        return replacement_in(tombstone)

    async def may_write(self, row: PortalRow, room: RoomId) -> bool:
        """Whether the ghost, which is in the room, has the power to write there."""
        levels = await rooms.state_of(self._homeserver, room, rooms.POWER_LEVELS, user=row.ghost)
        create = await rooms.state_event(self._homeserver, room, rooms.CREATE, user=row.ghost)
        return create is None or power.may_write(levels, create, row.ghost)

    # -- others

    async def others_moved(self, row: PortalRow, login: LoginRow, about: str) -> None:
        """Somebody else came or went: a chat of three is no direct chat.

        ``about``: what is the same when this is called again for the same reason.
        """
        assert row.room is not None
        members = await self._homeserver.members(row.room, user=row.ghost)
        crowded = self.is_crowded(row, login, members)
        if crowded and row.crowded:
            await self.marks.retire(row.room)  # an earlier attempt may not have come to it
        if crowded is row.crowded:
            return
        if crowded and row.membership is Membership.LEAVE:
            await self._leave_to_others(row)
        elif crowded:
            await self._say_crowded(row, row.room, about)
            await self._store.set_crowded(row.key, True)
            await self.marks.retire(row.room)
        else:
            await self.marks.mark(replace(row, crowded=False), login)
            await self._store.set_crowded(row.key, False)
        log.info("a chat of two changed", room=row.room, crowded=crowded)

    def is_crowded(self, row: PortalRow, login: LoginRow, members: Mapping[UserId, str]) -> bool:
        """Whether somebody is among ``members`` who does not belong into this chat of two."""
        expected = (login.owner, row.ghost, self._bot)
        return is_crowded(members, expected, self._namespace)

    async def _say_crowded(self, row: PortalRow, room: RoomId, about: str) -> None:
        contact = code(row.contact)
        await self.say(
            row,
            room,
            phrase("chat-crowded", contact=contact),
            "crowded",
            about,
        )

    async def say(self, row: PortalRow, room: RoomId, text: str, *about: str) -> None:
        """Tell the user something in ``room``, as the ghost. What cannot be said is logged."""
        transaction = digest_id("portal", room, *about)
        try:
            await self._homeserver.send(
                room, "m.room.message", notice(text), transaction, user=row.ghost
            )
        except BridgeError as error:
            if may_pass(error):
                raise
            log.warning("a user could not be told", room=room, reason=str(error))

    async def bot_joined(self, row: PortalRow, login: LoginRow, *, joined: bool) -> None:
        """The bot came or went: tell clients whom not to count."""
        await self._store.set_bot_joined(row.key, joined)
        gone = [] if joined else [self._bot]
        await self.tell_service_members(row, login, joined, row.own_ghost, gone)

    async def own_ghost_removed(self, row: PortalRow, login: LoginRow) -> None:
        """Somebody removed the user's own ghost; it comes back when it is needed."""
        assert row.own_ghost is not None
        await self._store.set_own_ghost(row.key, None)
        await self.tell_service_members(row, login, row.bot_joined, None, [row.own_ghost])

    async def service_members_changed(self, row: PortalRow, login: LoginRow, content: Json) -> None:
        """Somebody else wrote the functional members: add ours again, unless they insist."""
        assert row.room is not None
        ours = self._service_members(row.bot_joined, row.own_ghost)
        repaired = rooms.service_members(content, ours, ())
        if repaired is None:
            return
        if len(self._repairs) >= ROOMS_REPAIRED:
            self._repairs.pop(next(iter(self._repairs)))
        allowance = self._repairs.setdefault(row.room, Allowance(REPAIRS_AN_HOUR, 3600.0))
        if not allowance.allow():
            log.warning("the functional members of a room are left as they are", room=row.room)
            return
        await self._set_service_members(row, login, repaired)

    async def tell_service_members(
        self,
        row: PortalRow,
        login: LoginRow,
        bot: bool,
        own_ghost: UserId | None,
        gone: Collection[UserId] = (),
    ) -> None:
        """Tell clients whom not to count; what others have listed stays."""
        assert row.room is not None
        content = await rooms.state_of(
            self._homeserver, row.room, rooms.FUNCTIONAL_MEMBERS, user=row.ghost
        )
        told = rooms.service_members(content, self._service_members(bot, own_ghost), gone)
        if told is not None:
            await self._set_service_members(row, login, told)

    def _service_members(self, bot: bool, own_ghost: UserId | None) -> list[UserId]:
        members = [self._bot] if bot else []
        return members if own_ghost is None else [*members, own_ghost]

    async def _set_service_members(self, row: PortalRow, login: LoginRow, content: Json) -> None:
        assert row.room is not None
        await self.set_state(row, login.owner, row.room, rooms.FUNCTIONAL_MEMBERS, "", content)

    # -- what the room says about itself

    async def set_state(
        self,
        row: PortalRow,
        owner: UserId,
        room: RoomId,
        event_type: str,
        key: str,
        content: Json,
    ) -> None:
        """Set state as the ghost or, where only the user may, as them. Failure is logged, and no error."""
        try:
            await self._set_state(row, owner, room, event_type, key, content)
        except BridgeError as error:
            log.info("state could not be set", room=room, type=event_type, reason=str(error))

    async def invite(self, row: PortalRow, owner: UserId, room: RoomId, user: UserId) -> bool:
        """Invite as the ghost or, where only the user may, as them; directly. Whether one of them may.

        Raises `HomeserverError` when trying again may help.
        """
        content: Json = {"membership": "invite", "is_direct": True}
        try:
            await self._set_state(row, owner, room, "m.room.member", user, content)
        except BridgeError as error:
            if may_pass(error):
                raise
            log.info("nobody can invite", room=room, user=user, reason=str(error))
            return False
        return True

    async def _set_state(
        self, row: PortalRow, owner: UserId, room: RoomId, event_type: str, key: str, content: Json
    ) -> None:
        try:
            await self._homeserver.set_state(room, event_type, key, content, user=row.ghost)
        except HomeserverError as error:
            if error.status != 403:
                raise
            await self._accounts.set_state(owner, room, event_type, key, content)

    async def describe(self, row: PortalRow, owner: UserId, network: Network) -> None:
        """Write into the room what it is a bridge of."""
        assert row.room is not None
        info = self.bridge_info(row, network)
        for event_type in rooms.BRIDGE_INFO_TYPES:
            await self.set_state(row, owner, row.room, event_type, info.state_key, info.content())

    def bridge_info(self, row: PortalRow, network: Network) -> rooms.BridgeInfo:
        """What a portal's room says about itself (MSC2346)."""
        return rooms.BridgeInfo(
            bot=self._bot,
            creator=row.ghost,
            protocol=network.name,
            protocol_name=network.title,
            channel=row.key.chat,
            channel_name=row.contact,
            channel_url=network.contact_uri(row.contact),
            state_key=f"org.dm_bridge/{network.name}/{marker(row.key)}",
        )

    async def introduce(self, row: PortalRow, login: LoginRow, network: Network | None) -> None:
        """The chat has moved to this room: say there what it is, and who else is in it."""
        assert row.room is not None
        try:
            if network is not None:
                await self.describe(row, login.owner, network)
            if row.bot_joined or row.own_ghost is not None:
                await self.tell_service_members(row, login, row.bot_joined, row.own_ghost)
            if row.crowded:
                await self._say_crowded(row, row.room, "moved")
        except BridgeError as error:  # the chat goes on all the same
            log.warning("a room could not be described", room=row.room, reason=str(error))

    # -- the end

    async def leave(self, room: RoomId, users: Collection[UserId | None], reason: str) -> None:
        """Let users of the bridge leave a room, in this order; who is not in it has left already."""
        for user in users:
            if user is None:
                continue
            try:
                await self._homeserver.leave(room, user=user, reason=reason)
            except HomeserverError as error:
                if may_pass(error):
                    raise
                log.debug("a user of the bridge is gone", room=room, user=user, reason=str(error))


def membership_of(members: Mapping[UserId, str], user: UserId) -> Membership:
    """Where ``user`` stands, by what `Homeserver.members` says."""
    match members.get(user):
        case "join":
            return Membership.JOIN
        case "invite":
            return Membership.INVITE
        case _:
            return Membership.LEAVE


def marker(key: PortalKey) -> str:
    """By what the room of a portal is recognised (`rooms.MARKER`)."""
    return digest_id("portal", key.login, key.chat)
