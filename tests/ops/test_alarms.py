"""The alarms and the dashboard: they read figures that exist, and the runbook says what to do."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from dm_bridge.network.events import SessionStatus
from dm_bridge.ops.metrics import Metrics

from .expressions import (
    ALERTS,
    DASHBOARD,
    Expression,
    Selector,
    alerts,
    dashboard,
    expressions,
    panels,
)

ROOT = ALERTS.parent.parent
RUNBOOK = ROOT / "docs" / "runbook.md"
OF_PROMETHEUS = {"up": set[str]()}
ADDED_BY_PROMETHEUS = {"job", "instance"}
SUFFIXES = {
    "counter": {"_total": set[str]()},
    "gauge": {"": set[str]()},
    "histogram": {"_bucket": {"le"}, "_sum": set[str](), "_count": set[str]()},
}
VALUES = {
    "direction": {"to_matrix", "to_remote"},
    "change": {"buried", "given", "taken"},
    "part": {"database", "homeserver", "intake"},
    "outcome": {"delivered", "dropped", "failed", "parked", "uncertain"},
}
STATES = {
    "dm_bridge_queue_rows": {"waiting", "parked"},
    "dm_bridge_queue_oldest_seconds": {"waiting", "parked"},
    "dm_bridge_logins": {status.value for status in SessionStatus},
}

every_expression = pytest.mark.parametrize("expression", list(expressions()), ids=lambda e: e.where)


def ours() -> list[MetricWrapperBase]:
    """What the bridge keeps."""
    return [each for each in vars(Metrics()).values() if isinstance(each, MetricWrapperBase)]


def figures() -> dict[str, set[str]]:
    """What Prometheus knows of a bridge: names, and the labels they have."""
    found = dict(OF_PROMETHEUS)
    for metric in ours():
        for suffix, more in SUFFIXES[str(metric._type)].items():
            found[metric._name + suffix] = set(metric._labelnames) | more
    return found


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_expression
def test_an_expression_reads_figures_that_the_bridge_exposes(expression: Expression) -> None:
    known = figures()
    assert expression.selectors
    for selector in expression.selectors:
        assert selector.name in known
        labels = known[selector.name] | ADDED_BY_PROMETHEUS
        assert {label for label, _, _ in selector.matchers} <= labels
        assert expression.grouped_by <= labels


@every_expression
def test_an_expression_asks_for_values_that_occur(expression: Expression) -> None:
    for selector in expression.selectors:
        for label, _, value in selector.matchers:
            if label != "job":
                possible = STATES[selector.name] if label == "state" else VALUES[label]
                assert set(value.split("|")) <= possible


def test_a_misspelt_figure_would_be_noticed() -> None:
    (selector,) = Expression("", 'sum by (job) (rate(dmbridge_x_total{a="b|c"}[5m])) > 1').selectors
    assert selector == Selector("dmbridge_x_total", (("a", "=", "b|c"),))
    assert selector.name not in figures()
    both = Expression("", 'time() - up > 1 and max by (job, le) (up) or absent(up{b!="1"})')
    assert [found.name for found in both.selectors] == ["up", "up", "up"]
    assert both.grouped_by == {"job", "le"}


def test_every_figure_is_on_the_dashboard() -> None:
    shown = {
        selector.name
        for panel in panels()
        for target in panel["targets"]
        for selector in Expression("", target["expr"]).selectors
    }
    for metric in ours():
        assert any(metric._name + suffix in shown for suffix in SUFFIXES[str(metric._type)]), metric


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alarm_says_what_it_means_and_where_to_read_on(rule: dict[str, object]) -> None:
    annotations, labels = rule["annotations"], rule["labels"]
    assert isinstance(annotations, dict)
    assert isinstance(labels, dict)
    assert labels["severity"] in {"critical", "warning"}
    assert set(annotations) == {"summary", "description", "runbook"}
    document, _, anchor = annotations["runbook"].partition("#")
    assert ROOT / document == RUNBOOK
    assert anchor == str(rule["alert"]).lower()
    assert anchor in anchors(RUNBOOK)


def test_the_runbook_explains_no_alarm_that_is_not_there() -> None:
    explained = re.findall(r"^## (DmBridge\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(rule["alert"] for rule in alerts())


def test_the_runbook_names_only_figures_that_the_bridge_exposes() -> None:
    named = set(re.findall(r"`(dm_bridge_\w+)", RUNBOOK.read_text()))
    assert named
    assert named <= set(figures())


def test_every_panel_is_explained_and_none_covers_another() -> None:
    found = dashboard()["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    assert all(panel["description"] for panel in panels())
    taken: set[tuple[int, int]] = set()
    for panel in found:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = set(
            itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
        )
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_asks_for_the_data_source_and_names_no_host() -> None:
    assert {variable["name"] for variable in dashboard()["templating"]["list"]} == {
        "datasource",
        "job",
    }
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}
    assert "://" not in DASHBOARD.read_text()
