"""The systemd unit and the container: they start the bridge that there is, and wait for its end."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from dm_bridge.cli.main import EXIT_CONFIG, cli
from dm_bridge.config import load_config
from tests.logs import logging_put_back

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


def services() -> dict[str, dict[str, Any]]:
    """What the composition runs."""
    found = yaml.safe_load((OPS / "compose.yaml").read_text())["services"]
    assert isinstance(found, dict)
    return found


def test_the_composition_keeps_the_data_and_builds_the_image_that_is_there() -> None:
    service = services()["dm-bridge"]
    build = service["build"]
    assert (OPS / build["context"] / build["dockerfile"]).resolve() == OPS / "Dockerfile"
    assert [volume.split(":")[1] for volume in service["volumes"]] == instructions("VOLUME")
    assert service["user"].split(":")[0] in instructions("RUN")[-1]


@pytest.mark.parametrize("name", ["postgres", "synapse", "dm-bridge"])
def test_no_part_of_the_composition_has_more_rights_than_it_needs(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert service["healthcheck"]["test"][0] == "CMD"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert not re.search("password|token|secret", str(service.get("image")))
    assert ":" in service.get("image", "built:here")


def test_the_bridge_takes_the_configuration_that_the_page_makes_for_containers(
    tmp_path: Path,
) -> None:
    steps = ADMIN.read_text().replace("\\\n", " ")
    (words,) = re.findall(r"^docker compose .* dm-bridge (init .*)$", steps, re.M)
    for found in re.findall(
        r"^docker compose run .* dm-bridge ((?:init|registration) .*)$", steps, re.M
    ):
        check_command(shlex.split(found))
    path, secret = tmp_path / "config.yaml", tmp_path / "database_url"
    arguments = shlex.split(words.replace("-c config.yaml", f"-c {path}"))
    with logging_put_back():
        assert CliRunner().invoke(cli, arguments).exit_code == 0
    (sed,) = re.findall(r"-i 's\|(.*)\|(.*)\|' config.yaml", steps)
    path.write_text(re.sub(sed[0], sed[1], path.read_text(), count=1))
    secret.write_text("postgresql://dm_bridge:password@postgres/dm_bridge\n")
    environment = services()["dm-bridge"]["environment"]
    assert environment == {"DM_BRIDGE__DATABASE__URL_FILE": "/run/secrets/database_url"}
    config = load_config(path, {"DM_BRIDGE__DATABASE__URL_FILE": str(secret)})
    assert str(config.appservice.url) == "http://dm-bridge:29350"
    assert config.homeserver.domain == services()["synapse"]["environment"]["SYNAPSE_SERVER_NAME"]


def test_the_page_for_admins_names_each_file() -> None:
    text = ADMIN.read_text()
    for path in ("dm_bridge.service", "Dockerfile", "compose.yaml"):
        assert f"ops/{path}" in text
