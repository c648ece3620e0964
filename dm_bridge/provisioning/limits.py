"""How much is taken from one user, or from one address."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web

from dm_bridge.bridge.allowance import Allowances
from dm_bridge.provisioning.refusals import limited
from dm_bridge.texts import phrase

_LOOPBACK = ("127.0.0.1", "::1")
CALLS_A_MINUTE = 300
"""Of one user."""
WAITS_A_MINUTE = 60
"""Of one user: calls that wait for something to happen."""


class Limit:
    """``many`` in ``seconds`` for each key (`Allowances`)."""

    def __init__(
        self, many: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._allowances = Allowances(many, seconds, clock)

    def take(self, key: str, message: str) -> None:
        """Count one. Raises `Refusal` with ``message`` when there is none left."""
        if wait := self._allowances.take(key):
            raise limited(message, wait)


class Pace:
    """How many calls a user may make: those that wait, and all others, by themselves."""

    def __init__(self) -> None:
        self._calls = Limit(CALLS_A_MINUTE, 60.0)
        self._waits = Limit(WAITS_A_MINUTE, 60.0)

    def take(self, user: str, *, waits: bool) -> None:
        """Count one call. Raises `Refusal`."""
        limit = self._waits if waits else self._calls
        limit.take(user, phrase("provisioning-too-many-requests"))


def address_of(request: web.Request) -> str:
    """Where a request comes from; behind a proxy on this machine, what that says."""
    peer = request.remote or ""
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return forwarded[:64] if peer in _LOOPBACK and forwarded else peer
