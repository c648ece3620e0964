"""Formatting codes of IRC (as mIRC began them), to HTML and back.

The rule that must never break: every character of the text reaches the HTML escaped, none is lost but the codes,
and what is opened is closed.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, replace
from typing import Any

from dm_bridge.connectors import markup
from dm_bridge.network.events import Text

BOLD, ITALIC, UNDERLINE, STRIKE, MONOSPACE = "\x02", "\x1d", "\x1f", "\x1e", "\x11"
COLOUR, HEX_COLOUR, REVERSE, RESET = "\x03", "\x04", "\x16", "\x0f"
_CODE = re.compile(
    "\x03(?P<fore>[0-9]{1,2})?(?(fore)(?:,(?P<back>[0-9]{1,2}))?)"
    "|\x04(?P<hex>[0-9A-Fa-f]{6})?(?(hex)(?:,(?P<hexback>[0-9A-Fa-f]{6}))?)"
    "|[\x02\x1d\x1f\x1e\x11\x16\x0f]"
)
_UNCOLOURED = f"{COLOUR}99,99"
_TOGGLES = {
    BOLD: "bold",
    ITALIC: "italic",
    UNDERLINE: "underline",
    STRIKE: "strike",
    MONOSPACE: "monospace",
}
_TAGS = (
    ("bold", "strong"),
    ("italic", "em"),
    ("underline", "u"),
    ("strike", "del"),
    ("monospace", "code"),
)
_OTHER_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
COLOURS = (
    "ffffff", "000000", "00007f", "009300", "ff0000", "7f0000", "9c009c", "fc7f00",
    "ffff00", "00fc00", "009393", "00ffff", "0000fc", "ff00ff", "7f7f7f", "d2d2d2",
)  # fmt: skip
"""The sixteen colours; those beyond are not shown."""


@dataclass(frozen=True, slots=True)
class _Style:
    bold: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    monospace: bool = False
    fore: str = ""
    back: str = ""


def to_text(line: str, *, emote: bool = False) -> Text:
    """What a line of IRC says: without codes, and as HTML if any of it is formatted."""
    plain: list[str] = []
    marked: list[str] = []
    style, styled, position = _Style(), False, 0
    for code in [*_CODE.finditer(line), None]:
        chunk = line[position : code.start() if code else len(line)]
        chunk = _OTHER_CONTROLS.sub("", chunk)
        if chunk:
            plain.append(chunk)
            styled |= style != _Style()
            marked.append(_marked(chunk, style))
        if code:
            position = code.end()
            style = _changed(style, code)
    return Text("".join(plain), "".join(marked) if styled else None, emote)


def strip(line: str) -> str:
    """The line without codes."""
    return to_text(line).body


def carried(line: str) -> str:
    """The codes that are in force at the end of a line of `from_text`."""
    marks, colour = "", ""
    for code in _CODE.finditer(line):
        if code[0] in _TOGGLES:
            marks = marks.replace(code[0], "") if code[0] in marks else marks + code[0]
        elif code[0][0] == COLOUR:
            colour = "" if code[0] == _UNCOLOURED else code[0]
    return marks + colour


def _changed(style: _Style, code: re.Match[str]) -> _Style:
    first = code[0][0]
    if first in _TOGGLES:
        name = _TOGGLES[first]
        toggled: dict[str, Any] = {name: not getattr(style, name)}
        return replace(style, **toggled)
    if first == COLOUR:
        return _coloured(style, _colour(code["fore"]), _colour(code["back"]))
    if first == HEX_COLOUR:
        return _coloured(style, code["hex"], code["hexback"])
    if first == REVERSE:
        return replace(style, fore=style.back, back=style.fore)
    return _Style()


def _coloured(style: _Style, fore: str | None, back: str | None) -> _Style:
    if fore is None:
        return replace(style, fore="", back="")
    return replace(style, fore=fore, back=style.back if back is None else back)


def _colour(number: str | None) -> str | None:
    if number is None:
        return None
    return COLOURS[int(number)] if int(number) < len(COLOURS) else ""


def _marked(text: str, style: _Style) -> str:
    out = html.escape(text, quote=False)
    for name, tag in reversed(_TAGS):
        if getattr(style, name):
            out = f"<{tag}>{out}</{tag}>"
    colours = ""
    if style.fore:
        colours += f' data-mx-color="#{style.fore}"'
    if style.back:
        colours += f' data-mx-bg-color="#{style.back}"'
    return f"<span{colours}>{out}</span>" if colours else out


def _painted(colour: str, line: str) -> str:
    """Both numbers are always given: a comma or digit in the text is then none of theirs."""
    wanted = bytes.fromhex(colour)
    distance = [
        sum((a - b) ** 2 for a, b in zip(wanted, bytes.fromhex(one), strict=True))
        for one in COLOURS
    ]
    return f"{COLOUR}{distance.index(min(distance)):02},99{line}{_UNCOLOURED}"


_NOTATION = markup.Notation(
    marks={
        **dict.fromkeys(("b", "strong"), BOLD),
        **dict.fromkeys(("i", "em"), ITALIC),
        **dict.fromkeys(("s", "del", "strike"), STRIKE),
        **dict.fromkeys(("u", "ins"), UNDERLINE),
        **dict.fromkeys(("code", "tt", "kbd"), MONOSPACE),
    },
    heading=BOLD,
    coloured=_painted,
)


def from_text(text: Text) -> str:
    """What to send for a message, with line breaks; control characters of its own are dropped."""
    if text.html is not None:
        clean = _OTHER_CONTROLS.sub("", text.html)
        formatted = markup.from_html(clean, _NOTATION)
        if formatted:
            return formatted
    return _OTHER_CONTROLS.sub("", text.body)
