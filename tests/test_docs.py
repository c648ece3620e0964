"""The pages in docs/ say what is so, where that can be checked: links, quoted logs, shown output."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_bridge.config import load_config
from dm_bridge.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WRONG = """\
homeserver:
  ulr: http://localhost:8008
  domain: example.org
appservice:
  listen: 127.0.0.1:29350
  url: http://127.0.0.1:29350
  bot: dmbot
  as_token: example-as-token-replace-me-000001
  hs_token: a-token
  accounts_token: example-accounts-token-replace-me-000003
"""


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page may name, as GitHub and GitLab make it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        to = (page.parent / name).resolve() if name else page
        assert to.exists(), target
        assert not anchor or anchor in anchors(to), target


def strings() -> Iterator[str]:
    """Every text in the code of the bridge."""
    for path in (ROOT / "dm_bridge").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_log_lines_of_the_bridge_that_are_quoted_are_written_by_it() -> None:
    quoted = re.findall(
        r"^\| \(bridge\) `([^`]+)`", (ROOT / "docs/observation.md").read_text(), re.M
    )
    assert len(quoted) == 2
    texts = list(strings())
    for line in quoted:
        start = line.removesuffix("; …")
        assert any(text.startswith(start) for text in texts), line


def test_the_problems_that_are_shown_are_those_of_such_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(WRONG)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {"DM_BRIDGE__DIRECT__AUTO_JOIN": "maybe"})
    told = f"dm-bridge: {caught.value}".replace(str(path), "config.yaml")
    assert told in (ROOT / "docs/configuration.md").read_text()


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text()
    names = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert names <= set(re.findall(r"\]\(([\w-]+\.md)", index))
