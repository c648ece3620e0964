"""What a person typed, without what came along when it was copied from somewhere.

The rule that must never break: only what encloses the whole text is taken off, and only in pairs; nobody's
address is changed. A secret does not go through here.
"""

from __future__ import annotations

_PAIRS = frozenset(("``", "<>", '""', "''", "“”", "„“", "‘’", "‚‘", "«»", "»«"))


def uncopied(text: str) -> str:
    """``text`` without blanks, backticks, angle brackets and quotes around it."""
    text = text.strip()
    while len(text) > 1 and text[0] + text[-1] in _PAIRS:
        text = text[1:-1].strip()
    return text
