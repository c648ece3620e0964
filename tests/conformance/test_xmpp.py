"""The XMPP connector keeps what a connector promises, on a real server with an archive."""

from __future__ import annotations

from dm_bridge.testing.conformance import Conformance

from .xmpp_adapter import XmppAdapter


class TestXmpp(Conformance):
    adapter = XmppAdapter
    lanes = 2
