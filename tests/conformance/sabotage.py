"""Connectors that break one promise each, by the check that must find it.

The rule that must never break: all else about them is the honest connector.
"""

from __future__ import annotations

from collections.abc import Callable

from dm_bridge.testing.conformance import CHECKS, Check

from .loft import Loft
from .pigeons import PigeonLogin, PigeonNetwork, PigeonSession

NetworkMaker = Callable[[Loft], PigeonNetwork]
_checks: dict[str, Check] = {check.__name__: check for check in CHECKS}
SABOTAGES: list[tuple[type, Check]] = []
"""What is broken, and the check that finds it."""


def found_by(*names: str) -> Callable[[type], type]:
    """Plant a class."""

    def plant(broken: type) -> type:
        SABOTAGES.extend((broken, _checks[name]) for name in names)
        return broken

    return plant


def network_with(broken: type) -> NetworkMaker:
    """What makes a network with a broken part in it."""

    def make(loft: Loft) -> PigeonNetwork:
        if issubclass(broken, PigeonNetwork):
            return broken(loft)
        network = PigeonNetwork(loft)
        if issubclass(broken, PigeonSession):
            network.session = broken
        else:
            assert issubclass(broken, PigeonLogin)
            network.login = broken
        return network

    return make
