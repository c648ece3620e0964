"""Connectors are found by entry point, and refused with a sentence that says what to do."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from pathlib import Path

import pytest

from dm_bridge.errors import ConfigError
from dm_bridge.network import registry
from dm_bridge.network.api import API_VERSION


def install(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    """Make exactly these connectors installed, by name and import target."""
    points = [
        importlib.metadata.EntryPoint(name, target, registry.GROUP)
        for name, target in targets.items()
    ]

    def entry_points(*, group: str) -> list[importlib.metadata.EntryPoint]:
        assert group == registry.GROUP
        return points

    monkeypatch.setattr(registry, "entry_points", entry_points)


def module_with_connector(monkeypatch: pytest.MonkeyPatch, api_version: int) -> object:
    connector = types.SimpleNamespace(
        api_version=api_version, name="other", title="Other", config_model=None, build=None
    )
    module = types.ModuleType("a_third_party_connector")
    module.__dict__["connector"] = connector
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return connector


def test_the_installed_package_brings_the_xmpp_connector() -> None:
    assert "xmpp" in registry.connector_names()


def test_a_connector_of_a_third_party_is_found_by_its_entry_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connector = module_with_connector(monkeypatch, API_VERSION)
    install(monkeypatch, other="a_third_party_connector:connector")
    assert registry.load_connector("other") is connector


def test_names_are_listed_sorted_and_without_importing_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, zulu="absent_module:connector", alpha="absent_module:connector")
    assert registry.connector_names() == ["alpha", "zulu"]


def test_an_unknown_name_is_answered_with_the_installed_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, xmpp="absent:connector", irc="absent:connector")
    with pytest.raises(ConfigError, match=r"'xmmp'.*installed are: irc, xmpp"):
        registry.load_connector("xmmp")


def test_an_unknown_name_is_answered_when_none_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch)
    with pytest.raises(ConfigError, match="installed are: none"):
        registry.load_connector("xmpp")


def test_a_connector_that_cannot_be_imported_names_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, broken="a_module_that_is_absent:connector")
    with pytest.raises(ConfigError, match=r"a_module_that_is_absent:connector.*Reinstall"):
        registry.load_connector("broken")


@pytest.mark.parametrize("version", [API_VERSION - 1, API_VERSION + 1])
def test_a_connector_for_another_api_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    module_with_connector(monkeypatch, version)
    install(monkeypatch, other="a_third_party_connector:connector")
    with pytest.raises(ConfigError, match=f"version {version} .*version {API_VERSION}"):
        registry.load_connector("other")


@pytest.mark.parametrize("part", ["title", "config_model", "build"])
def test_a_connector_that_lacks_something_is_refused(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    delattr(module_with_connector(monkeypatch, API_VERSION), part)
    install(monkeypatch, other="a_third_party_connector:connector")
    with pytest.raises(ConfigError, match=f"has no `{part}`"):
        registry.load_connector("other")


def test_a_connector_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    delattr(module_with_connector(monkeypatch, API_VERSION), "name")
    install(monkeypatch, other="a_third_party_connector:connector")
    with pytest.raises(ConfigError, match="calls itself None"):
        registry.load_connector("other")


def test_two_packages_that_bring_one_connector_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = [
        importlib.metadata.EntryPoint("other", target, registry.GROUP)
        for target in ("one:connector", "two:connector", "two:connector")
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    with pytest.raises(ConfigError, match=r"2 connectors .*one:connector, two:connector"):
        registry.load_connector("other")


def test_a_package_that_fails_when_it_is_imported_is_an_error_of_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "failing_connector.py").write_text("raise ValueError('not today')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    install(monkeypatch, other="failing_connector:connector")
    with pytest.raises(ConfigError, match=r"cannot be imported: .*not today"):
        registry.load_connector("other")


def test_an_entry_point_that_names_nothing_is_an_error_of_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module_with_connector(monkeypatch, API_VERSION)
    install(monkeypatch, other="a_third_party_connector:missing")
    with pytest.raises(ConfigError, match="cannot be imported"):
        registry.load_connector("other")
