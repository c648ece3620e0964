"""What is not to be seen at once: XEP-0382, and spoilers of Matrix (client-server API, "Spoiler messages"). Pure.

On XMPP a whole message is hidden, behind a hint; in Matrix any part of one.

The rule that must never break: what somebody said is there for every client, after a word of warning where it
cannot be hidden.
"""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape, unescape
from xml.etree.ElementTree import Element

from dm_bridge.connectors.markup import covered
from dm_bridge.connectors.xmpp.characters import xml_text
from dm_bridge.connectors.xmpp.languages import chosen
from dm_bridge.connectors.xmpp.relations import fallback
from dm_bridge.network.events import Text
from dm_bridge.texts import phrase

NAMESPACE = "urn:xmpp:spoiler:0"
FEATURES = (NAMESPACE,)
"""What service discovery says of this."""
_SPOILER = f"{{{NAMESPACE}}}spoiler"
_REASON = re.compile(
    r'<span(?: data-mx-(?:bg-)?color="[^"<>]{0,20}")* data-mx-spoiler(?:="([^"]*)")?'
)
MAX_HINT = 200
"""Characters of a hint."""


def hidden(stanza: Element, said: Text) -> Text:
    """``said``, which is all that a stanza says, as a spoiler if its author wants it to be one."""
    reason = hint(stanza)
    if reason is None or not said.body.strip():
        return said
    shown = said.html
    if shown is None:
        shown = escape(said.body, quote=False).replace("\n", "<br>")
    given = f'="{escape(reason)}"' if reason else ""
    return replace(
        said,
        body=covered(said.body, reason),
        html=f"<span data-mx-spoiler{given}>{shown}</span>",
    )


def hint(stanza: Element) -> str | None:
    """Why what a stanza says or shares is to be hidden, "" where its author does not say; None: it is not."""
    spoiler = chosen(stanza.findall(_SPOILER))
    return None if spoiler is None else " ".join((spoiler.text or "").split())[:MAX_HINT]


def hiding(html: str | None) -> list[Element]:
    """What hides a message of which a part is a spoiler in ``html``, behind the reason that is given first."""
    reasons = [unescape(match[1] or "").strip() for match in _REASON.finditer(html or "")]
    return [_spoiler(next(filter(None, reasons), ""))] if reasons else []


def hiding_file(payload: list[Element], said: str, reason: str | None) -> tuple[str, list[Element]]:
    """What hides a file behind ``reason``, if there is one: a warning in its body after ``said``, and elements.

    Nothing where something in the ``payload`` of its message hides all of it.
    """
    if reason is None or any(element.tag == _SPOILER for element in payload):
        return said, []
    reason = xml_text(reason)
    warning = phrase("xmpp-spoiler-why", why=reason) if reason else phrase("xmpp-spoiler")
    warned = f"{said}\n{warning}" if said else warning
    return warned, [_spoiler(reason), fallback(NAMESPACE, len(said), len(warned))]


def _spoiler(reason: str) -> Element:
    element = Element(_SPOILER)
    element.text = xml_text(reason[:MAX_HINT]) or None
    return element
