"""Honest connectors on a network in memory pass every check: one that declares all, and one almost nothing."""

from __future__ import annotations

from dm_bridge.network.api import Capabilities
from dm_bridge.testing.conformance import Conformance

from .pigeon_adapter import PigeonAdapter
from .pigeons import LARGEST, PigeonSession
from .sabotage import network_with


class PlainSession(PigeonSession):
    """It can do more than it says."""

    capabilities = Capabilities(lines=True, largest_text=LARGEST)


class PlainAdapter(PigeonAdapter):
    def __init__(self) -> None:
        super().__init__(network_with(PlainSession))


class TestPigeons(Conformance):
    adapter = PigeonAdapter


class TestPlainPigeons(Conformance):
    adapter = PlainAdapter
