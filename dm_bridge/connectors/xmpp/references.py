"""Who is mentioned in a message (XEP-0372). Pure: trees in, values out, and back.

The rule that must never break: a reference adds to a message, and never changes what it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import quote, unquote
from xml.etree.ElementTree import Element

NAMESPACE = "urn:xmpp:reference:0"
MAX_REFERENCES = 50
"""Of one message; more are passed over."""
_REFERENCE = f"{{{NAMESPACE}}}reference"
_SCHEME = "xmpp:"
_PILL = re.compile(r'<a href="(?:https://matrix\.to/#/(?:@|%40)|matrix:u/)[^"]*">([^<]*)</a>')


def mentioned(stanza: Element) -> Iterator[str]:
    """The JIDs that a message mentions (section 3.1); as they are in it, so they may be malformed."""
    for reference in stanza.findall(_REFERENCE)[:MAX_REFERENCES]:
        uri = reference.get("uri", "")
        if reference.get("type") == "mention" and uri.startswith(_SCHEME):
            yield unquote(uri.removeprefix(_SCHEME).partition("?")[0])


def mention(jid: str, body: str, html: str, length: int) -> Element:
    """Mentions ``jid`` where a link to somebody in ``html`` stands in the last ``length`` characters of ``body``.

    Positions are code points, the end not included; where the name cannot be found, there are none.
    """
    element = Element(_REFERENCE, {"type": "mention", "uri": _SCHEME + quote(jid, safe="@/")})
    pill = _PILL.search(html)
    name = "" if pill is None else unescape(pill[1]).strip()
    begin = body.find(name, len(body) - length) if name else -1
    if begin >= 0:
        element.set("begin", str(begin))
        element.set("end", str(begin + len(name)))
    return element
