"""Says what is wrong with a value in words that an admin can act on.

The rule that must never break: a secret is described by its length, never shown; so is whatever a
URL carries before its ``@``.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from dm_bridge.config import shape

_LONGEST = 80
_USERINFO = re.compile(r"//[^/\s]*@")
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:password|passphrase|passwd|token|secret|key)\Z", re.IGNORECASE
)
_MAP_TYPES = frozenset({"dict_type", "mapping_type", "model_type", "model_attributes_type"})
_TEXT_TYPES = frozenset({"string_type", "path_type"})
_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "path_type": "the name of a file or directory",
    "string_type": "text",
    "tuple_type": "a list",
}


def kind(value: Any) -> str:
    """What sort of value it is, without showing it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case dict():
            return "keys and values"
        case list():
            return "a list"
        case _:
            return "something else"


def shown(value: Any, text: str | None = None) -> str:
    """A value that is no secret, as it was written where ``text`` is known."""
    match value:
        case bool():
            plain = "true" if value else "false"
            return plain if text is None or text.lower() == plain else f"{text} (read as {plain})"
        case int() | float():
            return text or str(value)
        case str():
            masked = _USERINFO.sub("//…@", value)
            return json.dumps(
                masked if len(masked) <= _LONGEST else masked[:_LONGEST] + "…", ensure_ascii=False
            )
        case _:
            return kind(value)


def _shown_secret(value: Any) -> str:
    return f"{len(value)} characters" if isinstance(value, str) else kind(value)


def suggestion(name: str, known: Sequence[str]) -> str | None:
    """``; did you mean "x"?`` with the closest of ``known``, or None when none is close."""
    close = difflib.get_close_matches(name.lower().replace("-", "_"), known, 1, 0.6)
    return f'; did you mean "{close[0]}"?' if close else None


def unknown_key(key: str, known: Sequence[str], root: type[BaseModel]) -> str:
    """The sentence for a key that its section does not have."""
    close = suggestion(key, known)
    if close is not None:
        return f"unknown key{close}"
    elsewhere = [name for name, _ in shape.dotted_keys(root) if name.rpartition(".")[2] == key]
    if elsewhere:
        return f"unknown key here; did you mean {' or '.join(elsewhere)}?"
    return f"unknown key; known here are: {', '.join(known) or 'none'}."


def sentence(
    error: ErrorDetails, annotation: Any, description: str | None, value: Any, text: str | None
) -> str:
    """The sentence for a pydantic error about the key of type ``annotation`` that holds ``value``."""
    code, path = error["type"], error["loc"]
    if code == "missing":
        return f"this key is required: {description}." if description else "this key is required."
    if code in _MAP_TYPES:
        return f"expected keys below it; found {kind(value)}."
    expected = _expected(error)
    if code == "value_error" and isinstance(value, dict | list):
        return f"{expected}."
    name = str(path[-1]) if path else ""
    secret = shape.is_secret(annotation) or _SECRET_NAME.search(name) is not None
    found = f"{expected}; found {_shown_secret(value) if secret else shown(value, text)}"
    if code in _TEXT_TYPES and isinstance(value, bool | int | float):
        found += ", which YAML does not read as text: put quotes around it"
    return f"{found}."


def _expected(error: ErrorDetails) -> str:
    code, context = error["type"], error.get("ctx", {})
    if code == "value_error":
        return str(context.get("error", "this value is not possible")).rstrip(".")
    if code in ("enum", "literal_error"):
        choices = str(context["expected"]).replace("'", "")
        return f"expected {'one of ' if ' or ' in choices else ''}{choices}"
    if code in _EXPECTED:
        return f"expected {_EXPECTED[code]}"
    message = error["msg"].rstrip(".")
    rest = message.removeprefix("Input should be ")
    return f"expected {rest}" if rest != message else message[:1].lower() + message[1:]
