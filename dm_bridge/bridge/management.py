"""The bot's rooms: who may talk to it, where, and how it reaches people.

The rule that must never break: the bot answers a person only in a room of two with them, and does
only what that person may do; a space is no room to talk in. A stranger is refused once, politely, and never again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

import structlog

from dm_bridge.bridge.audit_log import BOT, AuditLog
from dm_bridge.bridge.commands import Commands, Reply
from dm_bridge.bridge.quiet import Attention, Quiet
from dm_bridge.errors import BridgeError, HomeserverError, may_pass
from dm_bridge.ids import EventId, GhostNamespace, RoomId, UserId, digest_id
from dm_bridge.matrix import rooms
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.matrix.formatting import notice
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.spaces import SPACE
from dm_bridge.store.audit_log import Act
from dm_bridge.store.outbox import OutboxRow
from dm_bridge.store.rooms import RoomStore
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)


class Management:
    """The bot, as people meet it. ``may_use``: whether a user may use the bridge.

    ``quiet``: how many messages of one person are answered; without it, all.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        store: RoomStore,
        commands: Commands,
        bot: UserId,
        namespace: GhostNamespace,
        may_use: Callable[[UserId], bool],
        domain: str,
        quiet: Quiet | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        self._quiet = quiet
        self._audit = audit or AuditLog()
        self._homeserver = homeserver
        self._accounts = accounts
        self._store = store
        self._commands = commands
        self._bot = bot
        self._namespace = namespace
        self._may_use = may_use
        self._domain = domain

    async def user_of(self, room: RoomId) -> UserId | None:
        """Whose management room this is, or None."""
        return await self._store.management_user(room)

    async def invited(self, room: RoomId, user: UserId) -> list[OutboxRow]:
        """Come, and greet; returns what the user wrote before the bot was there."""
        if self._namespace.owns(user):
            return []
        await self._homeserver.join(room, user=self._bot)
        create = await rooms.state_of(self._homeserver, room, rooms.CREATE, user=self._bot)
        if create.get("type") == SPACE:
            await self._homeserver.leave(room, user=self._bot, reason=phrase("notice-no-space"))
            return []
        if not await self._is_alone_with(room, user):
            await self._say(room, phrase("notice-not-alone"), "not alone", room)
            await self._homeserver.leave(room, user=self._bot)
            return []
        await self._store.add_management(room, user)
        missed = await rooms.messages_by(self._homeserver, room, user, seen_by=self._bot)
        if self._may_use(user) and not missed:
            encrypted = await rooms.state_of(
                self._homeserver, room, "m.room.encryption", user=self._bot
            )
            greeting = f"{phrase('notice-greeting')} {self._commands.first_step(user)}"
            greeting = phrase("notice-greeting-encrypted") if encrypted else greeting
            await self._say(room, greeting, "greeting", room)
        return [OutboxRow(EventId(event["event_id"]), room, user, event) for event in missed]

    async def left(self, room: RoomId) -> None:
        """The user or the bot left: nothing can be said there any more."""
        await self._store.remove_management(room)

    async def command(self, room: RoomId, user: UserId, event: EventId, text: str | None) -> None:
        """Answer what a person wrote to the bot."""
        known = await self._store.management_user(room)
        if not await self._is_alone_with(room, user):
            # When somebody came along, nothing here is between the two of us any more.
            if known is not None:
                if user == known and (
                    await self._store.take_secret_asked(room)
                    or self._commands.is_waiting(user, room)
                ):
                    await self._hide(room, user, event)
                await self._quit(room, known, event)
            return
        if user != known:
            await self._store.add_management(room, user)
        if not self._may_use(user):
            if await self._store.refuse_once(user):
                details = {"reason": phrase("notice-not-open-to-them")}
                await self._audit.record_now_and_then(user, Act.REFUSED, user, details, BOT)
                await self._say(room, self._refusal(), "refusal", room)
            return
        attention = Attention.ANSWER if self._quiet is None else self._quiet.take(user)
        if attention is not Attention.ANSWER:
            await self._pass_over(room, user, event, attention)
            return
        if text is None:
            await self._say(room, phrase("notice-unreadable"), "unreadable", event)
            return
        late = await self._store.take_secret_asked(room)
        if late and not self._commands.is_waiting(user, room):
            await self._hide(room, user, event)
            await self._say(room, phrase("notice-too-late"), "too late", event)
            return
        number = 0

        async def answer(reply: Reply) -> None:
            nonlocal number
            number += 1
            if reply.hide_request:
                await self._hide(room, user, event)
            if reply.asks_secret:
                await self._store.ask_secret(room)
            if reply.text:
                await self._say(room, reply.text, "answer", event, str(number))

        await self._commands.run(user, room, text, answer)

    async def _pass_over(
        self, room: RoomId, user: UserId, event: EventId, attention: Attention
    ) -> None:
        """Answer nothing; what may be a secret is removed all the same."""
        secret = await self._store.take_secret_asked(room)
        if secret:
            await self._store.ask_secret(room)
        if secret or self._commands.is_waiting(user, room):
            await self._hide(room, user, event)
        if attention is Attention.ENOUGH and self._quiet is not None:
            log.info("a user writes more than is answered", user=user)
            await self._say(room, phrase("notice-enough", many=self._quiet.many), "enough", event)

    async def tell(self, user: UserId, text: str, about: str | None = None) -> None:
        """Say something in every management room of a user; once, when it is ``about`` the same."""
        where = await self._store.management_rooms(user)
        if not where:
            log.info("a user has no room with the bot and was not told", user=user)
        for room in where:
            try:
                alone = await self._is_alone_with(room, user)
            except HomeserverError as error:
                if may_pass(error):
                    raise
                log.warning("the bot is not in its room", room=room, reason=str(error))
                continue
            if alone:
                await self._say(room, text, "tell", room, about or secrets.token_hex(8))
            else:
                await self._quit(room, user, room)

    async def _quit(self, room: RoomId, user: UserId, about: str) -> None:
        """Leave a room of ``user`` into which somebody else came, or is invited."""
        await self._store.remove_management(room)
        await self._commands.forget(user, room)
        await self._say(room, phrase("notice-not-alone"), "crowded", about)
        await self._homeserver.leave(room, user=self._bot)

    def _refusal(self) -> str:
        return phrase("notice-not-open", server=self._domain)

    async def _is_alone_with(self, room: RoomId, user: UserId) -> bool:
        members = await self._homeserver.members(room, user=self._bot)
        return set(members) <= {user, self._bot}

    async def _hide(self, room: RoomId, user: UserId, event: EventId) -> None:
        """Redact a message that held a secret: as the bot where it has the power, else as the user."""
        reason = phrase("notice-held-a-secret")
        try:
            await self._homeserver.redact(
                room, event, digest_id("redact", event), reason, user=self._bot
            )
            return
        except BridgeError as error:
            log.info("the bot may not redact here", room=room, reason=str(error))
        try:
            await self._accounts.redact(user, room, event, reason)
        except BridgeError as error:
            log.warning("a message with a secret could not be redacted", reason=str(error))
            await self._say(
                room, phrase("notice-not-removed"),
                "not redacted", event,
            )  # fmt: skip

    async def _say(self, room: RoomId, text: str, *about: str) -> None:
        transaction = digest_id("bot", *about)
        try:
            await self._homeserver.send(
                room, "m.room.message", notice(text), transaction, user=self._bot
            )
        except BridgeError as error:
            if may_pass(error):
                raise
            log.warning("the bot could not answer", room=room, reason=str(error))
