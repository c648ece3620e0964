"""``dm-bridge doctor`` as a command: wrong configurations, what is shown, and exit codes."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from dm_bridge.app.doctor.findings import Finding, mend, note, ok, unknown
from dm_bridge.cli.doctor import _Printer, exit_code
from dm_bridge.testing.processes import free_port

ROOT = Path(__file__).parents[2]


class Screen(io.StringIO):
    """Something that may be a terminal."""

    def __init__(self, *, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self._terminal = terminal
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


def shown(
    monkeypatch: pytest.MonkeyPatch, *findings: Finding, terminal: bool, encoding: str = "utf-8"
) -> str:
    screen = Screen(terminal=terminal, encoding=encoding)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", screen)
        printer = _Printer(in_json=False)
        for finding in findings:
            printer.show(finding)
        printer.end(1.25)
    return screen.getvalue()


FINDINGS = (
    ok("a", "Well."),
    note("b", "Hm."),
    mend("c", "Broken. Mend it."),
    unknown("d", "What?"),
)


def test_each_finding_is_a_line_with_a_symbol_and_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, *FINDINGS, terminal=False).splitlines()
    assert lines == [
        "✓ ok      a                    Well.",
        "! note    b                    Hm.",
        "✗ mend    c                    Broken. Mend it.",
        "? unknown d                    What?",
        "",
        "1 ok, 1 to know, 1 to mend, 1 not checked, in 1.2 seconds.",
    ]
    lines = shown(
        monkeypatch, mend("c", "Broken."), terminal=False, encoding="latin-1"
    ).splitlines()
    assert lines[0] == "mend    c                    Broken."


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[31m" in shown(monkeypatch, *FINDINGS, terminal=True)
    assert "\x1b" not in shown(monkeypatch, *FINDINGS, terminal=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown(monkeypatch, *FINDINGS, terminal=True)


def test_a_terminal_gets_lines_that_fit_and_nothing_that_moves_its_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(monkeypatch, mend("c", "Many words\x1b[2J and more. " * 9), terminal=True)
    lines = text.splitlines()
    assert len(lines) > 4
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith(" " * 31 + "more. Many")
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ((ok("a", "."), note("b", ".")), 0),
        ((ok("a", "."), unknown("b", ".")), 1),
        ((unknown("b", "."), mend("c", ".")), 3),
    ],
)
def test_the_exit_code_is_that_of_the_worst(findings: tuple[Finding, ...], code: int) -> None:
    assert exit_code(findings) == code


def test_a_configuration_that_is_not_there_is_told(command: Any) -> None:
    result = command("doctor")
    assert result.exit_code == 78
    assert "config.yaml: there is no such file. Write one with `dm-bridge init`" in result.stdout
    answer = json.loads(command("doctor", "--json").stdout)
    assert (answer["verdict"], len(answer["findings"])) == ("mend", 1)


def test_all_problems_of_a_configuration_are_told_and_the_rest_is_still_looked_at(
    command: Any, made: Path
) -> None:
    text = made.read_text()
    text = text.replace("http://localhost:8008", f"http://127.0.0.1:{free_port()}")
    text = text.replace("127.0.0.1:29350", f"127.0.0.1:{free_port()}")
    made.write_text(text + "x: 1\ny: 2\n")
    result = command("doctor")
    assert result.exit_code == 78
    problems = re.findall(r"^. mend +configuration +(.*)$", result.stdout, re.MULTILINE)
    assert len(problems) == 2
    assert all(
        problem.startswith("config.yaml:") and "unknown key" in problem for problem in problems
    )
    assert "The homeserver at http://127.0.0.1:" in result.stdout
    assert "Check that it runs and that homeserver.url is right." in result.stdout
    assert "configuration        config.yaml is right" not in result.stdout
    made.write_text(text.replace("domain:", "domian:"))
    result = command("doctor")
    assert result.exit_code == 78
    assert 'homeserver.domian: unknown key; did you mean "domain"?' in result.stdout
    assert not (made.parent / "data").exists()


def test_it_has_help_with_an_example_and_its_exit_codes(command: Any) -> None:
    result = command("doctor", "--help")
    assert "Example: dm-bridge doctor" in result.stdout
    assert "78 wrong configuration" in " ".join(result.stdout.split())
    assert command("doctor", "--nonsense").exit_code == 2
