"""A message as texts that each fit into one line.

The rule that must never break: nothing but line breaks and the blanks at which a line is broken is lost, and no
piece is longer than was allowed or ends within a character.
"""

from __future__ import annotations

import re
import unicodedata

_BREAKS = re.compile(
    r"\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]"
)  # but \x1d and \x1e: italics and strikethrough
_JOINER = "\u200d"


def split(text: str, limit: int) -> list[str]:
    """``text`` in pieces of at most ``limit`` bytes of UTF-8 (four at least), none of them empty.

    Breaks at line breaks, then at blanks, and within a word only where the word alone is too long; then not
    within what is shown as one character, if that fits.
    """
    if limit < 4:
        raise ValueError("no room for a character")
    pieces: list[str] = []
    for line in _BREAKS.split(text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")):
        rest = line.rstrip(" ")
        while len(rest.encode()) > limit:
            piece, rest = _cut(rest, limit)
            if piece:
                pieces.append(piece)
        if rest:
            pieces.append(rest)
    return pieces


def _cut(text: str, limit: int) -> tuple[str, str]:
    fitting = text.encode()[:limit].decode("utf-8", "ignore")
    if text[len(fitting)] == " ":
        return fitting.rstrip(" "), text[len(fitting) :].lstrip(" ")
    if not fitting.strip(" "):
        return "", text.lstrip(" ")
    blank = fitting.rstrip(" ").rfind(" ") if not fitting.endswith(" ") else len(fitting) - 1
    head = fitting[:blank].rstrip(" ") if blank > 0 else ""
    if head:
        return head, text[blank + 1 :].lstrip(" ")
    end = len(fitting)
    while end > 0 and _continues(text, end):
        end -= 1
    end = end or len(fitting)
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
