"""``dm-bridge doctor``: look at everything that the bridge needs, and say what to do where it is not right.

The rule that must never break: what stands on the terminal is text, whatever strangers called themselves; no token
and no password is part of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dm_bridge.cli.direct.shown import safe
from dm_bridge.cli.options import config_option
from dm_bridge.config import Config, load_config
from dm_bridge.config.problems import InvalidConfigError
from dm_bridge.errors import ConfigError
from dm_bridge.ops.logging import configure_logging

if TYPE_CHECKING:
    from dm_bridge.app.doctor import Finding

EXIT_UNKNOWN = 1
EXIT_FOUND = 3
EXIT_CONFIG = 78

_SHOWN = {
    "ok": ("✓", "green"),
    "note": ("!", "yellow"),
    "mend": ("✗", "red"),
    "unknown": ("?", "cyan"),
}
_WIDEST = 120
_ABOUT_WIDTH = 20


@click.command(
    short_help="Check everything that the bridge needs.",
    epilog="Exit codes: 0 nothing is to be mended; 3 something is; 1 something could not be checked, and "
    "nothing else "
    "is to be mended; 2 wrong usage; 78 wrong configuration.  Example: dm-bridge doctor -c config.yaml",
)
@config_option("The configuration file.")
@click.option("--json", "in_json", is_flag=True, help="Answer with one JSON object.")
@click.pass_context
def doctor(ctx: click.Context, config_path: Path, in_json: bool) -> None:
    """Check everything that the bridge needs, and say what to do where something is not right.

    The configuration, the disk, the database, the homeserver and what it knows of the bridge, files,
    and the servers of the networks: one line each, within 15 seconds. The bridge may run or not; run
    this as the user that the bridge runs as.

    It registers the bot and a ghost of its own, for which it makes one room, and puts a file of some
    bytes on the homeserver.
    """
    configure_logging("critical", "text")
    began = time.monotonic()
    printer = _Printer(in_json)
    config, wrong = _load(config_path)
    for finding in wrong:
        printer.show(finding)
    if config is not None:
        asyncio.run(_examine(config, config_path, not wrong, printer.show))
    printer.end(time.monotonic() - began)
    ctx.exit(EXIT_CONFIG if wrong else exit_code(printer.findings))


def _load(path: Path) -> tuple[Config | None, list[Finding]]:
    """The configuration, or what can be made of it, and what is wrong with it."""
    from dm_bridge.app.doctor import mend

    about = "configuration"
    try:
        return load_config(path, allow_example_tokens=False), []
    except InvalidConfigError as error:
        return error.rest, [mend(about, str(problem)) for problem in error.problems]
    except ConfigError as error:
        return None, [mend(about, error.message)]


async def _examine(
    config: Config, path: Path, right: bool, show: Callable[[Finding], None]
) -> None:
    from dm_bridge.app.doctor import examine

    async for finding in examine(config, path, right=right):
        show(finding)


def exit_code(findings: Sequence[Finding]) -> int:
    """Of a configuration that is right."""
    from dm_bridge.app.doctor import Verdict, overall

    return {Verdict.MEND: EXIT_FOUND, Verdict.UNKNOWN: EXIT_UNKNOWN}.get(overall(findings), 0)


class _Printer:
    """Shows findings as they come, or all of them as JSON in the end."""

    def __init__(self, in_json: bool) -> None:
        self.findings: list[Finding] = []
        self._in_json = in_json
        self._terminal = sys.stdout.isatty()
        self._coloured = (
            self._terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )
        self._symbols = (getattr(sys.stdout, "encoding", "") or "").lower().startswith("utf")

    def show(self, finding: Finding) -> None:
        """One finding: a line, which is wrapped where a person watches."""
        self.findings.append(finding)
        if self._in_json:
            return
        symbol, colour = _SHOWN[finding.verdict.value]
        word = f"{finding.verdict.value:<8}"
        mark = f"{symbol} {word}" if self._symbols else word
        shown = (
            click.style(mark, fg=colour, bold=finding.verdict.value == "mend")
            if self._coloured
            else mark
        )
        head = f"{safe(finding.about):<{_ABOUT_WIDTH}} "
        lines = self._wrapped(safe(finding.sentence), len(mark) + len(head))
        click.echo(shown + head + lines, color=self._coloured)

    def end(self, seconds: float) -> None:
        """What it comes to."""
        if self._in_json:
            click.echo(json.dumps(self._as_json(seconds), ensure_ascii=False))
            return
        counts = {name: sum(f.verdict.value == name for f in self.findings) for name in _SHOWN}
        words = {"ok": "ok", "note": "to know", "mend": "to mend", "unknown": "not checked"}
        said = ", ".join(f"{counts[name]} {words[name]}" for name in _SHOWN if counts[name])
        click.echo(f"\n{said}, in {seconds:.1f} seconds.")
        if counts["mend"] > 1:
            click.echo("Begin with the first that is to be mended: others may follow from it.")

    def _as_json(self, seconds: float) -> dict[str, object]:
        from dm_bridge.app.doctor import overall

        return {
            "verdict": overall(self.findings).value,
            "seconds": round(seconds, 2),
            "findings": [
                {"about": f.about, "verdict": f.verdict.value, "sentence": f.sentence}
                for f in self.findings
            ],
        }

    def _wrapped(self, text: str, indent: int) -> str:
        if not self._terminal:
            return text
        columns = min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)
        lines = textwrap.wrap(
            text, max(columns - indent, 30), break_long_words=False, break_on_hyphens=False
        )
        return ("\n" + " " * indent).join(lines)
