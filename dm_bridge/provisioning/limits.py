"""How much is taken from one user, or from one address."""

from __future__ import annotations

import time
from collections.abc import Callable

from dm_bridge.bridge.allowance import Allowances
from dm_bridge.provisioning.refusals import limited


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
