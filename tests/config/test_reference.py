"""docs/configuration.md names every key, and its examples load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from dm_bridge.config import Config, shape
from dm_bridge.config.environment import variable_name
from dm_bridge.network.registry import load_connector

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
ROW = re.compile(r"^\| `([a-z_.]+)` \| (.*?) \| .* \| `([A-Z_]+)` \|$", re.MULTILINE)
OURS = dict(shape.dotted_keys(Config))
XMPP = dict(shape.dotted_keys(load_connector("xmpp").config_model, "networks.xmpp."))
IRC = dict(shape.dotted_keys(load_connector("irc").config_model, "networks.irc."))


def test_the_page_has_a_row_for_every_key_and_no_other() -> None:
    rows = [key for key, _, _ in ROW.findall(PAGE)]
    assert sorted(rows) == sorted([*OURS, *XMPP, *IRC])


def test_every_row_names_its_variable() -> None:
    for key, _, variable in ROW.findall(PAGE):
        assert variable == variable_name(tuple(key.split(".")))


@pytest.mark.parametrize(("key", "default"), [(key, what) for key, what, _ in ROW.findall(PAGE)])
def test_every_row_tells_the_default(key: str, default: str) -> None:
    field = (OURS | XMPP | IRC)[key]
    if field.is_required():
        assert "," not in default
        return
    if key == "appservice.url":
        assert default.endswith("from `listen`")
        return
    value = field.get_default(call_default_factory=True)
    if value in ({}, (), None):
        assert default.endswith("empty")
    else:
        value = value.get_secret_value() if shape.is_secret(field.annotation) else value
        shown = str(value).lower() if isinstance(value, bool) else f"{value}".removesuffix(".0")
        assert default.endswith(f"`{shown}`")


def test_the_keys_of_servers_are_all_there() -> None:
    keys: list[str] = []
    for servers in (XMPP["networks.xmpp.servers"], IRC["networks.irc.servers"]):
        model = shape.model_of(shape.values_of(servers.annotation))
        assert model is not None
        assert issubclass(model, BaseModel)
        keys += model.model_fields
    rows = re.findall(r"^\| `([a-z_]+)` \| [^|]* \| [^|]* \|$", PAGE, re.MULTILINE)
    assert rows == keys


def test_the_variables_of_secrets_are_known() -> None:
    for key, field in OURS.items():
        assert ("| secret" in line_of(key)) == shape.is_secret(field.annotation)


def line_of(key: str) -> str:
    return next(line for line in PAGE.splitlines() if line.startswith(f"| `{key}` |"))


def test_the_yaml_of_the_page_is_yaml_of_known_sections() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        assert set(yaml.safe_load(block)) <= set(Config.model_fields)
