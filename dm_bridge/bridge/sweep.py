"""When each account is due for the sweep: once in a period, at a time of day of its own.

An account's place in the period follows from its id alone, so that the load is even, however accounts
come and go, and a restart changes nothing. Pure but for what it remembers.

The rule that must never break: no two accounts are due closer together than the rate allows.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable

from dm_bridge.ids import UserId

CATCHING_UP = 300.0
"""Least seconds over which accounts are spread whose turn has passed."""


class Sweep:
    """The accounts and their turns. Times are seconds since the epoch.

    ``period``: seconds between two turns of one account. ``rate``: turns a second, at most.
    """

    def __init__(self, period: float, rate: float) -> None:
        self._period = period
        self._gap = 1 / rate
        self._due: dict[UserId, float] = {}
        self._order: list[tuple[float, UserId]] = []
        self._hurried: set[UserId] = set()
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._due)

    def replace(
        self, accounts: Iterable[UserId], now: float, last_seen: Callable[[UserId], float | None]
    ) -> None:
        """These are the accounts now; those that stay keep their turns.

        A new one has the first turn after it was last seen; when that has passed, one soon.
        """
        wanted = set(accounts)
        for gone in self._due.keys() - wanted:
            del self._due[gone]
            self._hurried.discard(gone)
        overdue = []
        for account in wanted - self._due.keys():
            seen = last_seen(account)
            turn = None if seen is None else self._turn_after(account, min(seen, now))
            if turn is None or turn <= now:
                overdue.append(account)
            else:
                self._set(account, turn)
        self._spread(overdue, now)

    def hurry(self, now: float, which: Callable[[UserId], bool]) -> None:
        """These accounts may have changed unseen: each has a turn soon."""
        accounts = [account for account in self._due if which(account)]
        self._hurried.update(accounts)
        self._spread(accounts, now)

    def pop(self, now: float) -> tuple[UserId, bool] | None:
        """Whose turn it is, and whether because of `hurry`; its next turn is a period later."""
        if self._not_before - self._gap <= now < self._not_before:  # else the clock was set back
            return None
        self._skip_stale()
        if not self._order or self._order[0][0] > now:
            return None
        _, account = heapq.heappop(self._order)
        self._set(account, self._turn_after(account, now))
        self._not_before = now + self._gap
        hurried = account in self._hurried
        self._hurried.discard(account)
        return account, hurried

    def wait(self, now: float) -> float | None:
        """Seconds until `pop` may have something, or None while there is no account."""
        self._skip_stale()
        if not self._order:
            return None
        rate = min(self._not_before - now, self._gap)
        return max(0.0, self._order[0][0] - now, rate)

    def _spread(self, accounts: list[UserId], now: float) -> None:
        """Give each a turn soon, in an order that follows from the ids, unless it has an earlier one."""
        window = max(CATCHING_UP, 2 * len(accounts) * self._gap)
        for account in accounts:
            turn = now + self._place(account) * window
            if turn < self._due.get(account, float("inf")):
                self._set(account, turn)

    def _turn_after(self, account: UserId, moment: float) -> float:
        offset = self._place(account) * self._period
        turns = (moment - offset) // self._period + 1
        return offset + turns * self._period

    def _set(self, account: UserId, turn: float) -> None:
        self._due[account] = turn
        heapq.heappush(self._order, (turn, account))
        if len(self._order) > 2 * len(self._due) + 64:
            self._order = [(turn, account) for account, turn in self._due.items()]
            heapq.heapify(self._order)

    def _skip_stale(self) -> None:
        while self._order and self._due.get(self._order[0][1]) != self._order[0][0]:
            heapq.heappop(self._order)

    @staticmethod
    def _place(account: UserId) -> float:
        """Where in any period the account's turn is: from 0 up to, not including, 1."""
        digest = hashlib.blake2b(account.encode(), digest_size=6).digest()
        return int.from_bytes(digest) / 2**48
