"""Runs commands in this process, as a fresh program would see them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from click.testing import CliRunner, Result

from dm_bridge.cli.main import cli
from tests.logs import logging_put_back


class Command(Protocol):
    def __call__(self, *arguments: str, text: str | None = None) -> Result: ...


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, no variables of ours, and logging put back afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("DM_BRIDGE"):
            monkeypatch.delenv(name)
    with logging_put_back():
        yield


@pytest.fixture
def command() -> Command:
    """Runs ``dm-bridge`` with arguments; ``text`` is what is typed."""

    def run(*arguments: str, text: str | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, input=text, prog_name="dm-bridge")

    return run


@pytest.fixture
def made(command: Command, tmp_path: Path) -> Path:
    """A configuration made by ``init``."""
    result = command(
        "init", "--homeserver", "http://localhost:8008", "--domain", "example.org", "--yes"
    )
    assert result.exit_code == 0, result.output
    return tmp_path / "config.yaml"
