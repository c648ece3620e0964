"""What a command answers."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from dm_bridge.network.api import Network
from dm_bridge.texts import phrase


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
    commands = choice(f"`login {network.name}`" for network in networks) or "`login`"
    return phrase("login-not-logged-in", commands=commands)


def choice(items: Iterable[str]) -> str:
    """What there is to choose from, as people say it: "this or that"; empty for nothing."""
    rest = iter(items)
    return functools.reduce(
        lambda some, other: phrase("choice-or", some=some, other=other), rest, next(rest, "")
    )
