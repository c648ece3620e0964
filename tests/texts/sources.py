"""What the sources say to people: calls of `phrase`, and sentences that are not among the messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dm_bridge"
SENTENCE = re.compile(r"[^\W\d_]{2,}[,;:]? (\S+ )*[^\W\d_]{2,}[,;:]? (\S+ )*[^\W\d_]{2,}")
_SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|FROM|WHERE|VALUES|LISTEN|NOTIFY|SHARE)\b")
_FOR_DEVELOPERS = {
    "AssertionError",
    "TypeError",
    "ValueError",
    "RuntimeError",
    "LookupError",
    "KeyError",
    "NotForBrowsers",
}
_FOR_ADMINS = {"AdminError", "ConfigError", "RegistrationError"}
"""What keeps the bridge from starting: on the command line, and in the log."""
_FOR_HOMESERVERS = {"matrix_error", "BadPush", "BadTransaction"}
"""Answers to requests that only a homeserver makes."""
_FOR_THE_QUEUE = {"Ignore", "Nothing"}
"""Why an event was dropped, as only `dm-bridge queue` shows it; so is any call that is told "dropped"."""
_FOR_THE_LOG = {"Ignored", "NotReadError", "StalledError", "SASLCancelled"}
"""What is wrong with what a server of a network sends."""
_TOLD_NO_USER = {
    "connectors/irc/reaching.py": "what `doctor` says of servers, on the command line",
    "connectors/xmpp/reaching.py": "the same",
    "matrix/account_client.py": "what `dm-bridge direct` does, on the command line",
    "matrix/client_url.py": "the same",
    "matrix/greeting.py": "what `doctor` says of the homeserver, on the command line",
    "provisioning/openapi.py": "the OpenAPI document, for developers",
    "provisioning/operations.py": "the same",
}
"""Modules, and for whom it is what they say."""
_DOCUMENTATION = {"description", "examples"}
"""Of a field of a pydantic model: for admins and developers."""
_LOGS = {"debug", "info", "warning", "error", "exception", "bind", "critical"}


@dataclass(frozen=True)
class Call:
    """``phrase(name, **values)``; ``name`` is None where it is not written out."""

    where: str
    name: str | None
    values: frozenset[str] | None
    """None where they are not written out."""


def modules(*parts: str) -> Iterator[tuple[Path, ast.Module]]:
    """The modules below folders of the package, or a module of it."""
    for part in parts or ("",):
        top = PACKAGE / part
        for path in [top] if top.suffix else sorted(top.rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def calls() -> list[Call]:
    """All calls of `phrase`."""
    found = []
    for path, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "phrase":
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                names: list[str | None] = [*_names(node.args[0])]
                keys = [keyword.arg for keyword in node.keywords]
                values = None if None in keys else frozenset(key for key in keys if key is not None)
                found += [Call(where, name, values) for name in names or [None]]
    return found


def _names(node: ast.expr) -> list[str]:
    match node:
        case ast.Constant(value=str(name)):
            return [name]
        case ast.IfExp(body=body, orelse=orelse):
            return [*_names(body), *_names(orelse)]
    return []


def constants() -> set[str]:
    """Every string that is written out in the package."""
    return {
        node.value
        for _, module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def sentences(*parts: str) -> list[str]:
    """Sentences that are written out, with where they are; docstrings, logs and queries are none."""
    found = []
    for path, module in modules(*parts):
        if str(path.relative_to(PACKAGE)) in _TOLD_NO_USER:
            continue
        for node, text in _strings(module):
            if SENTENCE.search(text) and not _SQL.search(text):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {text[:60]!r}")
    return found


def _strings(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if (
            name.strip("_") == "log" and attr in _LOGS
        ):
            return
        case ast.Call(func=ast.Attribute(value=ast.Attribute(attr="_log"), attr=attr)) if (
            attr in _LOGS
        ):
            return
        case ast.Call(func=ast.Name(id=name)) if (
            name in _FOR_DEVELOPERS | _FOR_ADMINS | _FOR_HOMESERVERS | _FOR_THE_QUEUE | _FOR_THE_LOG
        ):
            return
        case ast.Call(args=args) if any(
            isinstance(each, ast.Constant) and each.value == "dropped" for each in args
        ):
            return
        case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr="compile")):
            return
        case ast.Call(func=ast.Name(id="Field"), args=args, keywords=keywords):
            for each in [*args, *(k.value for k in keywords if k.arg not in _DOCUMENTATION)]:
                yield from _strings(each)
            return
        case ast.JoinedStr(values=values):
            yield (
                node,
                "".join(str(v.value) if isinstance(v, ast.Constant) else "x" for v in values),
            )
            return
        case ast.Constant(value=str(text)):
            yield node, text
            return
    for child in ast.iter_child_nodes(node):
        yield from _strings(child)
