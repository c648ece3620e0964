"""The code in the pages about the examples is the code of the examples."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BRIDGE_TEST = ROOT / "tests/e2e/test_mqtt_example.py"
MQTT = ROOT / "examples/mqtt/src/dm_bridge_mqtt"
DECIDE = ROOT / "examples/direct_alone/decide.py"
GUIDE = "connector-guide.md"
PAGES = {"library.md": 4, GUIDE: 15}
"""The pages, and how many blocks of Python each has at least."""


def blocks(page: str, language: str) -> list[str]:
    return blocks_of((ROOT / "docs" / page).read_text(), language)


def blocks_of(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_stands_in_an_example(page: str) -> None:
    examples = (
        path for kind in ("py", "toml", "ftl") for path in (ROOT / "examples").rglob(f"*.{kind}")
    )
    sources = [path.read_text() for path in (*examples, BRIDGE_TEST)]
    shown = blocks(page, "python")
    assert len(shown) >= PAGES[page]
    for block in (*shown, *blocks(page, "toml"), *blocks(page, "fluent")):
        assert any(block in source for source in sources), block


@pytest.mark.parametrize(
    ("file", "sections"), [("mqtt.py", (3,)), ("__init__.py", range(4, 10))], ids=["mqtt", "init"]
)
def test_who_copies_the_guide_block_by_block_has_the_connector(
    file: str, sections: Iterable[int]
) -> None:
    parts = re.split(r"^## \d+\. .*$", (ROOT / "docs" / GUIDE).read_text(), flags=re.MULTILINE)
    copied = "\n".join(block for number in sections for block in blocks_of(parts[number], "python"))
    assert pieces(copied) == pieces((MQTT / file).read_text())


def pieces(source: str) -> dict[str, str]:
    """Every statement of a module, and every member of its classes, whatever their order."""
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        found |= {f"{getattr(node, 'name', '')} {ast.unparse(one)}": ast.dump(one) for one in inner}
    return found


def test_the_output_that_is_shown_is_what_the_example_prints() -> None:
    ran = subprocess.run(
        [sys.executable, str(DECIDE)], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout in blocks("library.md", "")


@pytest.mark.parametrize(("name", "most"), [("__init__.py", 199), ("mqtt.py", 80)])
def test_the_connector_is_as_short_as_the_guide_says(name: str, most: int) -> None:
    source = (MQTT / name).read_text()
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = [
        line
        for number, line in enumerate(source.splitlines(), 1)
        if number not in docstrings and line.strip() and not line.strip().startswith("#")
    ]
    assert len(lines) <= most
