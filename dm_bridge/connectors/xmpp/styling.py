"""Message Styling (XEP-0393 1.1.1): from an XMPP body to HTML, and back.

The rule that must never break: every character of the body reaches the HTML escaped, and none is
lost but the directives that became formatting.
"""

from __future__ import annotations

import html
import re
import unicodedata
from dataclasses import dataclass, replace

from dm_bridge.connectors import markup
from dm_bridge.network.events import Text

MAX_QUOTE_DEPTH = 16
"""Quotes nested deeper stay text, ``>`` included."""

_FENCE = "```"
_LANGUAGE = re.compile(r"[A-Za-z0-9+#_.-]{1,32}\Z")
_TAGS = {"*": "strong", "_": "em", "~": "del", "`": "code"}
_NOTATION = markup.Notation(
    marks={
        **dict.fromkeys(("b", "strong"), "*"),
        **dict.fromkeys(("i", "em"), "_"),
        **dict.fromkeys(("s", "del", "strike"), "~"),
        **dict.fromkeys(("code", "tt", "kbd"), "`"),
    },
    heading="*",
    fence=_FENCE,
)


@dataclass(frozen=True, slots=True)
class _Block:
    html: str
    plain: bool
    styled: bool


def from_html(text: str) -> str:
    """HTML as a body with directives; empty when nothing of it can be read."""
    return markup.from_html(text, _NOTATION)


def under_subject(subject: str, text: Text) -> Text:
    """``text``, which may be nothing, under a ``subject`` of one line (RFC 6121, section 5.2.4)."""
    if not text.body:
        return Text(subject, f"<strong>{html.escape(subject, quote=False)}</strong>")
    said = text.html
    if said is None:
        said = html.escape(text.body, quote=False).replace("\n", "<br>")
    shown = f"<strong>{html.escape(subject, quote=False)}</strong><br>{said}"
    return replace(text, body=f"{subject}\n{text.body}", html=shown)


def to_html(body: str) -> str | None:
    """``body`` as HTML in the subset that Matrix recommends, or None when nothing in it is styled."""
    blocks = _blocks(body.replace("\r\n", "\n").split("\n"), 0)
    if not any(block.styled for block in blocks):
        return None
    return _joined(blocks)


def _joined(blocks: list[_Block]) -> str:
    """Lines are separated by breaks; a blank line next to a quote or code block needs none."""
    parts: list[str] = []
    previous: _Block | None = None
    for block in blocks:
        if block.plain and not block.html and previous is not None and not previous.plain:
            continue
        if block.plain and previous is not None and previous.plain:
            parts.append("<br>")
        parts.append(block.html)
        previous = block
    return "".join(parts)


def _blocks(lines: list[str], depth: int) -> list[_Block]:
    blocks: list[_Block] = []
    position = 0
    while position < len(lines):
        line = lines[position]
        start = position
        position += 1
        if line.startswith(_FENCE):
            while position < len(lines) and lines[position] != _FENCE:
                position += 1
            blocks.append(_preformatted(line[len(_FENCE) :], lines[start + 1 : position]))
            position += 1
        elif line.startswith(">") and depth < MAX_QUOTE_DEPTH:
            while position < len(lines) and lines[position].startswith(">"):
                position += 1
            quoted = [_unquoted(quote) for quote in lines[start:position]]
            inner = _joined(_blocks(quoted, depth + 1))
            blocks.append(_Block(f"<blockquote>{inner}</blockquote>", plain=False, styled=True))
        else:
            text, styled = _spans(line)
            blocks.append(_Block(text, plain=True, styled=styled))
    return blocks


def _preformatted(info: str, lines: list[str]) -> _Block:
    """A code block. The text after the fence is dropped only where it names a language."""
    info = info.strip()
    language = ""
    if info and lines and _LANGUAGE.match(info):
        language = f' class="language-{html.escape(info)}"'
    elif info:
        lines = [info, *lines]
    text = html.escape("\n".join(lines), quote=False)
    return _Block(f"<pre><code{language}>{text}\n</code></pre>", plain=False, styled=True)


def _unquoted(line: str) -> str:
    rest = line[1:]
    return rest[1:] if rest and _is_space(rest[0]) else rest


def _spans(text: str) -> tuple[str, bool]:
    """One line as HTML, and whether it holds a styled span.

    Spans are matched lazily from the start. A directive without a closing one stays text, and so
    does every later one of its kind (``hopeless``), which keeps this linear.
    """
    out: list[str] = []
    styled = False
    hopeless: set[str] = set()
    plain_from = position = 0
    may_open = True
    while position < len(text):
        char = text[position]
        if char in _TAGS and may_open and char not in hopeless:
            if text.startswith(char, position + 1):
                position += 2
                may_open = False
                continue
            end = _closing(text, char, position)
            if end is None:
                hopeless.add(char)
            elif end > 0:
                inner = text[position + 1 : end]
                content = html.escape(inner, quote=False) if char == "`" else _spans(inner)[0]
                out.append(html.escape(text[plain_from:position], quote=False))
                out.append(f"<{_TAGS[char]}>{content}</{_TAGS[char]}>")
                styled = True
                plain_from = position = end + 1
                may_open = False
                continue
        may_open = _is_space(char)
        position += 1
    out.append(html.escape(text[plain_from:], quote=False))
    return "".join(out), styled


def _closing(text: str, char: str, opening: int) -> int | None:
    """Where the span opened at ``opening`` ends; 0 when it is none, None when no span can end."""
    if opening + 1 >= len(text):
        return None
    if _is_space(text[opening + 1]):
        return 0
    end = text.find(char, opening + 2)
    while end != -1 and _is_space(text[end - 1]):
        end = text.find(char, end + 1)
    return None if end == -1 else end


def _is_space(char: str) -> bool:
    return char.isspace() or unicodedata.category(char).startswith("Z")
