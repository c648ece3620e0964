"""What is wrong with a configuration, and where it was written.

The rule that must never break: a problem never shows the value of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dm_bridge.errors import ConfigError

if TYPE_CHECKING:
    from dm_bridge.config.schema import Config

KeyPath = tuple[str | int, ...]
"""Where a value is in the configuration: ``("homeserver", "url")``."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written.

    ``source``: a file, or the name of an environment variable. ``line``: from 1, when it is a file.
    ``text``: a scalar exactly as written. ``secret_file``: the file that a ``…_file`` key named.
    """

    source: str
    line: int | None = None
    text: str | None = None
    secret_file: str | None = None

    @property
    def is_environment(self) -> bool:
        return self.line is None and self.source.upper().startswith("DM_BRIDGE__")

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right. ``sentence``: what was expected, what was found, what to do."""

    origin: Origin
    path: KeyPath
    sentence: str

    def __str__(self) -> str:
        where = f"{self.origin}: "
        if self.path:
            where += f"{show_path(self.path)}: "
        if self.origin.secret_file is not None:
            where += f"(read from {self.origin.secret_file}) "
        return where + self.sentence


class InvalidConfigError(ConfigError):
    """A configuration with one or more problems; the message has a line for each of them.

    ``rest``: the configuration without them, where that makes sense: for looking around, never for running.
    """

    def __init__(self, problems: Sequence[Problem], rest: Config | None = None) -> None:
        self.problems = tuple(sorted(problems, key=_reading_order))
        self.rest = rest
        lines = [str(problem) for problem in self.problems]
        if len(lines) == 1:
            super().__init__(lines[0])
        else:
            super().__init__(
                "\n  ".join([f"there are {len(lines)} problems in the configuration:", *lines])
            )


def _reading_order(problem: Problem) -> tuple[bool, str, int]:
    return problem.origin.is_environment, problem.origin.source, problem.origin.line or 0


def show_path(path: KeyPath) -> str:
    """``path`` with dots; keys that contain more than letters, digits, ``_`` and ``-`` are quoted."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            shown += "." if shown else ""
            shown += part if _PLAIN_KEY.match(part) else f'"{part}"'
    return shown
