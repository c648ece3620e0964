"""What the admin has decided about the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from dm_bridge.ids import UserId


@dataclass(frozen=True, slots=True)
class PageSettings:
    """``url``: where browsers find the page; ends with a slash. ``link_seconds``: how long a link works.

    ``session_seconds``: how long somebody is signed in. ``may_use`` and ``may_administer``: what a user may.
    """

    url: str
    link_seconds: float
    session_seconds: float
    bot: UserId
    may_use: Callable[[UserId], bool]
    may_administer: Callable[[UserId], bool]

    @property
    def origin(self) -> str:
        """As browsers write it (RFC 6454, section 6.2)."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}".lower()

    @property
    def encrypted(self) -> bool:
        return self.url.startswith("https:")
