"""The page's messages as its scripts read them: pieces that a browser puts together without Fluent.

A piece is a text; ``{"value": NAME}``, which stands for a value; or ``{"value": NAME, "forms": {FORM: pieces},
"otherwise": FORM}``, whose forms are those of a number (the CLDR's, or the number itself).

The rule that must never break: a message that a browser could not put together, or that takes other values than
English does, is said in English.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from babel import Locale, UnknownLocaleError
from fluent.syntax.ast import (
    Expression,
    Identifier,
    NumberLiteral,
    Pattern,
    Placeable,
    SelectExpression,
    StringLiteral,
    TextElement,
    VariableReference,
)

from dm_bridge.texts import mistaken, phrase

Pieces = list[Any]


class NotForBrowsers(Exception):
    """A message has more in it than texts, values and forms of a number."""


def spoken(names: Collection[str]) -> list[dict[str, Any]]:
    """Languages, the chosen one first, each with those of the messages ``names`` that the ones before it lack."""
    written = phrase.patterns(names)
    _, english = written[-1]
    known: set[str] = set()
    found = []
    for language, patterns in written:
        messages: dict[str, Pieces] = {}
        for name in patterns.keys() - known:
            try:
                pieces, values = pieces_of(patterns[name])
                if name in english and not values <= pieces_of(english[name])[1]:
                    raise NotForBrowsers("it takes other values than the English one")
            except NotForBrowsers as error:
                mistaken(f"{name} ({language}): {error}")
            else:
                messages[name] = pieces
        known |= messages.keys()
        found.append({"language": language, "messages": dict(sorted(messages.items()))})
    return found


def direction(language: str) -> str:
    """``rtl`` for a language that is written from right to left, else ``ltr``; as HTML's ``dir``."""
    try:
        return Locale.parse(language, sep="-").text_direction
    except (UnknownLocaleError, ValueError):
        return "ltr"


def pieces_of(pattern: Pattern) -> tuple[Pieces, set[str]]:
    """The pieces of a message, and the names of its values. Raises `NotForBrowsers`."""
    pieces: Pieces = []
    values: set[str] = set()
    for element in pattern.elements:
        match element:
            case TextElement(value=text) | Placeable(expression=StringLiteral(value=text)):
                pieces.append(text)
            case Placeable(expression=VariableReference(id=Identifier(name=name))):
                pieces.append({"value": name})
                values.add(name)
            case Placeable(expression=SelectExpression() as select):
                piece, more = _forms(select)
                pieces.append(piece)
                values |= more
            case Placeable(expression=expression):
                raise _not_for_browsers(expression)
    return pieces, values


def _forms(select: SelectExpression) -> tuple[dict[str, Any], set[str]]:
    if not isinstance(select.selector, VariableReference):
        raise _not_for_browsers(select.selector)
    name = select.selector.id.name
    forms, otherwise, values = {}, "", {name}
    for variant in select.variants:
        number = isinstance(variant.key, NumberLiteral)
        form = variant.key.value if isinstance(variant.key, NumberLiteral) else variant.key.name
        if not number and form not in ("zero", "one", "two", "few", "many", "other"):
            raise NotForBrowsers(f"{form} is no form of a number")
        forms[form], more = pieces_of(variant.value)
        values |= more
        if variant.default:
            otherwise = form
    return {"value": name, "forms": forms, "otherwise": otherwise}, values


def _not_for_browsers(expression: Expression | Placeable) -> NotForBrowsers:
    return NotForBrowsers(f"browsers cannot put a {type(expression).__name__} into words")
