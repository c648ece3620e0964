"""Who asks to see the user's presence (RFC 6121, section 3). Pure: trees in, values out.

The rule that must never break: nothing here answers. Who gets an answer, and which, the user says.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from slixmpp import InvalidJID

from dm_bridge.connectors.xmpp.addresses import normal_jid
from dm_bridge.ids import ContactId
from dm_bridge.network.signals import RemoteRequest

_CLIENT = "{jabber:client}"
_NICK = "{http://jabber.org/protocol/nick}nick"
_ROSTER = "{jabber:iq:roster}"
_CHARACTERS = 1000


def request_in(stanza: Element, account: str) -> RemoteRequest | None:
    """What a presence stanza asks, or asks no more; None when it is about something else.

    ``account``: whose stream it is; nobody asks themselves.
    """
    kind = stanza.get("type")
    if kind not in ("subscribe", "unsubscribe"):
        return None
    try:
        jid = normal_jid(stanza.get("from", ""))
    except (InvalidJID, UnicodeError):
        return None
    if not jid.bare or jid.bare == account:
        return None
    return RemoteRequest(
        ContactId(jid.bare),
        name=_text(stanza.find(_NICK)) or None,
        text=_text(stanza.find(f"{_CLIENT}status")),
        withdrawn=kind == "unsubscribe",
    )


def shown_by(stanza: Element) -> ContactId | None:
    """Who lets the user see their presence from now on, as a presence stanza says; None when it is another one."""
    if stanza.get("type") != "subscribed":
        return None
    try:
        jid = normal_jid(stanza.get("from", ""))
    except (InvalidJID, UnicodeError):
        return None
    return ContactId(jid.bare) if jid.node else None


def answered_in(query: Element) -> Iterator[RemoteRequest]:
    """Who needs no answer (any more), as the contact list says: they see the user's presence."""
    for address, subscription in _items(query):
        if subscription in ("from", "both"):
            yield RemoteRequest(ContactId(address), withdrawn=True)


def seen_in(query: Element) -> Iterator[tuple[str, bool]]:
    """Bare JIDs, and whether the user sees the presence of each, or has asked for it."""
    asked = {
        item.get("jid"): item.get("ask") == "subscribe" for item in query.findall(f"{_ROSTER}item")
    }
    for address, subscription in _items(query):
        yield address, subscription in ("to", "both") or asked.get(address, False)


def _items(query: Element) -> Iterator[tuple[str, str]]:
    for item in query.findall(f"{_ROSTER}item"):
        try:
            address = normal_jid(item.get("jid", "")).bare
        except (InvalidJID, UnicodeError):
            continue
        if address:
            yield address, item.get("subscription", "none")


def _text(element: Element | None) -> str:
    text = "" if element is None else "".join(element.itertext())
    return " ".join(text[:_CHARACTERS].split())
