"""The group of commands, ``run`` and ``migrate``, and exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from dm_bridge import __version__, app
from dm_bridge.config import Config
from dm_bridge.errors import BridgeError, ConfigError, RegistrationError, StorageError

ROOT = Path(__file__).parents[2]


class FakeApp:
    """Stands where the bridge would run; remembers how it was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[Config, bool | None]] = []
        self.failure: BaseException | None = None
        self.code = 0
        self.schema: tuple[str | None, str] = (None, "0001")
        monkeypatch.setattr(app, "run_bridge", self._run)
        monkeypatch.setattr(app, "migrate_database", self._migrate)

    async def _run(self, config: Config, *, migrate: bool) -> int:
        self.calls.append((config, migrate))
        structlog.get_logger("dm_bridge.test").info("running", hs_token="hunter2")
        if self.failure is not None:
            raise self.failure
        return self.code

    async def _migrate(self, config: Config) -> tuple[str | None, str]:
        self.calls.append((config, None))
        if self.failure is not None:
            raise self.failure
        return self.schema


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> FakeApp:
    return FakeApp(monkeypatch)


def test_run_runs_the_configuration_and_migrates_first(
    command: Any, made: Path, bridge: FakeApp
) -> None:
    assert command("run").exit_code == 0
    assert command("run", "--no-migrate", "-c", str(made)).exit_code == 0
    assert [migrate for _, migrate in bridge.calls] == [True, False]
    assert bridge.calls[0][0].homeserver.domain == "example.org"


def test_run_exits_with_the_code_of_the_bridge(command: Any, made: Path, bridge: FakeApp) -> None:
    bridge.code = 5
    assert command("run").exit_code == 5


def test_run_logs_to_standard_error_as_configured(
    command: Any, made: Path, bridge: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DM_BRIDGE__LOGGING__FORMAT", "json")
    result = command("run")
    assert result.stdout == ""
    event = json.loads(result.stderr.splitlines()[-1])
    assert event["event"] == "running"
    assert event["hs_token"] == "[redacted]"


def test_run_warns_when_nothing_can_happen(
    command: Any, made: Path, bridge: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "nobody may use" not in command("run").stderr
    monkeypatch.setenv("DM_BRIDGE__PERMISSIONS", '{"*": "none"}')
    monkeypatch.setenv("DM_BRIDGE__NETWORKS", "{}")
    stderr = command("run").stderr
    assert "nobody may use this bridge; set permissions" in stderr
    assert "no network is enabled; set networks" in stderr


def test_run_refuses_the_tokens_of_the_example(command: Any, bridge: FakeApp) -> None:
    example = ROOT / "config.example.yaml"
    result = command("run", "-c", str(example))
    assert result.exit_code == 78
    lines = example.read_text().splitlines()
    for key in ("as_token", "hs_token", "accounts_token"):
        number = next(i for i, line in enumerate(lines, 1) if line.strip().startswith(f"{key}: "))
        assert (
            f"{example}:{number}: appservice.{key}: this is the token of the example"
            in result.stderr
        )
    assert "dm-bridge init" in result.stderr
    assert bridge.calls == []


def test_migrate_says_what_it_did(command: Any, made: Path, bridge: FakeApp) -> None:
    result = command("migrate")
    assert (result.exit_code, result.stdout) == (
        0,
        "The database was brought from schema none to 0001.\n",
    )
    bridge.schema = ("0001", "0001")
    assert command("migrate").stdout == "The database is up to date (schema 0001).\n"


@pytest.mark.parametrize("name", ["run", "migrate"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageError("The database is away. Start it."), 1),
        (RegistrationError("The homeserver does not know us. Register."), 1),
        (ConfigError("This cannot be. Change it."), 78),
        (BridgeError("It failed."), 1),
    ],
)
def test_an_expected_error_is_a_sentence_and_an_exit_code(
    command: Any, made: Path, bridge: FakeApp, name: str, error: BridgeError, code: int
) -> None:
    bridge.failure = error
    result = command(name)
    assert result.exit_code == code
    assert f"dm-bridge: {error.message}\n" in result.stderr
    assert "Traceback" not in result.output
    debug = command("--debug", name)
    assert debug.exit_code == code
    assert "Traceback" in debug.stderr


def test_an_internal_error_is_named_and_logged(command: Any, made: Path, bridge: FakeApp) -> None:
    bridge.failure = KeyError("hunter2")
    result = command("migrate")
    assert result.exit_code == 1
    assert result.stderr == (
        "dm-bridge: stopped by an internal error, KeyError. This is a bug. Run `dm-bridge --debug …` for "
        "the details.\n"
    )
    result = command("run")
    assert result.exit_code == 1
    assert "the bridge stopped on an internal error" in result.stderr
    assert "dm-bridge: stopped by an internal error, KeyError." in result.stderr


@pytest.mark.parametrize("name", ["run", "migrate", "registration"])
def test_a_missing_configuration_is_exit_code_78_with_the_remedy(command: Any, name: str) -> None:
    result = command(name)
    assert result.exit_code == 78
    assert result.stderr == (
        "dm-bridge: config.yaml: there is no such file. Write one with `dm-bridge init`, or name it with "
        "--config.\n"
    )


@pytest.mark.parametrize("name", ["run", "migrate", "registration"])
def test_every_problem_of_a_configuration_is_printed(command: Any, made: Path, name: str) -> None:
    made.write_text(made.read_text().replace("domain:", "domian:") + "x: 1\n")
    result = command(name, "--config", str(made))
    assert result.exit_code == 78
    assert result.stderr.startswith("dm-bridge: there are 3 problems in the configuration:\n")
    assert f'{made}:9: homeserver.domian: unknown key; did you mean "domain"?' in result.stderr


def test_the_configuration_may_be_named_by_a_variable(
    command: Any, made: Path, bridge: FakeApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made.rename(tmp_path / "other.yaml")
    monkeypatch.setenv("DM_BRIDGE_CONFIG", "other.yaml")
    assert command("run").exit_code == 0
    assert command("run", "-c", "nothing.yaml").exit_code == 78


@pytest.mark.parametrize("name", ["init", "migrate", "registration", "run"])
def test_every_command_has_help_with_an_example(command: Any, name: str) -> None:
    result = command(name, "--help")
    assert result.exit_code == 0
    assert re.search(rf"Example: dm-bridge {name}\b", result.stdout)
    assert command(name, "-h").stdout == result.stdout


def test_the_help_lists_every_command_and_the_exit_codes(command: Any) -> None:
    result = command("--help")
    assert result.exit_code == 0
    for name in ("init", "registration", "migrate", "run", "demo"):
        assert re.search(rf"^  {name} ", result.stdout, re.MULTILINE)
    assert "78 wrong configuration" in result.stdout


@pytest.mark.parametrize("arguments", [("nonsense",), ("run", "--nonsense"), ("--nonsense",), ()])
def test_wrong_usage_is_exit_code_2(command: Any, arguments: tuple[str, ...]) -> None:
    assert command(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "program",
    [[sys.executable, "-m", "dm_bridge"], [str(Path(sys.executable).parent / "dm-bridge")]],
)
def test_it_works_as_a_program(program: list[str], tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    version = call("--version")
    assert (version.returncode, version.stdout) == (0, f"dm-bridge, version {__version__}\n")
    missing = call("run")
    assert (missing.returncode, missing.stdout) == (78, "")
    assert missing.stderr.startswith("dm-bridge: config.yaml: there is no such file.")
    made = call("init", "--homeserver", "http://localhost:1", "--domain", "x", "--yes")
    assert (made.returncode, made.stderr) == (0, "")
    assert (tmp_path / "config.yaml").stat().st_mode & 0o777 == 0o600
    assert call("registration", "-o", "reg").returncode == 0
    assert call("init").returncode == 1
    assert call("init", "--yes").returncode == 2


def test_bash_completes_commands(command: Any, tmp_path: Path) -> None:
    script = command("completion", "bash").stdout
    program = tmp_path / "dm-bridge"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dm_bridge "$@"\n')
    program.chmod(0o755)
    asked = "COMP_WORDS=(dm-bridge dir) COMP_CWORD=1; _dm_bridge_completion dm-bridge; echo ${COMPREPLY[@]}"
    done = subprocess.run(
        ["bash", "-c", f"PATH={tmp_path}:$PATH\n{script}\n{asked}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["direct"], done.stderr
