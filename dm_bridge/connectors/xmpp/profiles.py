"""What contacts call themselves and look like. Pure: trees in, values out, and back.

XEP-0172 (nicks), XEP-0084 (avatars) and XEP-0292 (vCard4) by personal eventing (XEP-0163), XEP-0054 (vcard-temp)
and its hash in presence (XEP-0153) for those without.

The rule that must never break: a profile is taken from nobody but the contact's own account, as the user's server
vouches for it, and everything in it is bounded.
"""

from __future__ import annotations

import base64
import binascii
import re
from xml.etree.ElementTree import Element, SubElement

from slixmpp import InvalidJID

from dm_bridge.connectors.xmpp.addresses import normal_jid
from dm_bridge.ids import ContactId
from dm_bridge.network.people import MAX_AVATAR
from dm_bridge.network.signals import RemoteProfile

NICK_NODE = "http://jabber.org/protocol/nick"
AVATAR_NODE = "urn:xmpp:avatar:metadata"
DATA_NODE = "urn:xmpp:avatar:data"
CARD_NODE = "urn:xmpp:vcard4"
FEATURES = (f"{NICK_NODE}+notify", f"{AVATAR_NODE}+notify", f"{CARD_NODE}+notify")
"""What service discovery says of all this: contacts' servers then tell what changes."""

_PUBSUB = "{http://jabber.org/protocol/pubsub}"
_EVENT = "{http://jabber.org/protocol/pubsub#event}"
_NICK = f"{{{NICK_NODE}}}nick"
_METADATA = f"{{{AVATAR_NODE}}}"
_DATA = f"{{{DATA_NODE}}}data"
_VCARD = "{vcard-temp}"
_CARD = "{urn:ietf:params:xml:ns:vcard-4.0}"
_UPDATE = "{vcard-temp:x:update}"
_NAME_CHARACTERS = 1000
_HASH = re.compile(r"[A-Za-z0-9][A-Za-z0-9:+/=_.-]{0,99}")
_LARGEST_TEXT = MAX_AVATAR * 4 // 3 + 1000
_MAX_INFOS = 20


def profile_event(stanza: Element) -> RemoteProfile | None:
    """What a message stanza says of its sender's profile; None when it is about something else.

    Only the sender's own account is believed: the address has no resource, and is the server's to vouch for.
    """
    items = stanza.find(f"{_EVENT}event/{_EVENT}items")
    retracted = stanza.find(f"{_EVENT}event/{_EVENT}purge")
    node = next((each.get("node") for each in (items, retracted) if each is not None), None)
    if node not in (NICK_NODE, AVATAR_NODE) or stanza.get("type") == "error":
        return None
    contact = _account(stanza.get("from"))
    if contact is None:
        return None
    item = None if items is None else items.find(f"{_EVENT}item")
    gone = item is None and (items is None or items.find(f"{_EVENT}retract") is not None)
    if node == NICK_NODE:
        name = "" if gone else nick_in(item)
        return None if name is None else RemoteProfile(contact, name=name)
    avatar = "" if gone else avatar_in(item)
    return None if avatar is None else RemoteProfile(contact, avatar=avatar)


def nick_in(item: Element | None) -> str | None:
    """The nick in an item of `NICK_NODE`; "" when there is none any more."""
    nick = None if item is None else item.find(_NICK)
    return None if nick is None else _text(nick)


def avatar_in(item: Element | None) -> str | None:
    """The id of the picture in an item of `AVATAR_NODE`; "" when it is switched off (XEP-0084, section 4.2).

    None when there is none that could be had: too large, or only somewhere on the web.
    """
    metadata = None if item is None else item.find(f"{_METADATA}metadata")
    if metadata is None:
        return None
    infos = metadata.findall(f"{_METADATA}info")[:_MAX_INFOS]
    if not infos:
        return ""
    fitting = [info for info in infos if info.get("url") is None and _size(info) <= MAX_AVATAR]
    ids = [found for info in fitting if (found := _hash(info.get("id")))]
    return ids[0] if ids else None


def avatar_in_presence(stanza: Element) -> RemoteProfile | None:
    """The hash of the sender's vCard picture (XEP-0153); None when the presence says nothing of it."""
    photo = stanza.find(f"{_UPDATE}x/{_UPDATE}photo")
    if photo is None or stanza.get("type") is not None:
        return None
    contact = _account(stanza.get("from"), resource=True)
    text = _text(photo)
    if contact is None or (text and not _hash(text)):
        return None
    return RemoteProfile(contact, avatar=text.lower())


def card_event(stanza: Element) -> tuple[ContactId, str] | None:
    """Whose vCard has changed, by an event, and what it calls its owner; believed as for `profile_event`."""
    items = stanza.find(f"{_EVENT}event/{_EVENT}items")
    if items is None or items.get("node") != CARD_NODE or stanza.get("type") == "error":
        return None
    contact, item = _account(stanza.get("from")), items.find(f"{_EVENT}item")
    for field in ("nickname", "fn"):
        found = None if item is None else item.find(f"{_CARD}vcard/{_CARD}{field}/{_CARD}text")
        if contact is not None and found is not None and (text := _text(found)):
            return contact, text
    return None


# -- asking


def newest_item(node: str, item: str | None = None) -> Element:
    """Asks for the newest item of a node, or for a certain one (XEP-0060, section 6.5)."""
    query = Element(f"{_PUBSUB}pubsub")
    limit = {"max_items": "1"} if item is None else {}
    items = SubElement(query, f"{_PUBSUB}items", {"node": node, **limit})
    if item is not None:
        SubElement(items, f"{_PUBSUB}item", {"id": item})
    return query


def item_in(answer: Element, node: str) -> Element | None:
    """The item in an answer to `newest_item`."""
    items = answer.find(f"{_PUBSUB}pubsub/{_PUBSUB}items")
    return None if items is None or items.get("node") != node else items.find(f"{_PUBSUB}item")


def picture_in(item: Element | None) -> bytes | None:
    """The picture in an item of `DATA_NODE`; None when it is none, or too large."""
    return None if item is None else _decoded(item.find(_DATA))


def vcard_query() -> Element:
    """Asks for a vCard."""
    return Element(f"{_VCARD}vCard")


def name_in_vcard(answer: Element) -> str | None:
    """What a vCard calls its owner: their nickname, else their name."""
    for field in ("NICKNAME", "FN"):
        found = answer.find(f"{_VCARD}vCard/{_VCARD}{field}")
        if found is not None and (text := _text(found)):
            return text
    return None


def picture_in_vcard(answer: Element) -> bytes | None:
    """The picture in a vCard; None when there is none, or it is too large."""
    return _decoded(answer.find(f"{_VCARD}vCard/{_VCARD}PHOTO/{_VCARD}BINVAL"))


def _decoded(element: Element | None) -> bytes | None:
    text = "" if element is None else "".join(element.itertext())
    if not text or len(text) > _LARGEST_TEXT:
        return None
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if 0 < len(data) <= MAX_AVATAR else None


def _text(element: Element) -> str:
    return " ".join("".join(element.itertext())[:_NAME_CHARACTERS].split())


def _hash(text: str | None) -> str | None:
    return text.lower() if text is not None and _HASH.fullmatch(text) else None


def _size(info: Element) -> float:
    try:
        return int(info.get("bytes", "0"))
    except ValueError:
        return float("inf")


def _account(address: str | None, *, resource: bool = False) -> ContactId | None:
    """Whose account an address is of; None when it is none, or has a resource that it must not have."""
    try:
        jid = normal_jid(address or "")
    except (InvalidJID, UnicodeError):
        return None
    if not jid.node or (jid.resource and not resource):
        return None
    return ContactId(jid.bare)
