"""The Prometheus expressions of ``ops/``, taken apart: which figures they read, by which labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

OPS = Path(__file__).resolve().parents[2] / "ops"
ALERTS, DASHBOARD = OPS / "alerts.yaml", OPS / "grafana-dashboard.json"

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([A-Za-z_:][\w:]*)\s*(\(|\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"')
_OPERATORS = {"and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True)
class Selector:
    """One figure that an expression reads: ``matchers`` are (label, operator, value)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]

    def selects(self, labels: dict[str, str]) -> bool:
        """Whether a series with these labels is among what is read."""
        for label, operator, value in self.matchers:
            found = labels.get(label, "")
            equal = re.fullmatch(value, found) is not None if "~" in operator else value == found
            if equal == operator.startswith("!"):
                return False
        return True


@dataclass(frozen=True)
class Expression:
    """An expression, where it stands, what it reads, and by which labels it groups."""

    where: str
    text: str

    @property
    def selectors(self) -> list[Selector]:
        """Every figure it reads, in order."""
        text = re.sub(r"\[[^\]]*\]", "", _GROUPING.sub("", self.text))
        return [
            Selector(name, tuple(_MATCHER.findall(matchers)))
            for name, follows, matchers in _SELECTOR.findall(text)
            if follows != "(" and name not in _OPERATORS
        ]

    @property
    def grouped_by(self) -> set[str]:
        """The labels that are left."""
        return {
            label.strip() for found in _GROUPING.findall(self.text) for label in found.split(",")
        }


def alerts() -> list[dict[str, Any]]:
    """The alerting rules."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[Expression]:
    """Every expression of both files."""
    for rule in alerts():
        yield Expression(rule["alert"], rule["expr"])
    for panel in panels():
        for target in panel["targets"]:
            yield Expression(panel["title"], target["expr"])
