"""The IRC connector keeps what a connector promises: on a server without extensions, and on one with many."""

from __future__ import annotations

from typing import ClassVar

from dm_bridge.testing.conformance import Conformance, contacts, outgoing
from dm_bridge.testing.conformance.suite import CHECKS

from .irc_adapter import InspIrcdAdapter, NgIrcdAdapter

SLOW = "InspIRCd takes a second for every connection; this check is made on ngIRCd"


class TestNgIrcd(Conformance):
    adapter = NgIrcdAdapter


class TestInspIrcd(Conformance):
    """What echo, labels and MONITOR change: sending, and who is who."""

    adapter = InspIrcdAdapter
    excused: ClassVar = {
        check.__name__: SLOW
        for check in CHECKS
        if check not in (*outgoing.CHECKS, *contacts.CHECKS)
    }
