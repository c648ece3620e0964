"""The systemd unit and the container: they start the bridge that there is, and wait for its end."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from dm_bridge.cli.main import EXIT_CONFIG, cli

ROOT = Path(__file__).resolve().parents[2]
OPS = ROOT / "ops"
ADMIN = ROOT / "docs" / "admin.md"


def settings() -> dict[str, str]:
    """What the unit sets, whatever the section."""
    lines = (OPS / "dm_bridge.service").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return dict(pairs)


def instructions(name: str) -> list[str]:
    """What the Dockerfile says after ``name``."""
    text = (OPS / "Dockerfile").read_text().replace("\\\n", "")
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


def check_command(words: list[str]) -> None:
    """The words after ``dm-bridge`` are a command and options that it has."""
    above = click.Context(cli, **cli.context_settings)  # what is made of it is kept by the command
    command = cli.get_command(above, words[0])
    assert command is not None
    command.make_parser(click.Context(command, parent=above)).parse_args(list(words[1:]))


def test_the_unit_runs_the_bridge_and_does_not_repeat_a_wrong_configuration() -> None:
    unit = settings()
    program, *words = shlex.split(unit["ExecStart"])
    assert program.endswith("/dm-bridge")
    check_command(words)
    assert unit["RestartPreventExitStatus"] == str(EXIT_CONFIG)
    assert Path(words[-1]).parent == Path(unit["WorkingDirectory"])
    assert unit["WorkingDirectory"] == f"/var/lib/{unit['StateDirectory']}"


def test_only_the_bridge_is_told_to_stop_as_it_stops_its_database_itself() -> None:
    assert settings()["KillMode"] == "mixed"
    assert int(settings()["TimeoutStopSec"]) >= 30


@pytest.mark.parametrize("option", ["PrivateTmp", "PrivateIPC", "MemoryDenyWriteExecute"])
def test_what_would_break_the_embedded_database_is_left_out(option: str) -> None:
    assert option not in settings()


def test_the_image_copies_what_is_there_and_runs_the_bridge() -> None:
    sources = [source for line in instructions("COPY") for source in line.split()[:-1]]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert instructions("ENTRYPOINT") == ['["dm-bridge"]']
    check_command(yaml.safe_load(instructions("CMD")[0]))


def test_the_image_holds_all_that_the_package_is_built_from() -> None:
    import tomllib

    sources = {source for line in instructions("COPY") for source in line.split()[:-1]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {project["project"]["readme"], *project["project"]["license-files"]}
    assert {*wheel["packages"], *wheel["force-include"], *needed} <= sources


def test_the_composition_keeps_the_data_and_builds_the_image_that_is_there() -> None:
    (service,) = yaml.safe_load((OPS / "compose.yaml").read_text())["services"].values()
    build = service["build"]
    assert (OPS / build["context"] / build["dockerfile"]).resolve() == OPS / "Dockerfile"
    assert [volume.split(":")[1] for volume in service["volumes"]] == instructions("VOLUME")


def test_the_page_for_admins_names_each_file() -> None:
    text = ADMIN.read_text()
    for path in ("dm_bridge.service", "Dockerfile", "compose.yaml"):
        assert f"ops/{path}" in text
