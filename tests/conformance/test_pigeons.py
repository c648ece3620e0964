"""An honest connector on a network in memory passes every check that there is."""

from __future__ import annotations

from dm_bridge.testing.conformance import Conformance

from .pigeon_adapter import PigeonAdapter


class TestPigeons(Conformance):
    adapter = PigeonAdapter
