"""Reads a YAML file into plain values, and remembers the line of every key.

The rule that must never break: nothing in the file is lost silently. A key given twice, a tag we
do not know, an alias that contains itself: each is a problem, not a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dm_bridge.config.problems import InvalidConfigError, KeyPath, Origin, Problem

_MAX_NODES = 100_000
_TAG = "tag:yaml.org,2002:"
_TYPED = frozenset(_TAG + name for name in ("null", "bool", "int", "float"))
_TEXT = frozenset(_TAG + name for name in ("str", "timestamp", "merge", "value"))


@dataclass(slots=True)
class Document:
    """A configuration as written: values, and the origin of each key that was written."""

    source: str
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    settled: set[KeyPath] = field(default_factory=set)
    """Keys without a value because of a problem that is already noted under another key."""

    def origin(self, path: KeyPath) -> Origin:
        """The origin of ``path``, or of the nearest key that contains it."""
        while path:
            found = self.origins.get(path)
            if found is not None:
                return found
            path = path[:-1]
        return Origin(self.source)

    def complain(self, path: KeyPath, sentence: str) -> None:
        """Note a problem with the key at ``path``."""
        self.problems.append(Problem(self.origin(path), path, sentence))

    def complain_within(self, path: KeyPath, sentence: str) -> None:
        """Note a problem with a key that may have been written only through keys inside it."""
        inside = [known for known in self.origins if known[: len(path)] == path]
        origin = self.origin(min(inside, key=len) if inside else path)
        self.problems.append(Problem(origin, path, sentence))

    def value(self, path: KeyPath) -> Any:
        """The value at ``path``, or None."""
        value: Any = self.values
        for part in path:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def replace(self, path: KeyPath, value: Any) -> None:
        """Change the value at ``path``, which exists."""
        self.value(path[:-1])[path[-1]] = value

    def place(self, path: KeyPath, value: Any, origin: Origin) -> None:
        """Put ``value`` at ``path``, over what was there; a no-op below something that is no map."""
        inner: Any = self.values
        for part in path[:-1]:
            if inner.get(str(part)) is None:
                inner[str(part)] = {}
            inner = inner[str(part)]
            if not isinstance(inner, dict):
                return
        inner[str(path[-1])] = value
        for stale in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[stale]
        self.origins[path] = origin


def read_document(path: Path) -> Document:
    """Read the YAML file ``path``. Raises `InvalidConfigError` when it is no YAML map at all."""
    source = str(path)
    loader = None
    try:
        loader = yaml.SafeLoader(_read_text(path))
        root = loader.get_single_node()
        document = Document(source)
        if root is None:
            raise _fail(source, None, "the file is empty. Write one with `dm-bridge init`.")
        if not isinstance(root, MappingNode):
            raise _fail(
                source,
                root.start_mark.line + 1,
                "expected sections such as `homeserver:` with keys below them; "
                f"found {_KINDS.get(type(root), 'something else')}.",
            )
        document.values = _Reader(loader, document).mapping(root, ())
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(path, error) from None
    except yaml.reader.ReaderError as error:
        raise _fail(
            source, None, f"contains a character that YAML forbids ({error.reason})."
        ) from None
    except RecursionError:
        raise _fail(source, None, "is nested too deeply to be a configuration.") from None
    finally:
        if loader is not None:
            loader.dispose()
    return document


def _read_text(path: Path) -> str:
    source = str(path)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        sentence = (
            "there is no such file. Write one with `dm-bridge init`, or name it with --config."
        )
    except IsADirectoryError:
        sentence = "this is a directory; expected a configuration file."
    except UnicodeDecodeError:
        sentence = "the file is not UTF-8 text. Save it with that encoding."
    except OSError as error:
        sentence = f"the file cannot be read ({error.strerror}). Check its owner and mode."
    raise _fail(source, None, sentence)


def _fail(source: str, line: int | None, sentence: str) -> InvalidConfigError:
    return InvalidConfigError([Problem(Origin(source, line), (), sentence)])


def _syntax_error(path: Path, error: yaml.MarkedYAMLError) -> InvalidConfigError:
    mark = error.problem_mark or error.context_mark
    what = error.problem or "this cannot be read"
    if mark is None:
        return _fail(str(path), None, f"is not valid YAML: {what}.")
    lines = _read_text(path).splitlines()
    line = lines[mark.line].lstrip() if mark.line < len(lines) else ""
    remedy = "Check the indentation, colons and quotes there."
    if line[:1] in ("*", "@"):
        remedy = f'Put quotes around a key that begins with {line[0]}, as in "{line[0]}…".'
    elif "\t" in lines[mark.line : mark.line + 1] or what.endswith("cannot start any token"):
        remedy = "Put quotes around values that begin with a special character; indent with spaces."
    return _fail(
        str(path), mark.line + 1, f"not valid YAML at column {mark.column + 1}: {what}. {remedy}"
    )


_KINDS: dict[type[Node], str] = {SequenceNode: "a list", ScalarNode: "a single value"}


class _Reader:
    """Turns nodes into values. Keys are always text, as written."""

    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._open: set[int] = set()
        self._count = 0

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._complain(
                    key_node, path, "expected a key, which is text; found a list or a map."
                )
                continue
            key, inner = key_node.value, (*path, key_node.value)
            if key in values:
                first = self._document.origins[inner].line
                self._complain(
                    key_node,
                    inner,
                    f"this key is given twice, first in line {first}. Keep one of them.",
                )
                continue
            self._document.origins[inner] = self._origin(key_node, value_node)
            values[key] = self._value(value_node, inner)
        return values

    def _origin(self, key_node: Node, value_node: Node) -> Origin:
        text = value_node.value if isinstance(value_node, ScalarNode) else None
        return Origin(self._document.source, key_node.start_mark.line + 1, text)

    def _complain(self, node: Node, path: KeyPath, sentence: str) -> None:
        origin = Origin(self._document.source, node.start_mark.line + 1)
        self._document.problems.append(Problem(origin, path, sentence))

    def _value(self, node: Node, path: KeyPath) -> Any:
        self._count += 1
        if id(node) in self._open or self._count > _MAX_NODES:
            self._complain(
                node, path, "an alias here repeats itself without end. Write the value out."
            )
            raise InvalidConfigError(self._document.problems)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            items: list[Any] = []
            for index, item in enumerate(node.value):
                inner = (*path, index)
                self._document.origins[inner] = self._origin(item, item)
                items.append(self._value(item, inner))
            return items
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        sexagesimal = node.style is None and ":" in node.value  # YAML 1.1 reads 10:30 as 630
        if node.tag in _TEXT or sexagesimal:
            return node.value
        if node.tag in _TYPED:
            try:
                return self._loader.construct_object(node)
            except ValueError:
                self._complain(node, path, f"the value does not fit its tag {node.tag}.")
                return node.value
        self._complain(node, path, f"the tag {node.tag} has no meaning here. Remove it.")
        return node.value
