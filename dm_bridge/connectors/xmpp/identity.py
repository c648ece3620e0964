"""What the session tells others about itself (XEP-0030, XEP-0115).

The rule that must never break: it says honestly that it is a program, and lists only what it does.
"""

from __future__ import annotations

import base64
import hashlib
from xml.etree.ElementTree import Element

from dm_bridge.connectors.xmpp import files, profiles, receipts, relations, spoilers, xhtml
from dm_bridge.connectors.xmpp.stanzas import disco_info

DISCO_INFO = "{http://jabber.org/protocol/disco#info}query"
NODE = "urn:dm_bridge:client"
IDENTITY = {"category": "client", "type": "bot", "name": "dm_bridge"}
FEATURES = (
    *files.FEATURES,
    *relations.FEATURES,
    *receipts.FEATURES,
    *profiles.FEATURES,
    *spoilers.FEATURES,
    *xhtml.FEATURES,
    "http://jabber.org/protocol/caps",
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/nick",
    "urn:xmpp:ping",
    "urn:xmpp:styling:0",
)


def capabilities() -> Element:
    """The XEP-0115 element for presence."""
    return Element(
        "{http://jabber.org/protocol/caps}c",
        {"hash": "sha-1", "node": NODE, "ver": verification()},
    )


def verification() -> str:
    """The verification string (XEP-0115, section 5.1)."""
    identity = f"{IDENTITY['category']}/{IDENTITY['type']}//{IDENTITY['name']}<"
    text = identity + "".join(f"{feature}<" for feature in sorted(FEATURES))
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def answer(node: str | None) -> Element | None:
    """The answer to a disco#info request, or None for a node that is not ours."""
    if node not in (None, f"{NODE}#{verification()}"):
        return None
    return disco_info(node, IDENTITY, FEATURES)
