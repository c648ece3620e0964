"""Why a message was not delivered, in sentences for the person who wrote it.

The rule that must never break: what a foreign server says is quoted as its words, on one line and cut
short.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
BLOCKED = "{urn:xmpp:blocking:errors}blocked"
"""What the user's own server says of a message to somebody whom the user has blocked (XEP-0191, section 3.6).

Not all say so: ejabberd 23 gives no more than ``not-acceptable``, as of a privacy list (XEP-0016, section 2.14).
"""
_TEXT_CHARACTERS = 200
_REASONS = {
    "service-unavailable": "{chat} cannot receive this message: the address does not exist, or takes"
    " no messages from you.",
    "recipient-unavailable": "{chat} cannot be reached at the moment.",
    "item-not-found": "The address {chat} does not exist.",
    "jid-malformed": "The address {chat} is not valid there.",
    "gone": "The address {chat} no longer exists.",
    "remote-server-not-found": "The server of {chat} cannot be found.",
    "remote-server-timeout": "The server of {chat} did not answer.",
    "not-acceptable": "You have blocked {chat}, or they take no such messages from you. If you have"
    " blocked them, write `unblock {chat}` to the bot first.",
    "forbidden": "{chat} does not accept messages from you.",
    "not-allowed": "{chat} does not accept messages from you.",
    "not-authorized": "{chat} accepts messages only from contacts it knows.",
    "registration-required": "{chat} accepts messages only after registration.",
    "subscription-required": "{chat} accepts messages only from contacts it has approved.",
    "resource-constraint": "{chat} or its server has no room for more messages; try again later.",
    "policy-violation": "The server refused the message: it breaks a rule there (size, rate or"
    " content).",
    "internal-server-error": "The server of {chat} has a fault; try again later.",
}


def failure_reason(error: Element, chat: str) -> str:
    """A sentence for the user about a stanza error (RFC 6120, section 8.3)."""
    if error.find(BLOCKED) is not None:
        return (
            f"You have blocked {chat}. To write to them, write `unblock {chat}` to the bot first."
        )
    condition, text = "", ""
    for child in error:
        if child.tag == f"{STANZAS}text":
            text = " ".join((child.text or "").split())[:_TEXT_CHARACTERS]
        elif child.tag.startswith(STANZAS) and not condition:
            condition = child.tag.removeprefix(STANZAS)
    sentence = _REASONS.get(condition)
    if sentence is None:
        named = f" ({condition})" if re.fullmatch(r"[a-z-]{1,40}", condition) else ""
        sentence = f"{{chat}} did not get the message{named}."
    sentence = sentence.format(chat=chat)
    return f"{sentence} The server says: {text}" if text else sentence
