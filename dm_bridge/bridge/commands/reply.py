"""What a command answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """``text``: a few words of Markdown. ``hide_request``: redact the message that is answered.

    ``asks_secret``: the next message of the user may well be a password.
    """

    text: str
    hide_request: bool = False
    asks_secret: bool = False


Answer = Callable[[Reply], Awaitable[None]]
