"""The IRC connector keeps what a connector promises: on a server without extensions, and on one with many."""

from __future__ import annotations

from dm_bridge.testing.conformance import Conformance

from .irc_adapter import InspIrcdAdapter, NgIrcdAdapter, ZncAdapter


class TestNgIrcd(Conformance):
    adapter = NgIrcdAdapter


class TestInspIrcd(Conformance):
    """The server lets people in once a second, when it looks at who has come."""

    adapter = InspIrcdAdapter
    lanes = 6


class TestZnc(Conformance):
    adapter = ZncAdapter
