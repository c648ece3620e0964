"""Names that people on other networks give themselves, made fit to be shown.

The rule that must never break: a name is one line, says the same to everybody who reads it in its order, and is
short; who has nothing visible for a name has none.
"""

from __future__ import annotations

import unicodedata

from dm_bridge.store.people import Called

MAX_NAME = 100
_MAX_READ = 10_000
_JOINERS = frozenset("\u200c\u200d")
"""Format characters that scripts and emojis need."""
_TAGS = range(0xE0020, 0xE0080)
"""Those of the flags of regions; shown nowhere else."""
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters by their category that nobody sees."""


def clean_name(name: str | None) -> str | None:
    """``name`` on one line, without control and format characters, at most `MAX_NAME` long; None for nothing."""
    if name is None:
        return None
    kept = "".join(filter(_is_shown, name[:_MAX_READ].replace("\x00", "")))
    line = " ".join(kept.split())
    if len(line) > MAX_NAME:
        line = line[: MAX_NAME - 1].rstrip() + "…"
    visible = any(unicodedata.category(each)[0] in "LNPS" and each not in _BLANK for each in line)
    return line if visible else None


def name_of(called: Called | None) -> str | None:
    """What somebody is called, where that is another thing than their address."""
    name = None if called is None else clean_name(called.name)
    return None if called is None or name == called.contact else name


def _is_shown(character: str) -> bool:
    if character.isspace():
        return True
    category = unicodedata.category(character)
    if category == "Cf":
        return character in _JOINERS or ord(character) in _TAGS
    return category not in ("Cc", "Cs", "Co")
