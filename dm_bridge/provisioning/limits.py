"""How much is taken from one user, or from one address.

The rule that must never break: what is remembered of strangers is bounded.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from dm_bridge.bridge.allowance import Allowance
from dm_bridge.provisioning.refusals import limited

MAX_KNOWN = 10_000
_LOOPBACK = ("127.0.0.1", "::1")


CALLS_A_MINUTE = 300
"""Of one user."""
WAITS_A_MINUTE = 60
"""Of one user: calls that wait for something to happen."""


class Limit:
    """``many`` in ``seconds`` for each key; whose turn was longest ago is forgotten first."""

    def __init__(
        self, many: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._many = many
        self._seconds = seconds
        self._clock = clock
        self._known: OrderedDict[str, Allowance] = OrderedDict()

    def take(self, key: str, message: str) -> None:
        """Count one. Raises `Refusal` with ``message`` when there is none left."""
        allowance = self._known.pop(key, None)
        if allowance is None:
            allowance = Allowance(self._many, self._seconds, self._clock)
            if len(self._known) >= MAX_KNOWN:
                self._known.popitem(last=False)
        self._known[key] = allowance
        if not allowance.allow():
            raise limited(message, allowance.seconds_left)


class Pace:
    """How many calls a user may make: those that wait, and all others, by themselves."""

    def __init__(self) -> None:
        self._calls = Limit(CALLS_A_MINUTE, 60.0)
        self._waits = Limit(WAITS_A_MINUTE, 60.0)

    def take(self, user: str, *, waits: bool) -> None:
        """Count one call. Raises `Refusal`."""
        limit = self._waits if waits else self._calls
        limit.take(user, "Too many requests; wait a little.")


def address_of(request: web.Request) -> str:
    """Where a request comes from; behind a proxy on this machine, what that says."""
    peer = request.remote or ""
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return forwarded[:64] if peer in _LOOPBACK and forwarded else peer
