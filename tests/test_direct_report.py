"""The report tells strategies apart, is made of its seed alone, and judges the engine by its targets."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from benchmarks import direct_report
from benchmarks.direct_report import MIXED, Row, misses, table
from benchmarks.direct_strategies import ADD_AGAIN, ENGINE, STRATEGIES
from benchmarks.direct_world import Result, Setting, histories
from dm_bridge.testing.writers import WRITERS, Truth, entries

BASELINE = Row("mover", 1.0, ADD_AGAIN, Result(managed=10_000, others_lost=1000))
FINE = Row(
    "mover", 1.0, ENGINE, Result(managed=10_000, unmarks=1000, others_lost=5, managed_lost=5)
)


@pytest.mark.parametrize("writers", list(WRITERS))
def test_a_history_is_made_of_its_seed_alone(writers: str) -> None:
    setting = Setting((writers,), steps=60)
    first = histories(2, 7, setting, STRATEGIES[ENGINE])
    assert first == histories(2, 7, setting, STRATEGIES[ENGINE])
    assert first != histories(2, 8, setting, STRATEGIES[ENGINE])
    assert first.managed
    assert first.others


def test_the_engine_keeps_what_every_other_strategy_loses() -> None:
    setting = Setting(tuple(WRITERS))
    results = {name: histories(6, 0, setting, make) for name, make in STRATEGIES.items()}
    ours = results.pop(ENGINE)
    assert ours.livelocks == 0
    assert ours.managed_lost <= 1
    for name, other in results.items():
        assert other.others_lost > 5 * ours.others_lost, name
        assert other.managed_lost > 10 or other.reverted > 10 * max(1, ours.reverted), name


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, 0),
        ({"managed_lost": 6}, 1),
        ({"others_lost": 6}, 1),
        ({"reverted": 11}, 1),
        ({"livelocks": 1}, 1),
        ({"managed_lost": 6, "reverted": 11}, 2),
    ],
)
def test_each_target_is_judged(change: dict[str, int], missed: int) -> None:
    row = replace(FINE, result=replace(FINE.result, **change))
    assert len(misses(row, [BASELINE, row])) == missed


def test_where_not_all_is_seen_only_rest_is_asked_for() -> None:
    row = replace(FINE, rate=0.33, result=replace(FINE.result, managed_lost=9000))
    assert misses(row, []) == []
    assert misses(replace(row, result=replace(row.result, livelocks=2)), []) != []


def test_the_table_has_a_line_for_every_row() -> None:
    assert table([FINE, BASELINE]).count("\n") == 3
    assert "5 / 10,000" in table([FINE])


def test_the_exit_code_says_whether_a_target_was_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["report", "--histories", "1", "--rates", "1", "--writers", MIXED, "--json"]
    )
    monkeypatch.setattr(direct_report, "MOST_REVERTED", 1.0)
    monkeypatch.setattr(direct_report, "MOST_OTHERS_LOST", 1.0)
    monkeypatch.setattr(direct_report, "MOST_MANAGED_LOST", 1.0)
    assert direct_report.main() == 0
    assert capsys.readouterr().out.count("\n") == len(STRATEGIES)
    monkeypatch.setattr(direct_report, "MOST_REVERTED", -1.0)
    assert direct_report.main() == 1
    assert "MISSED: all mixed" in capsys.readouterr().err


def test_the_truth_knows_what_is_lost_and_what_came_back() -> None:
    truth = Truth(managed={"!m": "@g:x", "!n": "@h:x", "!o": "@g:x"})
    truth.add("@friend:x", "!f")
    truth.add("@friend:x", "!k")
    truth.move("!k", "@other:x")
    truth.unmark("!n")
    truth.unmark("!o")
    truth.mark("!o")
    content = {"@h:x": ["!n"], "@friend:x": ["!k"], "junk": None, "@g:x": []}
    losses = truth.losses(content)
    assert (losses.managed_lost, losses.missed) == (1, 1)
    assert (losses.others_lost, losses.resurrected, losses.reverted) == (2, 1, 1)
    assert entries(content) == {("@h:x", "!n"), ("@friend:x", "!k")}
