"""Why a message was not delivered, in sentences for the person who wrote it.

The rule that must never break: what a foreign server says is quoted as its words, on one line and cut
short.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from dm_bridge.texts import phrase

STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
BLOCKED = "{urn:xmpp:blocking:errors}blocked"
"""What the user's own server says of a message to somebody whom the user has blocked (XEP-0191, section 3.6).

Not all say so: ejabberd 23 gives no more than ``not-acceptable``, as of a privacy list (XEP-0016, section 2.14).
"""
_TEXT_CHARACTERS = 200
_REASONS = {
    "service-unavailable": "xmpp-bounce-unavailable",
    "recipient-unavailable": "xmpp-bounce-unreachable",
    "item-not-found": "xmpp-bounce-not-found",
    "jid-malformed": "xmpp-bounce-not-valid",
    "gone": "xmpp-bounce-gone",
    "remote-server-not-found": "xmpp-bounce-no-server",
    "remote-server-timeout": "xmpp-bounce-server-silent",
    "not-acceptable": "xmpp-bounce-perhaps-blocked",
    "forbidden": "xmpp-bounce-not-from-you",
    "not-allowed": "xmpp-bounce-not-from-you",
    "not-authorized": "xmpp-bounce-only-known",
    "registration-required": "xmpp-bounce-registration",
    "subscription-required": "xmpp-bounce-only-approved",
    "resource-constraint": "xmpp-bounce-full",
    "policy-violation": "xmpp-bounce-rule-broken",
    "internal-server-error": "xmpp-bounce-fault",
}


def failure_reason(error: Element, chat: str) -> str:
    """A sentence for the user about a stanza error (RFC 6120, section 8.3)."""
    if error.find(BLOCKED) is not None:
        return phrase("xmpp-bounce-blocked", address=chat)
    condition, text = "", ""
    for child in error:
        if child.tag == f"{STANZAS}text":
            text = " ".join((child.text or "").split())[:_TEXT_CHARACTERS]
        elif child.tag.startswith(STANZAS) and not condition:
            condition = child.tag.removeprefix(STANZAS)
    if condition in _REASONS:
        why = phrase(_REASONS[condition], address=chat)
    elif re.fullmatch(r"[a-z-]{1,40}", condition):
        why = phrase("xmpp-bounce-condition", address=chat, condition=condition)
    else:
        why = phrase("xmpp-bounce-other", address=chat)
    return phrase("xmpp-bounce-saying", why=why, said=text) if text else why
