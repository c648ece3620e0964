"""The commands in the pages: every ```sh block, and what the page says that it shows."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """``page`` and ``first``, the first line, name it. ``shown``: the ```text block after it, line by line."""

    page: str
    text: str
    shown: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        return self.text.splitlines()[0]

    @property
    def key(self) -> tuple[str, str]:
        return self.page, self.first


def name_of(page: Path) -> str:
    """The page's name; those in ``docs`` without it, but for the one that has the name of another."""
    return "docs/README.md" if page == ROOT / "docs/README.md" else page.name


def blocks(page: Path) -> Iterator[Block]:
    """The commands of a page, in its order."""
    found = [(match[2], textwrap.dedent(match[3])) for match in _FENCE.finditer(page.read_text())]
    for (language, text), (next_language, next_text) in itertools.pairwise([*found, ("", "")]):
        if language == "sh":
            shown = next_text.splitlines() if next_language == "text" else []
            yield Block(name_of(page), text, tuple(line for line in shown if line.strip()))


def missing(shown: tuple[str, ...], output: str) -> list[str]:
    """The lines that a page shows and the output has not; ``…`` stands for anything."""
    return [
        line
        for line in shown
        if not re.search(".*".join(map(re.escape, line.strip().split("…"))), output)
    ]
