"""The conformance kit: whether a connector keeps what it promises. docs/connectors.md says how to use it.

A package that brings a connector writes an `Adapter`, and one test class::

    class TestMine(Conformance):
        adapter = MyAdapter
"""

from dm_bridge.testing.conformance.adapter import (
    Account,
    Adapter,
    Deed,
    Heard,
    Line,
    NotOffered,
    Person,
    ProxyLine,
    Shared,
)
from dm_bridge.testing.conformance.case import Case, Failed, require
from dm_bridge.testing.conformance.kit import CHECKS, Check, Kit
from dm_bridge.testing.conformance.suite import Conformance

__all__ = [
    "CHECKS",
    "Account",
    "Adapter",
    "Case",
    "Check",
    "Conformance",
    "Deed",
    "Failed",
    "Heard",
    "Kit",
    "Line",
    "NotOffered",
    "Person",
    "ProxyLine",
    "Shared",
    "require",
]
