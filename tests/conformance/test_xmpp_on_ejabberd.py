"""The XMPP connector keeps what a connector promises on the other widespread server, too."""

from __future__ import annotations

from dm_bridge.testing.conformance import Conformance

from .xmpp_adapter import EjabberdAdapter


class TestXmppOnEjabberd(Conformance):
    adapter = EjabberdAdapter
    lanes = 2
