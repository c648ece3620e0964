"""Of texts that stand in a stanza in several languages (RFC 6121, section 5.2.3), the one that is read.

The rule that must never break: where there is any, one is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def chosen(texts: Sequence[Element]) -> Element | None:
    """The one without a language if there is one, else the first; None of none."""
    return next((text for text in texts if text.get(_LANG) is None), texts[0] if texts else None)
