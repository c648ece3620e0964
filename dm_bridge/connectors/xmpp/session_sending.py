"""What a session sends: messages, and what changes them; see `dm_bridge.network.api.Session.send`.

The rule that must never break: what may have arrived is looked for in the archive before it is sent again, where
there is one; and a message counts as sent only when the server has it.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Coroutine
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

from dm_bridge.connectors.xmpp import files, receipts, relations
from dm_bridge.connectors.xmpp.archive import Archive
from dm_bridge.connectors.xmpp.characters import xml_text
from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.connectors.xmpp.config import XmppConfig
from dm_bridge.connectors.xmpp.courtesies import Courtesies
from dm_bridge.connectors.xmpp.deliveries import Deliveries, Outcome
from dm_bridge.connectors.xmpp.failures import PASSING, RejectedError
from dm_bridge.connectors.xmpp.intake import Intake
from dm_bridge.connectors.xmpp.limits import EDITS, REACTIONS, RETRACTIONS, Limits
from dm_bridge.connectors.xmpp.presence import Presences
from dm_bridge.connectors.xmpp.stanzas import message_payload, origin_id
from dm_bridge.connectors.xmpp.transport import Route
from dm_bridge.connectors.xmpp.upload import UploadService
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.abilities import OutgoingEdit, OutgoingReactions, OutgoingRetraction
from dm_bridge.network.api import Login, Outgoing, OutgoingMessage
from dm_bridge.network.media import OutgoingMedia, Place
from dm_bridge.texts import phrase

T = TypeVar("T")


class SessionSending:
    """A part of `XmppSession`, which sets what is only named here."""

    _login: Login
    _route: Route
    _config: XmppConfig
    _uploads: UploadService
    _courtesies: Courtesies
    _deliveries: Deliveries
    _intake: Intake
    _stop: asyncio.Event
    _archived: bool
    _client: Client | None
    _presences: Presences
    _limits: Limits
    _log: Any

    @abstractmethod
    def _spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]: ...
    @abstractmethod
    def _archive(self, client: Client) -> Archive: ...
    @abstractmethod
    async def _ready_client(self) -> Client: ...

    async def send(self, message: OutgoingMessage) -> RemoteId:
        """See `Session.send`. Several chats send at once; within a chat the caller awaits each."""
        payload = self._written(message)
        return await self._send(message, payload + receipts.expected(), message.attachment)

    def _written(self, message: OutgoingMessage | OutgoingEdit) -> list[Element]:
        about = message.reply_to
        quoted = about is not None and not isinstance(message.attachment, OutgoingMedia)
        quote = about.text if about is not None and quoted else ""
        payload = message_payload(message.content, message.id, quote, message.chat)
        if about is not None:
            author = self._login.remote if about.from_self else message.chat
            payload += relations.reply(xml_text(about.id), author)
        return payload

    async def edit(self, edit: OutgoingEdit) -> RemoteId:
        """See `Edits`."""
        payload = self._written(edit) + relations.correction(xml_text(edit.target.id))
        sent = await self._send(edit, payload + receipts.expected(), edit.attachment)
        return self._looked(EDITS, edit.chat, sent)

    async def retract(self, retraction: OutgoingRetraction) -> RemoteId:
        """See `Retracts`."""
        payload = relations.retraction(xml_text(retraction.target.id))
        sent = await self._send(retraction, [*payload, origin_id(retraction.id)])
        return self._looked(RETRACTIONS, retraction.chat, sent)

    async def react(self, reactions: OutgoingReactions) -> RemoteId:
        """See `Reacts`."""
        emojis = tuple(map(xml_text, reactions.emojis))[-relations.MAX_REACTIONS :]
        payload = relations.reaction(xml_text(reactions.target.id), emojis)
        sent = await self._send(reactions, [*payload, origin_id(reactions.id)])
        return self._looked(REACTIONS, reactions.chat, sent) if emojis else sent

    def _looked(self, what: str, chat: ChatId, sent: RemoteId) -> RemoteId:
        """``sent``; that the contact's client knows such a thing is looked for besides."""
        if self._client is not None and chat != ChatId(self._login.remote):
            clients = self._presences.clients(chat)
            self._spawn(self._limits.look(self._client, chat, what, clients))
        return sent

    async def _send(
        self,
        message: Outgoing,
        payload: list[Element],
        attachment: OutgoingMedia | Place | None = None,
    ) -> RemoteId:
        if self._deliveries.was_accepted(message.id):
            return message.id
        under_way = self._deliveries.pending(message.id)
        client: Client | None = None
        if under_way is None:
            client = await self._ready_client()
            if message.attempted is not None and await self._is_archived(client, message):
                return message.id
            if isinstance(attachment, OutgoingMedia):
                payload = await self._with_file(client, payload, attachment)
                client = await self._ready_client()  # it may be another one by now
            under_way = self._deliveries.pending(message.id)
        if under_way is None:
            assert client is not None
            under_way = self._deliveries.begin(message.id)
            self._courtesies.wrote_to(message.chat)
            client.send_chat(message.chat, message.id, payload)
            if not client.acks.active:
                self._spawn(self._confirm_by_ping(client, message.id))
        outcome = await self._outcome(under_way, client)
        if outcome is not None:
            raise outcome
        return message.id

    async def _with_file(
        self, client: Client, payload: list[Element], file: OutgoingMedia
    ) -> list[Element]:
        """``payload`` with the file, which is uploaded; again, where an earlier attempt went no further."""
        upload = self._spawn(self._uploads.upload_with_preview(client, file))
        try:
            there, preview = await upload
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not self._stop.is_set() or (current is not None and current.cancelling()):
                raise
            raise NetworkError(phrase("xmpp-closed-before-file"), retry_after=1.0) from None
        return files.share(payload, file, there, preview)

    async def _is_archived(self, client: Client, message: Outgoing) -> bool:
        """Whether an earlier attempt had success after all.

        By now the server is done with the stream that carried it: a stream that is not resumed takes
        the place of the one before, because both have the same resource (RFC 6120, section 7.7.2.2).
        """
        if not self._archived or message.attempted is None:
            return False
        try:
            return await self._archive(client).has_sent(message.chat, message.id, message.attempted)
        except RejectedError as error:
            if error.condition in PASSING:
                raise
            self._log.warning("the archive cannot say whether a message arrived", error=str(error))
            return False

    async def _confirm_by_ping(self, client: Client, identifier: RemoteId) -> None:
        """Without stream management, the answer to a later request shows that the message came."""
        with contextlib.suppress(NetworkError):
            await client.ping(self._config.send_timeout)
            self._deliveries.accept(identifier)

    async def _outcome(self, attempt: asyncio.Future[Outcome], client: Client | None) -> Outcome:
        try:
            async with asyncio.timeout(self._config.send_timeout):
                return await asyncio.shield(attempt)
        except TimeoutError:
            if client is not None and not self._intake.pressed:
                silent = phrase("xmpp-does-not-answer", domain=self._route.domain)
                client.fail(NetworkError(silent, retry_after=1.0))
            return NetworkError(
                phrase("xmpp-not-confirmed", domain=self._route.domain),
                certain=False,
                retry_after=self._config.send_wait,
            )
