"""What the page's scripts say to people: calls of `phrase`, and words that are not among the messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .sources import PACKAGE, ROOT, SENTENCE, Call

PAGE = PACKAGE / "page" / "static"
_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|(?P<string>"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`)|(?P<call>\bphrase\()|(?P<other>.)',
    re.DOTALL,
)
_NAME = re.compile(r'"(page-[\w-]+)"')
_WORD = re.compile(r"^[A-Z][a-z]")
_FOR_MACHINES = {"Content-Type", "Enter", "Escape", "ArrowDown", "ArrowUp"}


def scripts() -> Iterator[tuple[Path, str]]:
    """The page's scripts."""
    for path in sorted(PAGE.glob("*.js")):
        yield path, path.read_text(encoding="utf-8")


def script_calls() -> list[Call]:
    """All calls of `phrase` with a name that is written out; in the page itself, ``{{name}}`` is one."""
    found = []
    for path, text in scripts():
        for match in _TOKEN.finditer(text):
            if match["call"] is None or text[: match.start()].endswith("function "):
                continue
            name, *values = _split(text[match.end() :])
            given = _split(values[0].strip()[1:]) if values else []
            keys = frozenset(re.split(r"\W", value.strip())[0] for value in given)
            where = f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}"
            found += [Call(where, each, keys) for each in _NAME.findall(name)]
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    found += [
        Call("index.html", each, frozenset()) for each in re.findall(r"\{\{(page-.*?)}}", index)
    ]
    return found


def script_constants() -> set[str]:
    """Every name of a message that is written out in a script, or in the page itself."""
    named = {call.name for call in script_calls() if call.name is not None}
    return named.union(*(_NAME.findall(text) for _, text in scripts()))


def script_words() -> list[str]:
    """Words for people that are written out in a script, or in the page itself, with where they are."""
    found = []
    for path, text in scripts():
        for match in _TOKEN.finditer(text):
            if match["string"] is not None:
                said = re.sub(r"\$\{.*?}", "x", match["string"][1:-1])
                if said not in _FOR_MACHINES and (_WORD.search(said) or SENTENCE.search(said)):
                    found.append(f"{path.name}: {said!r}")
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    shown = re.findall(r'(?:aria-label|title|alt)="([^"]*)"|>([^<]*)<', index)
    alone = {part.strip() for pair in shown for part in pair if part.strip()}
    return found + sorted(
        each for each in alone if not each.startswith("{{") and each != "dm_bridge"
    )


def _split(text: str) -> list[str]:
    """The parts between the commas, up to where what is around ``text`` is closed."""
    parts, depth = [""], 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match["other"] is None:
            depth += match["call"] is not None
        elif token in "([{":
            depth += 1
        elif token in ")]}":
            depth -= 1
            if depth < 0:
                break
        elif token == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += token
    return [part for part in parts if part.strip()]
