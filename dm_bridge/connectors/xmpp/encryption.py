"""Messages encrypted from end to end, which the bridge has no keys for.

The rule that must never break: a message that somebody wrote is never dropped in silence only
because it cannot be read.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from dm_bridge.network.events import Text
from dm_bridge.texts import phrase

_EXPLICIT = "{urn:xmpp:eme:0}encryption"
_OMEMO = ("eu.siacs.conversations.axolotl", "urn:xmpp:omemo:1", "urn:xmpp:omemo:2")
_NAMES = dict.fromkeys(_OMEMO, "OMEMO") | {
    "urn:xmpp:openpgp:0": "OpenPGP",
    "jabber:x:encrypted": "OpenPGP",
    "urn:xmpp:otr:0": "OTR",
}
_OTR = re.compile(r"\?OTR[:,|v?]")
_OPENPGP_TAGS = ("{urn:xmpp:openpgp:0}openpgp", "{jabber:x:encrypted}x")


def unreadable(stanza: Element, body: str, from_self: bool) -> Text | None:
    """What to show instead of an encrypted message; None when it is none. ``body``: the whole of it.

    Knows OMEMO (XEP-0384), OX (XEP-0373), OpenPGP (XEP-0027), OTR (XEP-0364), and the hint of XEP-0380 for all
    else. What such a message has as a body is for clients that know less of it than the bridge. An OMEMO message
    without a payload only transports keys: nobody wrote it.
    """
    for namespace in _OMEMO:
        encrypted = stanza.find(f"{{{namespace}}}encrypted")
        if encrypted is not None:
            written = encrypted.find(f"{{{namespace}}}payload") is not None
            return _notice("OMEMO", from_self) if written else None
    if any(stanza.find(tag) is not None for tag in _OPENPGP_TAGS):
        return _notice("OpenPGP", from_self)
    if _OTR.match(body):
        return _notice("OTR", from_self)
    hint = stanza.find(_EXPLICIT)
    return None if hint is None else _notice(_NAMES.get(hint.get("namespace", ""), ""), from_self)


def _notice(method: str, from_self: bool) -> Text:
    if not method:
        return Text(
            phrase("xmpp-encrypted-by-you-somehow" if from_self else "xmpp-encrypted-somehow")
        )
    return Text(phrase("xmpp-encrypted-by-you" if from_self else "xmpp-encrypted", method=method))
