"""What a contact, and the user's other devices, are told besides messages: that one arrived, and what was read.

The rule that must never break: that a message arrived is told only after it is committed, and only to people in
the contact list and those whom the user writes to: to strangers it would say that somebody is there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element

from dm_bridge.connectors.xmpp import receipts
from dm_bridge.connectors.xmpp.characters import xml_text
from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.connectors.xmpp.failures import RejectedError
from dm_bridge.ids import ChatId
from dm_bridge.network.abilities import OutgoingRead
from dm_bridge.network.events import RemoteEdit, RemoteEvent, RemoteMessage, RemoteRead, Written

_REMEMBERED = 1000
_ARCHIVED = "sid:"


class Courtesies:
    """Those of one session. ``client``: the one that is connected, if any."""

    def __init__(self, client: Callable[[], Client | None], timeout: float, log: Any) -> None:
        self._client = client
        self._timeout = timeout
        self._log = log
        self._contacts: set[str] = set()
        self._written_to: OrderedDict[str, None] = OrderedDict()
        self._asked: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._published: OrderedDict[str, str] = OrderedDict()
        self._refused = self._configured = False

    def contacts(self, changes: Iterable[tuple[str, bool]], *, anew: bool = False) -> None:
        """Who is in the contact list, and who is not any more."""
        if anew:
            self._contacts.clear()
        for jid, there in changes:
            (self._contacts.add if there else self._contacts.discard)(jid)

    def wrote_to(self, chat: str) -> None:
        """The user has written there."""
        _keep(self._written_to, chat, None)

    def came(self, stanza: Element, event: RemoteEvent) -> None:
        """A message arrived that is about to be committed."""
        if isinstance(event, Written) and event.from_self:
            self.wrote_to(event.chat)
        elif isinstance(event, RemoteMessage | RemoteEdit) and (
            asked := receipts.asks_for_receipt(stanza)
        ):
            _keep(self._asked, (event.chat, event.id), asked)

    def committed(self, events: Iterable[RemoteEvent]) -> None:
        """Acknowledge messages that are committed now, where their authors asked for it."""
        client = self._client()
        for event in events:
            if not isinstance(event, RemoteMessage | RemoteEdit):
                continue
            asked = self._asked.pop((event.chat, event.id), None)
            known = event.sender in self._contacts or event.chat in self._written_to
            if asked is not None and known and client is not None and not client.closed.is_set():
                client.send_notice(event.chat, receipts.delivery_receipt(asked))

    async def read(self, client: Client, read: OutgoingRead) -> None:
        """Tell the contact what the user has read, and the user's other devices. Raises `NetworkError`."""
        client.send_notice(read.chat, receipts.displayed_marker(xml_text(read.target.id)))
        if self._refused or not read.id.startswith(_ARCHIVED):
            return
        stanza_id = read.id.removeprefix(_ARCHIVED)
        _keep(self._published, read.chat, stanza_id)
        try:
            await self._publish(client, read.chat, stanza_id)
        except RejectedError as error:
            self._refused = True
            self._log.info("the server keeps no record of what was read", error=str(error))

    async def _publish(self, client: Client, chat: ChatId, stanza_id: str) -> None:
        update = partial(receipts.displayed_update, chat, stanza_id, client.account.bare)
        if not self._configured:
            try:
                await client.request("set", update(), self._timeout)
                return
            except RejectedError:  # it may take fewer options: so the node is configured before
                await self._configure(client)
                self._configured = True
        await client.request("set", update(configured=True), self._timeout)

    async def _configure(self, client: Client) -> None:
        try:
            await client.request("set", receipts.displayed_node(exists=False), self._timeout)
        except RejectedError:
            await client.request("set", receipts.displayed_node(exists=True), self._timeout)

    async def displayed(self, client: Client) -> list[RemoteRead]:
        """What other devices of the user have displayed so far. Raises `NetworkError`."""
        self._refused = self._configured = False
        try:
            answer = await client.request("get", receipts.displayed_query(), self._timeout)
        except RejectedError:
            return []  # no device has ever said so
        return list(receipts.displayed_elsewhere(answer, client.account.bare))

    def displayed_now(self, stanza: Element, client: Client) -> list[RemoteRead]:
        """What a message of the account itself says that another device has just displayed."""
        reads = receipts.displayed_elsewhere(stanza, client.account.bare)
        return [read for read in reads if not self._is_ours(read.chat, read.target)]

    def _is_ours(self, chat: ChatId, target: str) -> bool:
        return self._published.get(chat) == target.removeprefix(_ARCHIVED)


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _REMEMBERED:
        kept.popitem(last=False)
