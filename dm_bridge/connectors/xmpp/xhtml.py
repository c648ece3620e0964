"""XHTML-IM (XEP-0071): the formatted text that older clients and gateways put beside the body. Read only; pure.

The rule that must never break: tags and attributes are those named here, and every character of a text is escaped.
"""

# tinycss2 has no annotations.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import escape
from typing import Any
from xml.etree.ElementTree import Element

import tinycss2
import tinycss2.color3

from dm_bridge.connectors.xmpp.languages import chosen

NAMESPACE = "http://jabber.org/protocol/xhtml-im"
FEATURES = (NAMESPACE,)
"""What service discovery says of this."""
MAX_DEPTH = 30
"""Elements nested deeper leave their text only."""
MAX_STYLE = 1_000
"""Characters of a style; longer ones are not read."""

_HTML = f"{{{NAMESPACE}}}html"
_XHTML = "{http://www.w3.org/1999/xhtml}"
_LINES = {"p", "div"}
_FORMATS = {
    "b", "blockquote", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "i", "li", "ol", "pre",
    "s", "strike", "strong", "sub", "sup", "u", "ul",
}  # fmt: skip
_ALIKE = {
    **dict.fromkeys(("cite", "dfn", "var"), "em"),
    **dict.fromkeys(("kbd", "samp", "tt"), "code"),
    "ins": "u",
}
_LANGUAGE = re.compile(r"language-[A-Za-z0-9+#_.-]{1,32}\Z")
_DROPPED = {"head", "object", "script", "style", "title"}
_BLACK = "#000000"
"""Said by clients that write black on white about all that they send; on a dark ground it cannot be read."""

_Wanted = Callable[[str], bool]
_STYLES: dict[str, list[tuple[_Wanted, str]]] = {
    "font-weight": [
        (lambda said: said in ("bold", "bolder", "600", "700", "800", "900"), "strong")
    ],
    "font-style": [(lambda said: said in ("italic", "oblique"), "em")],
    "text-decoration": [
        (lambda said: "underline" in said.split(), "u"),
        (lambda said: "line-through" in said.split(), "del"),
    ],
}
_COLOURS = {
    "color": "data-mx-color",
    "background": "data-mx-bg-color",
    "background-color": "data-mx-bg-color",
}


def formatted(stanza: Element, *, emote: bool = False) -> str | None:
    """The formatted text of a stanza in the subset that Matrix recommends; None when it has none.

    ``emote``: without the ``/me`` that it begins with.
    """
    body = chosen(stanza.findall(f"{_HTML}/{_XHTML}body"))
    if body is None:
        return None
    reader = _Reader("/me " if emote else "")
    text = reader.inside(body, 0).strip()
    return text if reader.formats and "".join(body.itertext()).strip() else None


class _Reader:
    """``formats``: whether anything was more than plain lines. ``prefix``: left out of the first text."""

    def __init__(self, prefix: str) -> None:
        self.formats = False
        self._prefix = prefix

    def inside(self, element: Element, depth: int) -> str:
        """What an element holds."""
        parts = [self._text(element.text)]
        for child in element:
            parts += [self._element(child, depth + 1), self._text(child.tail)]
        return "".join(parts)

    def _text(self, text: str | None) -> str:
        if not text or not text.strip():
            return text or ""
        if self._prefix:
            text, self._prefix = text.lstrip().removeprefix(self._prefix), ""
        return escape(text, quote=False)

    def _element(self, element: Element, depth: int) -> str:
        name = element.tag.removeprefix(_XHTML) if isinstance(element.tag, str) else ""
        if depth > MAX_DEPTH:
            return self._text("".join(element.itertext()))
        match name:
            case "br" | "hr":
                return f"<{name}>"
            case "img":
                return self._image(element)
            case _ if name in _DROPPED:
                return ""
        shown = self.inside(element, depth)
        if not shown:
            return ""
        for opening, closing in reversed(list(_styles(element.get("style", "")))):
            shown = f"{opening}{shown}{closing}"
            self.formats = True
        if name == "a":
            return self._link(element.get("href", ""), shown)
        tag = _ALIKE.get(name, name)
        self.formats |= tag in _FORMATS
        if tag == "code" and _LANGUAGE.match(element.get("class", "")):
            return f'<code class="{element.get("class")}">{shown}</code>'
        return f"<{tag}>{shown}</{tag}>" if tag in _FORMATS | _LINES else shown

    def _image(self, element: Element) -> str:
        """Pictures are named, not fetched."""
        words, source = element.get("alt", "").strip(), element.get("src", "")
        if source.startswith(("http://", "https://")):
            return self._link(source, escape(words or source, quote=False))
        return self._text(words)

    def _link(self, target: str, shown: str) -> str:
        """Only one that says something else than where it leads is formatting."""
        self.formats |= escape(target, quote=False) != shown
        return f'<a href="{escape(target)}">{shown}</a>'


def _styles(style: str) -> Iterator[tuple[str, str]]:
    """The tags, opening and closing, that show a style (CSS 2), the outermost first."""
    if not style or len(style) > MAX_STYLE:
        return
    said: dict[str, Any] = {
        each.lower_name: each.value
        for each in tinycss2.parse_declaration_list(style, skip_comments=True, skip_whitespace=True)
        if each.type == "declaration"
    }
    colours = {
        attribute: colour
        for name, attribute in _COLOURS.items()
        if (colour := _colour(said.get(name, []))) is not None
    }
    if colours and colours != {"data-mx-color": _BLACK}:
        attributes = "".join(f' {name}="{colour}"' for name, colour in colours.items())
        yield f"<span{attributes}>", "</span>"
    for name, choices in _STYLES.items():
        value = tinycss2.serialize(said.get(name, [])).strip().lower()
        for wanted, tag in choices:
            if wanted(value):
                yield f"<{tag}>", f"</{tag}>"


def _colour(tokens: list[Any]) -> str | None:
    """The first colour of a value, as ``#rrggbb``; None when there is none, or one sees through it."""
    for token in tokens:
        colour = tinycss2.color3.parse_color(token)
        if isinstance(colour, tuple) and colour.alpha:
            parts = (round(255 * min(max(part, 0.0), 1.0)) for part in colour[:3])
            return "#" + "".join(f"{part:02x}" for part in parts)
    return None
