"""The people that one session knows: the contact list, and what they tell of themselves.

The rule that must never break: what is kept is bounded, whatever a server or a contact sends. A name in the
contact list is the user's own, and told to nobody else.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal
from xml.etree.ElementTree import Element

from dm_bridge.connectors.xmpp import blocking, profiles, subscriptions
from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.connectors.xmpp.failures import RejectedError
from dm_bridge.connectors.xmpp.stanzas import roster_members, roster_names
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ContactId
from dm_bridge.network.api import Contact
from dm_bridge.network.signals import RemoteProfile, Signal
from dm_bridge.texts import phrase

MAX_CONTACTS = 10_000
_NAMES = 1000
SETTLED = 5.0
"""Seconds after a presence in which its sender's events come, where there are any."""
_MESSAGE = "{jabber:client}message"


class People:
    """Those of one session. ``tell``: where what changes is told. ``timeout``: for each answer, in seconds."""

    def __init__(self, tell: Callable[[Signal], None], timeout: float, log: Any) -> None:
        self.can_block = True
        """Until the server says that it has no such thing."""
        self._tell = tell
        self._timeout = timeout
        self._log = log
        self._roster: dict[str, str | None] = {}
        self._nicks: OrderedDict[str, str] = OrderedDict()
        self._seen: set[str] = set()
        """Whose presence the user sees, or has asked to see."""
        self._hashes: dict[ContactId, RemoteProfile] = {}
        self._settling: asyncio.TimerHandle | None = None
        self._eventing: OrderedDict[str, None] = OrderedDict()
        """Who tells of their picture by events, so that what presence says of it does not count."""

    # -- the contact list

    def roster_begins(self) -> None:
        """The whole contact list follows."""
        self._roster.clear()
        self._seen.clear()

    def roster(self, query: Element) -> None:
        """The contact list, or a change of it."""
        names = roster_names(query)
        for jid, there in roster_members(query):
            if there and (jid in self._roster or len(self._roster) < MAX_CONTACTS):
                self._roster[jid] = names[jid]
            elif not there:
                self._roster.pop(jid, None)
            self._tell(RemoteProfile(ContactId(jid), private_name=names[jid] or ""))
        for jid, seen in subscriptions.seen_in(query):
            (self._seen.add if seen and jid in self._roster else self._seen.discard)(jid)
        for answered in subscriptions.answered_in(query):
            self._tell(answered)

    def contacts(self) -> list[Contact]:
        """Everybody in the contact list."""
        return [self.contact(ContactId(jid)) for jid in self._roster]

    def contact(self, contact: ContactId) -> Contact:
        """What is known of somebody, without asking."""
        name = self._nicks.get(contact)
        return Contact(contact, name=name, private_name=self._roster.get(contact))

    # -- what they tell of themselves

    def called(self, contact: str, name: str) -> None:
        """Somebody has given themselves a name."""
        self._nicks[contact] = name
        self._nicks.move_to_end(contact)
        if len(self._nicks) > _NAMES:
            self._nicks.popitem(last=False)

    def wrote_as(self, contact: ContactId, name: str) -> None:
        """Somebody has given themselves a name in a message; of who tells it by events, it is known already."""
        if self._nicks.get(contact) == name:
            return
        self.called(contact, name)
        if contact not in self._seen:
            self._tell(RemoteProfile(contact, name=name))

    def noticed(self, stanza: Element) -> bool:
        """A message that is no chat message; whether it was about a profile."""
        profile = profiles.profile_event(stanza)
        if profile is None:
            return False
        if profile.name:
            self.called(profile.contact, profile.name)
        elif profile.name is not None:
            self._nicks.pop(profile.contact, None)
        if profile.avatar is not None:
            self._tells_by_events(profile.contact)
        self._tell(profile)
        return True

    def presence(self, stanza: Element, account: str) -> None:
        """A presence, which may ask something, or say which picture somebody has in their vCard."""
        request = subscriptions.request_in(stanza, account)
        if request is not None:
            self._tell(request)
        profile = profiles.avatar_in_presence(stanza)
        if profile is None or len(self._hashes) >= MAX_CONTACTS:
            return
        self._hashes[profile.contact] = profile
        if self._settling is None:
            loop = asyncio.get_running_loop()
            self._settling = loop.call_later(SETTLED, self._hashes_settled)

    def _hashes_settled(self) -> None:
        """Events come after the presence; of who has sent none by now, the vCard counts."""
        hashes, self._hashes, self._settling = self._hashes, {}, None
        for contact, profile in hashes.items():
            if contact not in self._eventing:
                self._tell(profile)

    def close(self) -> None:
        """Tell nothing any more."""
        if self._settling is not None:
            self._settling.cancel()

    def _tells_by_events(self, contact: str) -> None:
        self._eventing[contact] = None
        self._eventing.move_to_end(contact)
        if len(self._eventing) > _NAMES:
            self._eventing.popitem(last=False)

    # -- asking them

    async def profile(self, client: Client, contact: ContactId) -> RemoteProfile:
        """What a contact's server tells now. Raises `NetworkError` when nothing can be asked."""
        nick, metadata, vcard = await asyncio.gather(
            self._asked(client, contact, profiles.newest_item(profiles.NICK_NODE)),
            self._asked(client, contact, profiles.newest_item(profiles.AVATAR_NODE)),
            self._asked(client, contact, profiles.vcard_query()),
        )
        name = avatar = None
        if nick is not None:
            name = profiles.nick_in(profiles.item_in(nick, profiles.NICK_NODE)) or None
        if metadata is not None:
            avatar = profiles.avatar_in(profiles.item_in(metadata, profiles.AVATAR_NODE))
        if avatar is not None:
            self._tells_by_events(contact)
        if vcard is not None:
            name = name or profiles.name_in_vcard(vcard)
            picture = profiles.picture_in_vcard(vcard) if avatar is None else None
            if picture is not None:
                avatar = hashlib.sha1(picture, usedforsecurity=False).hexdigest()
        if name:
            self.called(contact, name)
        return RemoteProfile(contact, name=name, avatar=avatar)

    async def look_again(self, client: Client, contact: ContactId) -> None:
        """Who lets the user see them shows more, but not all servers say so before the next session."""
        try:
            self._tell(await self.profile(client, contact))
        except NetworkError as error:
            self._log.debug("a profile cannot be had", contact=contact, reason=str(error))

    async def avatar(self, client: Client, contact: ContactId, avatar: str) -> bytes:
        """A contact's picture. Raises `NetworkError` when there is none."""
        item = profiles.newest_item(profiles.DATA_NODE, avatar)
        answer = await self._asked(client, contact, item)
        picture = None
        if answer is not None:
            picture = profiles.picture_in(profiles.item_in(answer, profiles.DATA_NODE))
        if picture is None:
            vcard = await self._asked(client, contact, profiles.vcard_query())
            if vcard is not None:
                picture = profiles.picture_in_vcard(vcard)
                await self._called_in_vcard(client, contact, vcard)
        if picture is None:
            raise NetworkError(phrase("xmpp-no-picture", address=contact))
        return picture

    async def _called_in_vcard(self, client: Client, contact: ContactId, vcard: Element) -> None:
        """A vCard that has changed may have another name, which counts for who has no nick."""
        name = profiles.name_in_vcard(vcard)
        if name is None or name == self._nicks.get(contact):
            return
        nick = await self._asked(client, contact, profiles.newest_item(profiles.NICK_NODE))
        if nick is None or not profiles.nick_in(profiles.item_in(nick, profiles.NICK_NODE)):
            self.called(contact, name)
            self._tell(RemoteProfile(contact, name=name))

    async def _asked(self, client: Client, contact: ContactId, query: Element) -> Element | None:
        """The answer of a contact's account; None when it refuses. Raises `NetworkError`."""
        try:
            return await client.request("get", query, self._timeout, to=contact)
        except RejectedError:
            return None

    # -- doing something about them

    async def accept(self, client: Client, contact: ContactId) -> None:
        """Let somebody see the user's presence, and ask for theirs. Raises `NetworkError`."""
        client.send_subscription("subscribed", contact)
        if contact not in self._seen:
            client.send_subscription("subscribe", contact)
        await client.ping(self._timeout)

    async def decline(self, client: Client, contact: ContactId) -> None:
        """Do not let somebody see the user's presence. Raises `NetworkError`."""
        client.send_subscription("unsubscribed", contact)
        await client.ping(self._timeout)

    async def block(self, client: Client, contact: ContactId, *, block: bool) -> None:
        """Block somebody, or let them through again. Raises `NetworkError`."""
        await self._blocking(client, "set", blocking.change(contact, block=block))

    async def blocked(self, client: Client) -> list[ContactId]:
        """Who is blocked. Raises `NetworkError`."""
        answer = await self._blocking(client, "get", blocking.list_query())
        return list(blocking.blocked_in(answer))

    async def _blocking(
        self, client: Client, kind: Literal["get", "set"], query: Element
    ) -> Element:
        try:
            return await client.request(kind, query, self._timeout)
        except RejectedError as error:
            if error.condition not in blocking.MISSING:
                raise
            self.can_block = False
            raise NetworkError(phrase("xmpp-no-blocking", domain=client.domain)) from None
