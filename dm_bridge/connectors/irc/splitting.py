"""A message as texts that each fit into one line.

The rule that must never break: nothing but line breaks and the blanks at which a line is broken is lost, and no
piece is longer than was allowed or ends within a character or a formatting code.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_BREAKS = re.compile(
    r"\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]"
)  # but \x1d and \x1e: italics and strikethrough
_JOINER = "\u200d"
_COLOUR = re.compile("\x03[0-9]{1,2}(?:,[0-9]{1,2})?")
_LONGEST = len("\x0300,00")


def split(text: str, limit: int, carried: Callable[[str], str] = lambda piece: "") -> list[str]:
    """``text`` in pieces of at most ``limit`` bytes of UTF-8 (four at least), none of them empty.

    Breaks at line breaks, then at blanks, and within a word only where the word alone is too long; then not
    within what is shown as one character, if that fits. ``carried``: with what a line has to begin again that
    goes on after a piece (formatting ends with a line).
    """
    if limit < 4:
        raise ValueError("no room for a character")
    pieces: list[str] = []
    for line in _BREAKS.split(text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")):
        rest, again = line.rstrip(" "), ""
        while len(rest.encode()) > limit:
            piece, rest = _cut(rest, limit, len(again))
            if piece:
                pieces.append(piece)
            again = carried(piece)
            if 2 * len(again) > limit:
                again = ""
            rest = again + rest
        if rest:
            pieces.append(rest)
    return pieces


def _cut(text: str, limit: int, start: int) -> tuple[str, str]:
    """A piece, and the rest. At ``start`` begins what is to be cut."""
    fitting = text.encode()[:limit].decode("utf-8", "ignore")
    if text[len(fitting)] == " ":
        return fitting.rstrip(" "), text[len(fitting) :].lstrip(" ")
    if not fitting[start:].strip(" "):
        return "", text[start:].lstrip(" ")
    blank = fitting.rstrip(" ").rfind(" ") if not fitting.endswith(" ") else len(fitting) - 1
    head = fitting[:blank].rstrip(" ") if blank > start else ""
    if head:
        return head, text[blank + 1 :].lstrip(" ")
    end = len(fitting)
    for code in _COLOUR.finditer(text, max(start, end - _LONGEST), end + _LONGEST):
        if start < code.start() < end < code.end():
            end = code.start()
    while end > start and _continues(text, end):
        end -= 1
    end = end if end > start else len(fitting)
    return text[:end], text[end:]


def _continues(text: str, index: int) -> bool:
    """Whether what begins at ``index`` belongs to the character before it."""
    char = text[index]
    return (
        bool(unicodedata.combining(char))
        or char == _JOINER
        or text[index - 1] == _JOINER
        or "\ufe00" <= char <= "\ufe0f"
        or "\U0001f3fb" <= char <= "\U0001f3ff"
    )
