"""Ghosts that are invited: opens the chat with that contact in the user's own room.

The rule that must never break: a ghost stays only in a room of two, and only for a user who has a
login on the ghost's network; anybody else gets a reason, and the ghost leaves.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from dm_bridge.bridge.allowance import Allowance
from dm_bridge.bridge.ghosts import Ghosts
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.portal import Portals
from dm_bridge.errors import BridgeError, HomeserverError, NetworkError, UserError, may_pass
from dm_bridge.ids import ContactId, EventId, NetworkName, PortalKey, RoomId, UserId, digest_id
from dm_bridge.matrix import ghosts, rooms
from dm_bridge.matrix.formatting import notice
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.network.api import Session
from dm_bridge.store.logins import LoginRow, LoginState
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.store.portals import Membership, PortalStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)


LOOKUPS_A_MINUTE = 60  # ghosts that are brought to life because somebody looked them up
REFUSALS_A_MINUTE = 10  # ghosts that are brought to life only to decline an invite


class Invites:
    """Answers invites of ghosts. ``may_use``: whether a user may use the bridge."""

    def __init__(
        self,
        homeserver: Homeserver,
        portals: Portals,
        known_ghosts: Ghosts,
        logins: Logins,
        store: PortalStore,
        bot: UserId,
        may_use: Callable[[UserId], bool],
    ) -> None:
        self._homeserver = homeserver
        self._portals = portals
        self._ghosts = known_ghosts
        self._logins = logins
        self._store = store
        self._bot = bot
        self._may_use = may_use
        self._lookups = Allowance(LOOKUPS_A_MINUTE, 60.0)
        self._refusals = Allowance(REFUSALS_A_MINUTE, 60.0)

    async def ghost_exists(self, user: UserId) -> bool:
        """Bring a ghost to life that somebody looks up; False when it stands for nobody we could reach."""
        contact = await self._valid_contact(user)
        if contact is None or not self._lookups.allow():
            return False
        await self._ghosts.ensure(*contact, contact[1])
        await self._ghosts.revived(user)  # if it has been known before, the homeserver forgot it
        return True

    async def ghost_invited(
        self, room: RoomId, inviter: UserId, ghost: UserId, direct: bool
    ) -> list[OutboxRow]:
        """Open the chat, or decline. Returns what the user wrote before the ghost was there."""
        contact = await self._valid_contact(ghost)
        if not self._may_use(inviter) or contact is None:
            # Nobody may fill the homeserver with ghosts by inviting what stands for no contact of theirs.
            await self.decline(room, ghost, phrase("invite-not-open"))
            return []
        network_name, remote = contact
        await self._ghosts.ensure(network_name, remote, remote)
        login = self._login_for(inviter, network_name)
        if login is None:
            network = self._logins.network(network_name)
            await self.decline(
                room,
                ghost,
                phrase(
                    "invite-not-logged-in", title=network.title, bot=self._bot, network=network_name
                ),
            )
            return []
        try:
            await self._ghosts.act(ghost, lambda: self._homeserver.join(room, user=ghost))
        except HomeserverError as error:
            if may_pass(error):
                raise
            log.info("an invite is not there any more", room=room, reason=str(error))
            return []
        if await self._replaces(room, ghost):
            return []
        members = await self._homeserver.members(room, user=ghost, also_gone=True)
        others = {
            user
            for user, membership in members.items()
            if membership in ("join", "invite") or self._ghosts.namespace.owns(user)
        }  # a room to which several contacts were invited is no chat of two, though some have declined
        alone = others <= {ghost, inviter, self._bot}
        if not alone or not (direct or await self._unnamed(room, ghost)):
            await self._leave(room, ghost, phrase("invite-not-alone"))
            return []
        if await self._has_state(room, ghost, "m.room.encryption"):
            await self._leave(
                room,
                ghost,
                phrase("invite-encrypted"),
            )
            return []
        session = self._logins.session(login.id)
        if session is None:  # it was there a moment ago
            raise NetworkError(phrase("invite-not-connected"), retry_after=1.0)
        return await self._settle(room, ghost, login, session)

    async def _replaces(self, room: RoomId, ghost: UserId) -> bool:
        """Whether the room has taken the place of one of the ghost's portals."""
        portal = await self._portals.predecessor(room, ghost)
        login = None if portal is None else await self._logins.row(portal.key.login)
        if portal is None or login is None:
            return False
        network = self._logins.network_of(login)
        return await self._portals.follow(portal.key, login, network, room)

    async def _settle(
        self, room: RoomId, ghost: UserId, login: LoginRow, session: Session
    ) -> list[OutboxRow]:
        network = self._logins.network(login.network)
        contact = await self._ghosts.contact(ghost)
        assert contact is not None
        key = PortalKey(login.id, session.chat_with(contact[1]))
        portal = await self._store.reserve(key, contact[1], ghost)
        if portal.room is not None and portal.room != room and portal.membership is Membership.JOIN:
            link = f"https://matrix.to/#/{portal.room}"
            content = notice(phrase("invite-have-a-chat-there", link=link))
            await self._homeserver.send(
                room, "m.room.message", content, digest_id("have chat", room), user=ghost
            )
            await self._leave(room, ghost, phrase("invite-have-a-chat"))
            return []
        await self._portals.adopt(portal, login, network, room)
        return await self.missed(room, login.owner, ghost)

    async def missed(self, room: RoomId, user: UserId, ghost: UserId) -> list[OutboxRow]:
        """What the user wrote of late, which is not pushed as far as it was before the ghost was there.

        A homeserver that was restored from a backup may know of the invite, and not that it was accepted. Then the
        ghost accepts it again, where the room is still that of its chat.
        """
        try:
            try:
                missed = await rooms.messages_by(self._homeserver, room, user, seen_by=ghost)
            except HomeserverError as error:
                if error.status != 403 or not await self._accepted_again(room, ghost):
                    raise
                missed = await rooms.messages_by(self._homeserver, room, user, seen_by=ghost)
        except HomeserverError as error:
            if error.status != 403:
                raise
            return []  # the ghost is gone again
        return [OutboxRow(EventId(event["event_id"]), room, user, event) for event in missed]

    async def _accepted_again(self, room: RoomId, ghost: UserId) -> bool:
        portal = await self._store.by_room(room)
        if portal is None:
            return False
        async with self._portals.settled(portal.key) as now:
            if now is None or (now.room, now.ghost) != (room, ghost):
                return False  # the chat has got another room meanwhile
            await self._ghosts.act(ghost, lambda: self._homeserver.join(room, user=ghost))
        return True

    async def decline(self, room: RoomId, ghost: UserId, reason: str) -> None:
        """Refuse an invite, with a reason that clients show.

        A homeserver lets people invite ghosts that nobody has registered; one that does not exist can
        refuse nothing, so it is brought to life for that, a few in a minute.
        """
        try:
            try:
                await self._leave(room, ghost, reason)
            except HomeserverError as error:
                if may_pass(error) or not self._refusals.allow():
                    raise
                await ghosts.register(self._homeserver, ghost)
                await self._leave(room, ghost, reason)
        except BridgeError as error:
            if may_pass(error):
                raise
            log.info("an invite could not be declined", room=room, reason=str(error))

    async def _leave(self, room: RoomId, ghost: UserId, reason: str) -> None:
        await self._homeserver.leave(room, user=ghost, reason=reason)
        log.info("a ghost declined an invite", room=room, reason=reason)

    async def _valid_contact(self, ghost: UserId) -> tuple[NetworkName, ContactId] | None:
        contact = await self._ghosts.contact(ghost)
        if contact is None:
            return None
        try:
            normal = self._logins.network(contact[0]).parse_contact(contact[1])
        except UserError:
            return None
        return contact if normal == contact[1] else None

    def _login_for(self, user: UserId, network: NetworkName) -> LoginRow | None:
        """The user's login on a network; the oldest, when there are several."""
        if not self._may_use(user):
            return None
        for row in self._logins.of(user):
            if (
                row.network == network
                and row.state is LoginState.ACTIVE
                and self._logins.session(row.id) is not None
            ):
                return row
        return None

    async def _unnamed(self, room: RoomId, ghost: UserId) -> bool:
        return not await self._has_state(room, ghost, "m.room.name")

    async def _has_state(self, room: RoomId, ghost: UserId, event_type: str) -> bool:
        return bool(await rooms.state_of(self._homeserver, room, event_type, user=ghost))
