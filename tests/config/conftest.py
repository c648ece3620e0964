"""A valid configuration to spoil, and a connector to configure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

from dm_bridge.config import Config, InvalidConfigError, load, load_config
from dm_bridge.errors import ConfigError
from dm_bridge.ids import NetworkName
from dm_bridge.network.api import API_VERSION, Network

VALID = """\
homeserver:
  url: http://localhost:8008
  domain: example.org
appservice:
  as_token: as-token-as-token-1
  hs_token: hs-token-hs-token-2
  accounts_token: ac-token-ac-token-3
"""
"""Seven lines; what a test appends begins at line 8."""


class FakeServer(BaseModel):
    host: str
    port: int = Field(default=5222, ge=1, le=65535)
    tls: Literal["starttls", "none"] = "starttls"
    password: SecretStr = SecretStr("")
    ca_file: Path | None = None

    @field_validator("host")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        if "/" in value:
            raise ValueError("a host has no slash")
        return value


class FakeOptions(BaseModel):
    """Deliberately without ``extra="forbid"``: the loader itself must refuse unknown keys."""

    servers: dict[str, FakeServer] = {}
    rooms: list[str] = []
    strict: bool = Field(default=False, strict=True)


class SwitchedOptions(BaseModel):
    enabled: bool = False


class FakeConnector:
    title = "Fake"
    api_version = API_VERSION

    def __init__(self, name: str, config_model: type[BaseModel]) -> None:
        self.name = NetworkName(name)
        self.config_model = config_model

    def build(self, config: BaseModel) -> Network:
        raise ConfigError(f"built with {config!r}")


@pytest.fixture(autouse=True)
def _connectors(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {
        "fake": FakeConnector("fake", FakeOptions),
        "switched": FakeConnector("switched", SwitchedOptions),
        "broken": None,
    }

    def load_connector(name: str) -> FakeConnector:
        connector = installed[name]
        if connector is None:
            raise ConfigError("The connector 'broken' cannot be imported.")
        return connector

    monkeypatch.setattr(load, "connector_names", lambda: sorted(installed))
    monkeypatch.setattr(load, "load_connector", load_connector)


Loads = Callable[..., Config]
Complaints = Callable[..., list[str]]


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    """Loads `VALID` with text appended, and environment variables given by keyword."""

    def loaded(more: str = "", *, text: str | None = None, **environ: str) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(VALID + more if text is None else text)
        return load_config(path, environ)

    return loaded


@pytest.fixture
def complaints(loads: Loads, tmp_path: Path) -> Complaints:
    """The problems of a configuration that does not load, without the folder."""

    def found(more: str = "", *, text: str | None = None, **environ: str) -> list[str]:
        with pytest.raises(InvalidConfigError) as caught:
            loads(more, text=text, **environ)
        lines = [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]
        for line in lines:
            assert line in str(caught.value).replace(f"{tmp_path}/", "")
        return lines

    return found
