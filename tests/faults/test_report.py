"""The table shows what went wrong."""

from __future__ import annotations

from tests.faults.load import Result
from tests.faults.report import Row, table
from tests.faults.tally import Count


def test_the_table_has_a_line_for_each_scenario_and_one_for_all() -> None:
    rows = [Row("first", "bridge"), Row("second", "network")]
    rows[0].add(Result(2, 0, Count(10), Count(20, uncertain=1), [], []))
    rows[0].add(Result(3, 1, Count(10, lost=4), Count(20), ["bad"], ["lost", "bad"]))
    rows[1].add(Result(1, 0, Count(5), Count(5, doubled=2, told_wrong=1), [], ["doubled"]))
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table(rows).split("\n")
    ]
    assert [line[1:] for line in lines[2:]] == [
        ["2", "5", "20", "40", "1", "4", "0", "0", "0", "1", "1"],
        ["1", "1", "5", "5", "0", "0", "2", "0", "0", "0", "1"],
        ["3", "6", "25", "45", "1", "4", "2", "0", "0", "1", "2"],
    ]
