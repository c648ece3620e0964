"""How many messages of one person the bot answers.

The rule that must never break: who writes too much is told so once, and then hears nothing until it is over: so no
two bots talk to each other for ever.
"""

from __future__ import annotations

import enum
import time
from collections import OrderedDict
from collections.abc import Callable

from dm_bridge.bridge.allowance import MAX_KNOWN, Allowances
from dm_bridge.ids import UserId

PAUSE = 60.0
"""Seconds for which nothing is answered."""


class Attention(enum.Enum):
    """What to do about a message: answer it, say that it is one too many, or pass over it."""

    ANSWER = "answer"
    ENOUGH = "enough"
    NONE = "none"


class Quiet:
    """``many``: messages that are answered in a minute. ``clock`` never jumps."""

    def __init__(self, many: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.many = many
        self._clock = clock
        self._allowances = Allowances(many, 60.0, clock)
        self._until: OrderedDict[UserId, float] = OrderedDict()

    def take(self, user: UserId) -> Attention:
        """Count a message of ``user``."""
        now = self._clock()
        if self._until.get(user, 0.0) > now:
            return Attention.NONE
        self._until.pop(user, None)
        if not self._allowances.take(user):
            return Attention.ANSWER
        self._until[user] = now + PAUSE
        if len(self._until) > MAX_KNOWN:
            self._until.popitem(last=False)
        return Attention.ENOUGH
