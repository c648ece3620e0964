"""The code in the pages about the examples is the code of the examples."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECIDE = ROOT / "examples/direct_alone/decide.py"
PAGES = {"library.md": 4}
"""The pages, and how many blocks of Python each has at least."""


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_stands_in_an_example(page: str) -> None:
    sources = [path.read_text() for path in (ROOT / "examples").rglob("*.py")]
    shown = blocks(page, "python")
    assert len(shown) >= PAGES[page]
    for block in shown:
        assert any(block in source for source in sources), block


def test_the_output_that_is_shown_is_what_the_example_prints() -> None:
    ran = subprocess.run(
        [sys.executable, str(DECIDE)], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout in blocks("library.md", "")
