"""Chats that are being opened, by their user: the last to arrive need not wait for more.

Marks gather while chats keep coming, so that a thousand of them are a handful of writes of m.direct. Who
knows that no more are on their way can say so.

The rule that must never break: a chat is on its way until it has arrived or failed, and counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dm_bridge.bridge.keeper import Keeper
from dm_bridge.ids import UserId


class Arrivals:
    """Counts chats that are on their way."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._coming: Counter[UserId] = Counter()

    @contextmanager
    def expect(self, user: UserId) -> Iterator[Callable[[], None]]:
        """Around the opening of a chat of ``user``; call what it gives once the mark is to be written."""
        self._coming[user] += 1
        coming = True

        def arrived() -> None:
            nonlocal coming
            if coming:
                coming = False
                self._coming[user] -= 1
                self.no_more(user)

        try:
            yield arrived
        finally:
            arrived()

    def no_more(self, user: UserId) -> None:
        """Have what there is to mark written at once, unless more chats of ``user`` are on their way."""
        if self._coming[user] <= 0:
            del self._coming[user]
            self._keeper.hasten(user)
