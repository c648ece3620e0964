"""What says that a message arrived or was read, and that somebody types. Pure: trees in, values out, and back.

XEP-0184 (delivery receipts), XEP-0333 (displayed markers), XEP-0490 (what is displayed, between the devices of one
account), XEP-0085 (chat states), with the hints of XEP-0334.

The rule that must never break: nothing here tells a contact anything by itself; whom it is told is decided by the
session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element, SubElement

from slixmpp import InvalidJID

from dm_bridge.connectors.xmpp.addresses import normal_jid
from dm_bridge.ids import ChatId, ContactId, RemoteId, digest_id
from dm_bridge.network.events import RemoteRead, RemoteReceived
from dm_bridge.network.signals import RemoteTyping

_RECEIPTS = "{urn:xmpp:receipts}"
_MARKERS = "{urn:xmpp:chat-markers:0}"
_STATES = "{http://jabber.org/protocol/chatstates}"
_DELAY = "{urn:xmpp:delay}delay"
_HINTS = "{urn:xmpp:hints}"
_IDS = "{urn:xmpp:sid:0}"
_PUBSUB = "{http://jabber.org/protocol/pubsub}"
_OWNER = "{http://jabber.org/protocol/pubsub#owner}"
_EVENT = "{http://jabber.org/protocol/pubsub#event}"
_FORM = "{jabber:x:data}"
_MDS = "{urn:xmpp:mds:displayed:0}displayed"
DISPLAYED_NODE = "urn:xmpp:mds:displayed:0"
_NODE = {
    "access_model": "whitelist",
    "persist_items": "true",
    "max_items": "max",
    "send_last_published_item": "never",
}
"""How that node has to be configured (XEP-0490, section 3.1)."""

FEATURES = (
    "urn:xmpp:receipts",
    "urn:xmpp:chat-markers:0",
    "http://jabber.org/protocol/chatstates",
    f"{DISPLAYED_NODE}+notify",
)
"""What service discovery says of all this."""
MAX_DISPLAYED = 1000
"""Chats whose state is read from the account at most."""


def expected() -> list[Element]:
    """What asks for receipts and markers in a message, and says that its author is done typing."""
    return [Element(f"{_RECEIPTS}request"), Element(f"{_MARKERS}markable"), chat_state(False)]


def chat_state(typing: bool) -> Element:
    """Whether somebody types."""
    return Element(f"{_STATES}{'composing' if typing else 'active'}")


def typing_notice(typing: bool) -> list[Element]:
    """The payload of a message that says no more than that; nobody is to store it."""
    return [chat_state(typing), Element(f"{_HINTS}no-store")]


def delivery_receipt(message: str) -> list[Element]:
    """The payload of a delivery receipt."""
    return [Element(f"{_RECEIPTS}received", {"id": message}), Element(f"{_HINTS}store")]


def displayed_marker(message: str) -> list[Element]:
    """The payload of a message that says that one has been read."""
    return [Element(f"{_MARKERS}displayed", {"id": message}), Element(f"{_HINTS}store")]


def asks_for_receipt(stanza: Element) -> str | None:
    """The id under which a message's author wants to hear that it arrived, if they do."""
    return stanza.get("id") if stanza.find(f"{_RECEIPTS}request") is not None else None


def typing_from(stanza: Element) -> RemoteTyping | None:
    """Whether a live stanza's author types; None when it does not say, or was stored meanwhile."""
    states = [child.tag for child in stanza if child.tag.startswith(_STATES)]
    if (
        not states
        or stanza.get("type") in ("error", "groupchat")
        or stanza.find(_DELAY) is not None
    ):
        return None
    try:
        sender = normal_jid(stanza.get("from", "")).bare
    except (InvalidJID, UnicodeError):
        return None
    return RemoteTyping(ChatId(sender), ContactId(sender), states[0] == f"{_STATES}composing")


def read_receipt(
    stanza: Element, chat: ChatId, from_self: bool
) -> RemoteRead | RemoteReceived | None:
    """What a message stanza says of another message, if it says that it was read, or arrived."""
    displayed = stanza.find(f"{_MARKERS}displayed")
    if displayed is not None and (target := displayed.get("id")):
        return _read(chat, RemoteId(target), from_self)
    received = stanza.find(f"{_RECEIPTS}received")
    if received is not None and (target := received.get("id")) and not from_self:
        return RemoteReceived(chat, RemoteId("received:" + digest_id(target)), RemoteId(target))
    return None


def _read(chat: ChatId, target: RemoteId, from_self: bool) -> RemoteRead:
    who = "self" if from_self else "contact"
    return RemoteRead(chat, RemoteId("read:" + digest_id(who, target)), target, from_self)


# -- between the devices of one account


def displayed_query() -> Element:
    """Asks the account for what its devices have displayed (XEP-0060, section 6.5)."""
    query = Element(f"{_PUBSUB}pubsub")
    SubElement(query, f"{_PUBSUB}items", {"node": DISPLAYED_NODE, "max_items": str(MAX_DISPLAYED)})
    return query


def displayed_update(
    chat: ChatId, stanza_id: str, account: str, *, configured: bool = False
) -> Element:
    """Tells the account what was displayed in a chat (XEP-0490, section 3.1), for its own devices only.

    ``configured``: the node is as it should be (`displayed_node`), so that no more is asked than that nobody else
    sees it. There are servers, ejabberd 23 among them, that refuse any other option of XEP-0060, section 7.1.5.
    """
    query = Element(f"{_PUBSUB}pubsub")
    publish = SubElement(query, f"{_PUBSUB}publish", {"node": DISPLAYED_NODE})
    item = SubElement(publish, f"{_PUBSUB}item", {"id": chat})
    displayed = SubElement(item, _MDS)
    SubElement(displayed, f"{_IDS}stanza-id", {"by": account, "id": stanza_id})
    options = SubElement(query, f"{_PUBSUB}publish-options")
    wanted = {name: _NODE[name] for name in (("access_model",) if configured else _NODE)}
    options.append(_form("publish-options", wanted))
    return query


def displayed_node(*, exists: bool) -> Element:
    """Makes the node that `displayed_update` publishes to (XEP-0060, section 8.1.3), or configures it (8.2)."""
    if exists:
        query = Element(f"{_OWNER}pubsub")
        configure = SubElement(query, f"{_OWNER}configure", {"node": DISPLAYED_NODE})
    else:
        query = Element(f"{_PUBSUB}pubsub")
        SubElement(query, f"{_PUBSUB}create", {"node": DISPLAYED_NODE})
        configure = SubElement(query, f"{_PUBSUB}configure")
    configure.append(_form("node_config", _NODE))
    return query


def _form(purpose: str, values: Mapping[str, str]) -> Element:
    """A form of XEP-0060 that is filled in (XEP-0068)."""
    form = Element(f"{_FORM}x", {"type": "submit"})
    hidden = SubElement(form, f"{_FORM}field", {"var": "FORM_TYPE", "type": "hidden"})
    SubElement(hidden, f"{_FORM}value").text = f"http://jabber.org/protocol/pubsub#{purpose}"
    for name, value in values.items():
        field = SubElement(form, f"{_FORM}field", {"var": f"pubsub#{name}"})
        SubElement(field, f"{_FORM}value").text = value
    return form


def displayed_elsewhere(parent: Element, account: str) -> Iterator[RemoteRead]:
    """What the account says was displayed: an answer to `displayed_query`, or a notification of a change.

    Only for what comes from the account itself. Ids that another archive gave are passed over.
    """
    for namespace, wrapper in ((_PUBSUB, "pubsub"), (_EVENT, "event")):
        items = parent.find(f"{namespace}{wrapper}/{namespace}items")
        if items is None or items.get("node") != DISPLAYED_NODE:
            continue
        for item in items.findall(f"{namespace}item")[:MAX_DISPLAYED]:
            stanza_id = item.find(f"{_MDS}/{_IDS}stanza-id")
            if stanza_id is None or not stanza_id.get("id") or not _is_by(stanza_id, account):
                continue
            try:
                chat = normal_jid(item.get("id", "")).bare
            except (InvalidJID, UnicodeError):
                continue
            if chat:
                yield _read(ChatId(chat), RemoteId(f"sid:{stanza_id.get('id')}"), from_self=True)


def _is_by(stanza_id: Element, account: str) -> bool:
    try:
        return normal_jid(stanza_id.get("by", "")).bare == account
    except (InvalidJID, UnicodeError):
        return False
