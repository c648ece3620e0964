"""The conformance kit: whether a connector keeps what it promises. docs/connectors.md says how to use it.

A package that brings a connector writes an `Adapter`, and one test class::

    class TestMine(Conformance):
        adapter = MyAdapter
"""

from dm_bridge.testing.conformance.adapter import (
    Account,
    Adapter,
    Heard,
    Line,
    NotOffered,
    Person,
    ProxyLine,
)
from dm_bridge.testing.conformance.case import Case, Failed, require
from dm_bridge.testing.conformance.suite import CHECKS, Check, Conformance, Kit

__all__ = [
    "CHECKS",
    "Account",
    "Adapter",
    "Case",
    "Check",
    "Conformance",
    "Failed",
    "Heard",
    "Kit",
    "Line",
    "NotOffered",
    "Person",
    "ProxyLine",
    "require",
]
