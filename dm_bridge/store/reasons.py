"""Reasons, as the queues keep them.

The rule that must never break: whatever an error says can be recorded; a reason never keeps a queue from going
on.
"""

from __future__ import annotations

LONGEST = 1000


def storable(reason: str) -> str:
    """``reason`` without what PostgreSQL refuses in a text, and of at most `LONGEST` characters."""
    text = reason.replace("\0", "").encode(errors="replace").decode()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
