"""Overrides from the environment: ``DM_BRIDGE__SECTION__KEY``.

The rule that must never break: a variable with our prefix is either used or reported, never
ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml
from yaml.nodes import ScalarNode

from dm_bridge.config.document import Document
from dm_bridge.config.problems import KeyPath, Origin, Problem

PREFIX = "DM_BRIDGE__"
_SEPARATOR = "__"


def variable_name(path: KeyPath) -> str:
    """The environment variable that sets the key at ``path``."""
    return PREFIX + _SEPARATOR.join(str(part).upper() for part in path)


def apply_environment(document: Document, environ: Mapping[str, str]) -> None:
    """Put the variables of ``environ`` over ``document``; outer keys first, so inner ones win."""
    named: dict[KeyPath, str] = {}
    for name in sorted(environ):
        if not name.upper().startswith(PREFIX):
            continue
        path: KeyPath = tuple(name[len(PREFIX) :].lower().split(_SEPARATOR))
        if not all(path):
            sentence = "expected DM_BRIDGE__SECTION__KEY; a part of the name is empty."
            document.problems.append(Problem(Origin(name), (), sentence))
        elif path in named:
            sentence = f"{named[path]} sets the same key. Keep one of the two."
            document.problems.append(Problem(Origin(name), path, sentence))
        else:
            named[path] = name
    for path in sorted(named, key=len):
        text = environ[named[path]]
        origin = Origin(named[path], text=text)
        try:
            document.place(path, _parse(text), origin)
        except ValueError as error:
            document.problems.append(Problem(origin, path, f"expected valid JSON: {error}."))


def _parse(text: str) -> Any:
    """JSON for maps and lists, else a YAML scalar; text that is neither stays text."""
    if text.lstrip()[:1] == "{":
        return json.loads(text, object_pairs_hook=_object)
    if text.lstrip()[:1] == "[":
        try:
            return json.loads(text, object_pairs_hook=_object)
        except json.JSONDecodeError:
            return text  # an IPv6 address in brackets
    if not text:
        return text
    loader = yaml.SafeLoader("")
    try:
        tag = loader.resolve(ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # PyYAML has no types for it
        if ":" in text or tag.rpartition(":")[2] not in ("null", "bool", "int", "float"):
            return text
        return loader.construct_object(ScalarNode(tag, text))
    finally:
        loader.dispose()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is given twice in one map")
    return values
