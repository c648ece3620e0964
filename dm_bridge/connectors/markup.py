"""From Matrix HTML to text, with the marks that a network's notation has for what is formatted.

The rule that must never break: any input ends in text, in time proportional to its length; tags it
does not know leave their text behind.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dm_bridge.texts import phrase

MAX_DEPTH = 100
"""Elements nested deeper are read as if their tags were not there (as the Matrix specification asks)."""
MAX_INDENTED = 16
"""Quotes and list items nested deeper are not indented further."""
MAX_CHARACTERS = 1 << 18
"""Longer input is cut; a Matrix event holds 64 KiB."""

_SPACES = re.compile(r"[ \t\n\r\f]+")
_TAG = re.compile(
    r"""<(/?)([A-Za-z][A-Za-z0-9-]{0,31})((?:[^<>"']|"[^"]{0,4000}"|'[^']{0,4000}')*+)>"""
)
_BLANKS = " \t\n\r\f\v\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""What Python strips, but for \\x1c to \\x1f: those are italics, strikethrough and underlining on IRC."""
_ATTRIBUTE = re.compile(r"""([A-Za-z-]{1,32})\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))""")
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_LISTS = {"ul", "ol"}
_INDENTED = {"blockquote", "li"}
_GAPS = {
    "p": 2,
    **dict.fromkeys(
        ("div", "li", "table", "caption", "summary", "details", "blockquote", "pre"), 1
    ),
    **dict.fromkeys(("thead", "tbody", "tfoot", "tr"), 1),
    **dict.fromkeys((*_HEADINGS, *_LISTS), 1),
}
_DROPPED = {"mx-reply", "script", "style", "head", "template", "title"}
_COLOUR = re.compile(r"#([0-9A-Fa-f]{6})\Z")
_LANGUAGE = re.compile(r"language-([A-Za-z0-9+#_.-]{1,32})\Z")


@dataclass(frozen=True, slots=True)
class Notation:
    """How a network writes what is formatted.

    ``marks``: by tag, what is put before and after each line of it. ``heading``: the same for headings.
    ``fence``: the line before and after code; None: each line of it is marked like ``code``.
    ``coloured``: given ``rrggbb`` and a line, the line in that colour.
    """

    marks: Mapping[str, str]
    heading: str
    fence: str | None = None
    coloured: Callable[[str, str], str] | None = None


def from_html(markup: str, notation: Notation) -> str:
    """``markup`` as text in ``notation``; empty when nothing of it can be read.

    The standard library's HTML parser is not used: it raises on some malformed declarations, and
    takes quadratic time on others.
    """
    markup = _without_comments(markup[:MAX_CHARACTERS])
    converter = _Converter(notation)
    position = 0
    for tag in _TAG.finditer(markup):
        converter.data(html.unescape(markup[position : tag.start()]))
        position = tag.end()
        name = tag[2].lower()
        if tag[1]:
            converter.end(name)
        else:
            converter.start(name, tag[3])
    converter.data(html.unescape(markup[position:]))
    return converter.text()


def covered(text: str, reason: str) -> str:
    """``text``, of a spoiler, after a word of warning: few networks can hide a part of a message."""
    why = " ".join(reason.split())
    if why:
        return phrase("connector-spoiler-why", why=why, text=text)
    return phrase("connector-spoiler", text=text)


def _without_comments(markup: str) -> str:
    out: list[str] = []
    position = 0
    while (start := markup.find("<!--", position)) != -1:
        end = markup.find("-->", start + 4)
        if end == -1:
            break
        out.append(markup[position:start])
        position = end + 3
    out.append(markup[position:])
    return "".join(out)


def _attributes(text: str) -> dict[str, str]:
    return {
        match[1].lower(): html.unescape(match[2] or match[3] or match[4] or "")
        for match in _ATTRIBUTE.finditer(text)
    }


@dataclass(slots=True)
class _Element:
    """An open element. ``gap``: line breaks due before anything else is added."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    gap: int = 0
    items: int = 0
    last: str = ""

    def add(self, text: str) -> None:
        if self.gap and text.strip(_BLANKS):
            self._append("\n" * (self.gap - _trailing_breaks(self.last, self.gap)))
            self.gap = 0
            text = text.lstrip(" ")
        elif self.gap:
            return
        elif text[:1] == " " and self.last[-1:] in (" ", "\n"):
            text = text.lstrip(" ")
        self._append(text)

    def add_raw(self, text: str) -> None:
        self._append(text)

    def add_block(self, text: str, gap: int) -> None:
        if not text.strip(_BLANKS):
            return
        if self.last:
            self.gap = max(self.gap, gap)
            if self.gap:
                self._append("\n" * max(0, self.gap - _trailing_breaks(self.last, self.gap)))
        self._append(text)
        self.gap = gap

    def break_line(self) -> None:
        if self.gap:
            self._append("\n" * max(0, self.gap - _trailing_breaks(self.last, self.gap)))
            self.gap = 0
        self._append("\n")

    def _append(self, text: str) -> None:
        if text:
            self.parts.append(text)
            self.last = (self.last + text)[-2:]

    def text(self) -> str:
        return "".join(self.parts)


def _trailing_breaks(text: str, limit: int) -> int:
    return min(limit, len(text) - len(text.rstrip("\n")))


class _Converter:
    def __init__(self, notation: Notation) -> None:
        self._notation = notation
        self._stack = [_Element("")]
        self._preformatted = 0

    def text(self) -> str:
        while len(self._stack) > 1:
            self._close()
        lines = self._stack[0].text().split("\n")
        return "\n".join(line.rstrip(" ") for line in lines).strip(_BLANKS)

    def start(self, tag: str, attributes: str) -> None:
        match tag:
            case "br":
                self._stack[-1].break_line()
            case "hr":
                self._stack[-1].add_block("———", 1)
            case "img":
                found = _attributes(attributes)
                self._stack[-1].add(found.get("alt") or found.get("title") or "")
            case _ if len(self._stack) <= MAX_DEPTH:
                if tag in ("td", "th") and self._stack[-1].parts:
                    self._stack[-1].add(" | ")
                if tag in _INDENTED and self._indented() >= MAX_INDENTED:
                    tag = "div"
                self._preformatted += tag == "pre"
                self._stack.append(_Element(tag, _attributes(attributes)))

    def _indented(self) -> int:
        return sum(element.tag in _INDENTED for element in self._stack)

    def end(self, tag: str) -> None:
        if any(element.tag == tag for element in self._stack[1:]):
            while self._close() != tag:
                pass

    def data(self, data: str) -> None:
        if self._preformatted:
            self._stack[-1].add_raw(data)
        else:
            self._stack[-1].add(_SPACES.sub(" ", data))

    def _close(self) -> str:
        element = self._stack.pop()
        self._preformatted -= element.tag == "pre"
        parent = self._stack[-1]
        tag, text = element.tag, element.text()
        if tag in _DROPPED:
            return tag
        if tag in self._notation.marks and not self._preformatted:
            self._add_inline(parent, self._marked(tag, text))
        elif tag in _HEADINGS:
            parent.add_block(_wrapped(text.strip(_BLANKS), self._notation.heading), 1)
        elif tag == "a":
            self._add_inline(parent, _link(text, element.attributes.get("href")))
        elif tag == "span" and "data-mx-spoiler" in element.attributes:
            reason = element.attributes["data-mx-spoiler"]
            hides = text.strip(_BLANKS) and not self._preformatted
            self._add_inline(parent, covered(text, reason) if hides else text)
        elif tag in ("font", "span"):
            self._add_inline(parent, self._coloured(element, text))
        elif tag == "pre":
            parent.add_block(self._code(element, text), 1)
        elif tag == "code" and parent.tag == "pre":
            parent.attributes.setdefault("class", element.attributes.get("class", ""))
            parent.add_raw(text)
        elif tag == "blockquote":
            parent.add_block(
                "\n".join(_quoted(line) for line in text.strip(_BLANKS).split("\n")), 1
            )
        elif tag == "li":
            parent.items += 1
            parent.add_block(_item(parent, text), 1)
        elif tag in _GAPS:
            parent.add_block(
                text.strip("\n") if self._preformatted else text.strip(_BLANKS), _GAPS[tag]
            )
        else:
            self._add_inline(parent, text)
        return tag

    def _add_inline(self, parent: _Element, text: str) -> None:
        if self._preformatted:
            parent.add_raw(text)
        else:
            parent.add(text)

    def _marked(self, tag: str, text: str) -> str:
        marks, heading = self._notation.marks, self._notation.heading
        marker = marks[tag]
        active = {marks.get(element.tag) for element in self._stack}
        active |= {heading} if any(element.tag in _HEADINGS for element in self._stack) else set()
        return text if marker in active or marks["code"] in active else _wrapped(text, marker)

    def _code(self, element: _Element, text: str) -> str:
        fence, content = self._notation.fence, text.strip("\n")
        if fence is None:
            return _wrapped(content, self._notation.marks["code"])
        match = _LANGUAGE.match(element.attributes.get("class", ""))
        return f"{fence}{match[1] if match else ''}\n{content}\n{fence}"

    def _coloured(self, element: _Element, text: str) -> str:
        colour = _COLOUR.match(element.attributes.get("data-mx-color", ""))
        paint = self._notation.coloured
        if colour is None or paint is None or self._preformatted:
            return text
        return "\n".join(paint(colour[1], line) if line else line for line in text.split("\n"))


def _wrapped(text: str, marker: str) -> str:
    """Put ``marker`` around each line of ``text``, spaces left outside, where that can be read back."""
    out: list[str] = []
    for line in text.split("\n"):
        core = line.strip(_BLANKS)
        if not core or marker in core:
            out.append(line)
        else:
            before, _, after = line.partition(core)
            out.append(f"{before}{marker}{core}{marker}{after}")
    return "\n".join(out)


def _link(text: str, href: str | None) -> str:
    if not href or href.startswith(("https://matrix.to/#/", "matrix:u/")):
        return text
    label = text.strip(_BLANKS)
    if not label:
        return href
    shown = href.removeprefix("mailto:")
    return text if label in (href, shown) else f"{text} ({href})"


def _quoted(line: str) -> str:
    return f">{line}" if line.startswith(">") else f"> {line}".rstrip(_BLANKS)


def _item(parent: _Element, text: str) -> str:
    bullet = "• "
    if parent.tag == "ol":
        start = parent.attributes.get("start", "1")
        first = int(start) if start.isascii() and start.isdigit() and len(start) < 6 else 1
        bullet = f"{first + parent.items - 1}. "
    return bullet + text.strip(_BLANKS).replace("\n", "\n" + " " * len(bullet))
