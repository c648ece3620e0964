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
from dm_bridge.network.events import Text

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
    spoiler = chosen(stanza.findall(_SPOILER))
    if spoiler is None or not said.body.strip():
        return said
    hint = " ".join((spoiler.text or "").split())[:MAX_HINT]
    shown = said.html
    if shown is None:
        shown = escape(said.body, quote=False).replace("\n", "<br>")
    reason = f'="{escape(hint)}"' if hint else ""
    return replace(
        said,
        body=covered(said.body, hint),
        html=f"<span data-mx-spoiler{reason}>{shown}</span>",
    )


def hiding(html: str | None) -> list[Element]:
    """What hides a message of which a part is a spoiler in ``html``, behind the reason that is given first."""
    reasons = [unescape(match[1] or "").strip() for match in _REASON.finditer(html or "")]
    if not reasons:
        return []
    element = Element(_SPOILER)
    element.text = xml_text(next(filter(None, reasons), "")[:MAX_HINT]) or None
    return [element]
