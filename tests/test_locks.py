"""The locked requirements fit pyproject.toml, and betray nothing of the machine that made them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return {
        str(canonicalize_name(match[1])): match[2]
        for match in re.finditer(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)
    }


def wanted(*extras: str) -> list[Requirement]:
    lines = [*PROJECT["dependencies"]]
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    found = [Requirement(line) for line in lines]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


@pytest.mark.parametrize(("name", "extras"), [("run.txt", ()), ("dev.txt", ("demo", "dev"))])
def test_every_dependency_is_locked_to_a_version_that_fits(
    name: str, extras: tuple[str, ...]
) -> None:
    locked = pins(name)
    unfit = [
        str(requirement)
        for requirement in wanted(*extras)
        if not requirement.specifier.contains(
            locked.get(str(canonicalize_name(requirement.name)), "0"), prereleases=True
        )
    ]
    assert unfit == [], "run `make lock`"


def test_the_bridge_is_tested_with_the_versions_it_is_run_with() -> None:
    run, dev = pins("run.txt"), pins("dev.txt")
    assert {name: dev.get(name) for name in run} == run


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_a_lock_names_no_index_no_host_and_no_path(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert not re.search(r"://|^\s*--(?!hash=)|^\s*-[ef]| @ ", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_every_pin_has_a_hash(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    for match in re.finditer(r"^\S+==\S+ *(.*)$(\n.*)", text, re.MULTILINE):
        assert match[1] == "\\", match[0]
        assert "--hash=sha256:" in match[2], match[0]
