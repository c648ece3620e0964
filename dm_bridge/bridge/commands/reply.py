"""What a command answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dm_bridge.network.api import Network


@dataclass(frozen=True, slots=True)
class Reply:
    """``text``: a few words of Markdown. ``hide_request``: redact the message that is answered.

    ``asks_secret``: the next message of the user may well be a password.
    """

    text: str
    hide_request: bool = False
    asks_secret: bool = False


Answer = Callable[[Reply], Awaitable[None]]


def not_logged_in(networks: Sequence[Network]) -> str:
    """What a user without a login is told, with the command that makes one."""
    choice = " or ".join(f"`login {network.name}`" for network in networks)
    return f"You are not logged in to any network. Write {choice or '`login`'} to log in."
