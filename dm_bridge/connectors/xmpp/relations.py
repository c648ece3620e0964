"""Messages that are about other messages: corrections, retractions, reactions, replies. Pure.

XEP-0308 (correction), XEP-0424 (retraction, also of version 0.3), XEP-0444 (reactions), XEP-0461 (replies), with
the fallbacks of XEP-0428.

The rule that must never break: text that is there only for clients that know none of this is not taken for what
somebody said.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from dm_bridge.ids import RemoteId
from dm_bridge.texts import phrase

CLIENT = "{jabber:client}"
_CORRECT = "{urn:xmpp:message-correct:0}replace"
_RETRACT = "{urn:xmpp:message-retract:1}retract"
_OLD_RETRACT = "{urn:xmpp:message-retract:0}retract"
_FASTEN = "{urn:xmpp:fasten:0}apply-to"
_REACTIONS = "{urn:xmpp:reactions:0}reactions"
_REACTION = "{urn:xmpp:reactions:0}reaction"
_REPLY = "{urn:xmpp:reply:0}reply"
_FALLBACK = "{urn:xmpp:fallback:0}fallback"
_FALLBACK_BODY = "{urn:xmpp:fallback:0}body"
_STORE = "{urn:xmpp:hints}store"
REPLY_NAMESPACE = "urn:xmpp:reply:0"
_RETRACT_NAMESPACE = "urn:xmpp:message-retract:1"

FEATURES = (
    "urn:xmpp:message-correct:0",
    "urn:xmpp:message-retract:1",
    "urn:xmpp:message-retract:0",
    "urn:xmpp:reactions:0",
    "urn:xmpp:reply:0",
    "urn:xmpp:fallback:0",
)
"""What service discovery says of all this."""
MAX_REACTIONS = 50
_MAX_EMOJI = 100
_MAX_QUOTE = 300


@dataclass(frozen=True, slots=True)
class Reactions:
    """All that somebody has to say about a message with emojis."""

    target: RemoteId
    emojis: tuple[str, ...]


def corrected(stanza: Element) -> RemoteId | None:
    """Which message a stanza corrects."""
    return _target(stanza.find(_CORRECT))


def retracted(stanza: Element) -> RemoteId | None:
    """Which message a stanza retracts."""
    found = _target(stanza.find(_RETRACT))
    fastened = stanza.find(_FASTEN)
    if found is None and fastened is not None and fastened.find(_OLD_RETRACT) is not None:
        return _target(fastened)
    return found


def reactions(stanza: Element) -> Reactions | None:
    """What a stanza reacts with, to which message."""
    element = stanza.find(_REACTIONS)
    target = _target(element)
    if element is None or target is None:
        return None
    texts = ((each.text or "").strip() for each in element.findall(_REACTION))
    emojis = dict.fromkeys(text for text in texts if text and len(text) <= _MAX_EMOJI)
    return Reactions(target, tuple(emojis)[:MAX_REACTIONS])


def answered(stanza: Element) -> RemoteId | None:
    """Which message a stanza answers."""
    return _target(stanza.find(_REPLY))


def author_answered(stanza: Element) -> str:
    """Who wrote the message that a stanza answers, as it says; "" where it says nothing."""
    element = stanza.find(_REPLY)
    return "" if element is None else element.get("to", "")


def without_quote(stanza: Element, body: str) -> str:
    """``body`` without the quote of the message that it answers; as it is where nothing else would be left."""
    spans = fallbacks(stanza, body, REPLY_NAMESPACE)
    return without(body, spans[:1]).strip("\n") or body


def quoted(stanza: Element, body: str) -> str:
    """What `without_quote` leaves out, without its marks; "" where nothing is answered, or nothing left out."""
    spans = fallbacks(stanza, body, REPLY_NAMESPACE)[:1]
    if answered(stanza) is None or not spans or not without(body, spans).strip():
        return ""
    lines = body[slice(*spans[0])].strip("\n").split("\n")
    return _short("\n".join(line.removeprefix(">").removeprefix(" ") for line in lines))


def fallbacks(stanza: Element, body: str, *namespaces: str) -> list[tuple[int, int]]:
    """The parts of ``body`` that are there only for clients that do not know one of these namespaces.

    Positions are code points (XEP-0428, section 3.1); without any, it is the whole body. Corrections by Converse
    have the positions of the first version's quote, and no quote any more: such a part stays.
    """
    spans = []
    edited = corrected(stanza) is not None
    for fallback in stanza.findall(_FALLBACK):
        if fallback.get("for") not in namespaces:
            continue
        if edited and fallback.get("for") == REPLY_NAMESPACE and not body.startswith(">"):
            continue
        if not len(fallback):
            spans.append((0, len(body)))
        for span in fallback.findall(_FALLBACK_BODY):
            start, end = _number(span.get("start", "0")), _number(span.get("end", str(len(body))))
            if start is not None and end is not None and start < end <= len(body):
                spans.append((start, end))
    return spans


def without(body: str, spans: list[tuple[int, int]]) -> str:
    """``body`` without these parts of it, which may overlap."""
    kept, position = [], 0
    for start, end in sorted(spans):
        kept.append(body[position:start])
        position = max(position, end)
    return "".join(kept) + body[position:]


def fallback(namespace: str, start: int | None = None, end: int | None = None) -> Element:
    """What says which part of a body is there only for clients that do not know ``namespace``; None: all of it."""
    element = Element(_FALLBACK, {"for": namespace})
    span = {} if start is None or end is None else {"start": str(start), "end": str(end)}
    SubElement(element, _FALLBACK_BODY, span)
    return element


def correction(target: str) -> list[Element]:
    """What makes a message a correction of another one."""
    return [Element(_CORRECT, {"id": target})]


def retraction(target: str) -> list[Element]:
    """The payload of a retraction, also as version 0.3 has it; clients that know neither show its text."""
    body = Element(f"{CLIENT}body")
    body.text = phrase("xmpp-taken-back")
    only = Element(_FALLBACK, {"for": _RETRACT_NAMESPACE})
    old = Element(_FASTEN, {"id": target})
    SubElement(old, _OLD_RETRACT)
    return [Element(_RETRACT, {"id": target}), old, body, only, Element(_STORE)]


def reaction(target: str, emojis: tuple[str, ...]) -> list[Element]:
    """The payload of reactions: all of them."""
    element = Element(_REACTIONS, {"id": target})
    for emoji in emojis:
        SubElement(element, _REACTION).text = emoji
    return [element, Element(_STORE)]


def reply(target: str, author: str) -> list[Element]:
    """What makes a message an answer. ``author``: the JID of who wrote the other one."""
    return [Element(_REPLY, {"id": target, "to": author})]


def quoting(text: str, body: str) -> tuple[str, list[Element]]:
    """``body`` after a quote of ``text``, and what tells clients that know replies to leave the quote out."""
    quote = "".join(f"> {line}\n" for line in _short(text).split("\n"))
    return quote + body, [fallback(REPLY_NAMESPACE, 0, len(quote))]


def _short(text: str) -> str:
    return text if len(text) <= _MAX_QUOTE else text[: _MAX_QUOTE - 1] + "…"


def _target(element: Element | None) -> RemoteId | None:
    target = None if element is None else element.get("id")
    return RemoteId(target) if target else None


def _number(text: str | None) -> int | None:
    return (
        int(text)
        if text is not None and text.isascii() and text.isdigit() and len(text) < 8
        else None
    )
