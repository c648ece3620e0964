"""The people that one session knows: the contact list, and what they tell of themselves.

The rule that must never break: what is kept is bounded, whatever a server or a contact sends. A name in the
contact list is the user's own, and told to nobody else.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, TypeVar
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

T = TypeVar("T")

MAX_CONTACTS = 10_000
_NAMES = 1000
SETTLED = 5.0
"""Seconds after a presence in which its sender's events come, where there are any."""
CARD_AGAIN = 3600.0
"""Seconds after which the vCard of a contact who writes, and of whose changes no event tells, is read again."""
_AT_ONCE = 4


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
        self._cards: dict[ContactId, str] = {}
        self._nicked: OrderedDict[str, None] = OrderedDict()
        """Who has a nick of their own, so that what their vCard calls them does not count."""
        self._carded: OrderedDict[str, float] = OrderedDict()
        """When the vCard of whom was read, or told by an event: then forever, as the next change will be."""
        self._reading: set[ContactId] = set()
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
        _keep(self._nicks, contact, name, _NAMES)

    def wrote_as(self, contact: ContactId, name: str) -> None:
        """Somebody has given themselves a name in a message; of who tells it by events, it is known already."""
        if self._nicks.get(contact) == name:
            return
        self.called(contact, name)
        _keep(self._nicked, contact, None)
        if contact not in self._seen:
            self._tell(RemoteProfile(contact, name=name))

    def noticed(self, stanza: Element) -> bool:
        """A message that is no chat message; whether it was about a profile."""
        card = profiles.card_event(stanza)
        if card is not None:
            contact, name = card
            _keep(self._carded, contact, float("inf"))
            if contact in self._cards or len(self._cards) < MAX_CONTACTS:
                self._cards[contact] = name
                self._settle()
            return True
        profile = profiles.profile_event(stanza)
        if profile is None:
            return False
        if profile.name:
            self.called(profile.contact, profile.name)
            _keep(self._nicked, profile.contact, None)
        elif profile.name is not None:
            self._nicks.pop(profile.contact, None)
            self._nicked.pop(profile.contact, None)
        if profile.avatar is not None:
            _keep(self._eventing, profile.contact, None)
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
        self._settle()

    def _settle(self) -> None:
        if self._settling is None:
            loop = asyncio.get_running_loop()
            self._settling = loop.call_later(SETTLED, self._settled)

    def _settled(self) -> None:
        """Events come after the presence, in any order; what nobody has told better by now, the vCard tells."""
        hashes, self._hashes, self._settling = self._hashes, {}, None
        cards, self._cards = self._cards, {}
        for contact, profile in hashes.items():
            if contact not in self._eventing:
                self._tell(profile)
        for contact, name in cards.items():
            if contact not in self._nicked:
                self.called(contact, name)
                self._tell(RemoteProfile(contact, name=name))

    def close(self) -> None:
        """Tell nothing any more."""
        if self._settling is not None:
            self._settling.cancel()

    # -- asking them

    async def profile(self, client: Client, contact: ContactId) -> RemoteProfile:
        """What a contact's server tells now. Raises `NetworkError` when nothing can be asked."""
        nick, metadata, vcard = await asyncio.gather(
            self._asked(client, contact, profiles.newest_item(profiles.NICK_NODE)),
            self._asked(client, contact, profiles.newest_item(profiles.AVATAR_NODE)),
            self._asked(client, contact, profiles.vcard_query()),
        )
        name = avatar = None
        self._read_now(contact)
        if nick is not None:
            name = profiles.nick_in(profiles.item_in(nick, profiles.NICK_NODE)) or None
        if metadata is not None:
            avatar = profiles.avatar_in(profiles.item_in(metadata, profiles.AVATAR_NODE))
        if avatar is not None:
            _keep(self._eventing, contact, None)
        if name is not None:
            _keep(self._nicked, contact, None)
        if vcard is not None:
            name = name or profiles.name_in_vcard(vcard)
            picture = profiles.picture_in_vcard(vcard) if avatar is None else None
            if picture is not None:
                avatar = hashlib.sha1(picture, usedforsecurity=False).hexdigest()
        if name:
            self.called(contact, name)
        return RemoteProfile(contact, name=name, avatar=avatar)

    def looks_again(self, contact: ContactId) -> bool:
        """Whether a contact who writes may have another name, of which nothing tells; `look_again` follows."""
        due = self._carded.get(contact, float("-inf")) + CARD_AGAIN <= time.monotonic()
        if not due or contact in self._nicked or len(self._reading) >= _AT_ONCE:
            return False
        self._read_now(contact)
        self._reading.add(contact)
        return True

    async def look_again(self, client: Client, contact: ContactId) -> None:
        """Tell what a contact's server tells now: who lets the user see them from now on, shows more as well."""
        try:
            self._tell(await self.profile(client, contact))
        except NetworkError as error:
            self._log.debug("a profile cannot be had", contact=contact, reason=str(error))
        finally:
            self._reading.discard(contact)

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

    def _read_now(self, contact: ContactId) -> None:
        _keep(self._carded, contact, max(time.monotonic(), self._carded.get(contact, 0.0)))

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


def _keep(kept: OrderedDict[str, T], contact: str, value: T, most: int = MAX_CONTACTS) -> None:
    kept[contact] = value
    kept.move_to_end(contact)
    if len(kept) > most:
        kept.popitem(last=False)
