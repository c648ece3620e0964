"""A pseudo language: English with every message in brackets, to see what is said by no message.

``⟦ ⟧`` stand around each message, ``⟨ ⟩`` around each value in it, but for values in code and in addresses of
links: commands can be copied, and links work. ``speak(LANGUAGE, folder)`` says everything in it; in a bridge::

    texts:
      folder: FOLDER
      language: en-XA
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from fluent.syntax import FluentParser, FluentSerializer
from fluent.syntax.ast import (
    FunctionReference,
    Message,
    Pattern,
    Placeable,
    SelectExpression,
    TextElement,
    VariableReference,
)

from dm_bridge.texts import ENGLISH, FOLDER

LANGUAGE = "en-XA"
"""What CLDR calls English that was made foreign for tests."""
_MARK = re.compile("([⟦⟧⟨⟩])")
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_LINK = re.compile(r"\]\([^)\s]*\)")
_WORD = re.compile(r"[^\W\d_]{2,}")
_CLOSES = {"⟧": "⟦", "⟩": "⟨"}


def write(folder: Path, source: Path = FOLDER) -> None:
    """Write the English messages of a catalogue into ``folder/en-XA``, for ``texts.folder``.

    ``source``: the catalogue's folder; a connector may have its own.
    """
    target = folder / LANGUAGE
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted((source / ENGLISH).glob("*.ftl")):
        resource = FluentParser().parse(path.read_text(encoding="utf-8"))
        for entry in resource.body:
            if isinstance(entry, Message) and entry.value is not None:
                _mark_values(entry.value, "")
                inside = entry.value.elements
                entry.value.elements = [TextElement("⟦"), *inside, TextElement("⟧")]
        text = FluentSerializer().serialize(resource)
        (target / path.name).write_text(text, encoding="utf-8")


def _mark_values(pattern: Pattern, before: str) -> None:
    """``before``: the text of the message before the pattern."""
    marked: list[TextElement | Placeable] = []
    for element in pattern.elements:
        if isinstance(element, TextElement):
            before += element.value
            marked.append(element)
            continue
        expression = element.expression
        if isinstance(expression, SelectExpression):
            for variant in expression.variants:
                _mark_values(variant.value, before)
        shown = isinstance(expression, VariableReference | FunctionReference)
        if shown and before.count("`") % 2 == 0 and not before.endswith("]("):
            marked += [TextElement("⟨"), element, TextElement("⟩")]
        else:
            marked.append(element)
    pattern.elements = marked


def strays(text: str, data: Collection[str] = ()) -> list[str]:
    """The words in ``text`` that are said by no message, and are neither in code nor among ``data``."""
    rest = _LINK.sub("]", _CODE.sub(" ", " ".join(_outside(text.replace("\\", "")))))
    for each in sorted(data, key=len, reverse=True):
        rest = re.sub(rf"(?<!\w){re.escape(each)}(?!\w)", " ", rest)
    return _WORD.findall(rest)


def _outside(text: str) -> Iterator[str]:
    """What stands in no message, or is a value in one."""
    within: list[str] = []
    for part in _MARK.split(text):
        if part in _CLOSES:
            if not within or within.pop() != _CLOSES[part]:
                raise ValueError(f"a bracket without the other: {text}")
        elif _MARK.fullmatch(part):
            within.append(part)
        elif not within or within[-1] == "⟨":
            yield part
    if within:
        raise ValueError(f"a bracket without the other: {text}")
