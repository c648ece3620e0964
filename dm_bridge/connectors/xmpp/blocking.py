"""Who is blocked (XEP-0191), by the account's own server. Pure: trees in, values out, and back."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, SubElement

from slixmpp import InvalidJID

from dm_bridge.connectors.xmpp.addresses import normal_jid
from dm_bridge.ids import ContactId

_BLOCKING = "{urn:xmpp:blocking}"
MISSING = frozenset({"feature-not-implemented", "service-unavailable"})
"""What servers answer that do not know of it."""
MAX_BLOCKED = 10_000


def list_query() -> Element:
    """Asks who is blocked."""
    return Element(f"{_BLOCKING}blocklist")


def blocked_in(answer: Element) -> Iterator[ContactId]:
    """The contacts in an answer to `list_query`. Whole servers and single devices are none."""
    items = answer.findall(f"{_BLOCKING}blocklist/{_BLOCKING}item")
    for item in items[:MAX_BLOCKED]:
        try:
            jid = normal_jid(item.get("jid", ""))
        except (InvalidJID, UnicodeError):
            continue
        if jid.node and not jid.resource:
            yield ContactId(jid.bare)


def change(contact: ContactId, *, block: bool) -> Element:
    """Blocks somebody, or lets them through again."""
    command = Element(f"{_BLOCKING}{'block' if block else 'unblock'}")
    SubElement(command, f"{_BLOCKING}item", {"jid": contact})
    return command
