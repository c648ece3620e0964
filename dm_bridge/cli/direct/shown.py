"""How findings and changes are shown, to a person and to a program.

The rule that must never break: what strangers wrote (names, keys, ids) cannot move the cursor,
reorder the line or colour it; and the change that is shown is the whole change.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import click

from dm_bridge.direct.audit import Audit
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.findings import Finding, changes
from dm_bridge.ids import UserId

_WIDEST = 100
_LONGEST_TEXT = 400
_COLOURS = {"-": "red", "+": "green", "~": "yellow"}


def safe(text: str) -> str:
    """``text`` with everything unprintable escaped, line breaks and bidirectional marks included."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def say(text: str = "", indent: int = 0, *, hanging: int = 0) -> None:
    """A paragraph; its lines after the first are indented ``hanging`` more."""
    for line in _wrapped(safe(text), indent, hanging):
        click.echo(line)


def warn(text: str) -> None:
    """A paragraph on standard error."""
    for line in _wrapped(safe(text), 0, 0):
        click.echo(line, err=True)


def progress(text: str) -> None:
    """A line on standard error, where a person watches."""
    if sys.stderr.isatty():
        click.echo(safe(text), err=True)


def show_audit(audit: Audit, account: UserId, document: DirectDocument, rooms: int) -> None:
    """The findings, grouped, with the change that each of them asks for."""
    marked = len({room for _, room in document.entries()})
    say(f"{account}: {_count(marked, 'room')} marked as direct, {_count(rooms, 'room')} in all.")
    number = itertools.count(1)
    for kind, group in itertools.groupby(audit.findings, key=lambda finding: finding.kind):
        findings = list(group)
        say()
        click.secho(safe(f"{kind.title} ({kind.value}: {len(findings):,})"), bold=True)
        say(kind.why, 2)
        for finding in findings:
            likely = "" if finding.sure else " [your decision]"
            say(f"{next(number)}. {finding.said}{likely}", 2, hanging=3)
            show_edit(finding)
    say()
    if audit.unknown:
        say(
            f"About {_count(len(audit.unknown), 'marked room')} the homeserver gave no clear answer; they "
            "count as right:"
        )
        for room in audit.unknown:
            click.echo(f"  ? {safe(room)}")
    if not audit.findings:
        say("Nothing is wrong with the direct chats of this account.")


def show_edit(finding: Finding) -> None:
    """The exact edit of one finding."""
    lines = [("-", key, "(the whole value)") for key in finding.drop_keys]
    lines += [("-", key, "(what is no room id)") for key in finding.drop_junk]
    lines += [("~", key, "(each room once)") for key in finding.dedupe]
    lines += [("-", key, room) for key, room in finding.remove]
    lines += [("+", key, room) for key, room in finding.add]
    _show_lines(lines)
    if not finding.mendable:
        say("(nothing to propose)", 6)


def show_changes(before: DirectDocument, after: DirectDocument) -> None:
    """How a document changes, line by line."""
    _show_lines(changes(before, after))


def _show_lines(lines: Iterable[tuple[str, str, str]]) -> None:
    for sign, key, what in lines:
        text = f"{sign} {_quoted(key)}  {safe(what)}"
        if len(text) > _LONGEST_TEXT:
            text = f"{text[:_LONGEST_TEXT]}… ({len(text):,} characters)"
        click.secho(f"      {text}", fg=_COLOURS[sign])


def show_advice(audit: Audit) -> None:
    """How to mend what was found."""
    sure = sum(finding.sure and finding.mendable for finding in audit.findings)
    judged: Sequence[str] = list(
        dict.fromkeys(f.kind.value for f in audit.findings if not f.sure and f.mendable)
    )
    if sure:
        say(f"{_count(sure, 'finding')} can be mended without a decision of yours: add --fix.")
    if judged:
        say(
            f"{'The others are' if sure else 'All this is'} yours to decide: --fix asks about it, or choose "
            f"with --fix --only {','.join(judged)}."
        )


def as_json(audit: Audit, account: UserId) -> dict[str, Any]:
    """The audit as one JSON object (docs/audit.md)."""
    return {
        "user": account,
        "findings": [
            {
                "kind": finding.kind.value,
                "sure": finding.sure,
                "sentence": finding.sentence,
                "rooms": list(finding.rooms),
                "keys": list(finding.keys),
                "remove": [list(pair) for pair in finding.remove],
                "add": [list(pair) for pair in finding.add],
                "drop_values": list(finding.drop_keys),
                "drop_items": list(finding.drop_junk),
                "drop_repetitions": list(finding.dedupe),
            }
            for finding in audit.findings
        ],
        "unknown": list(audit.unknown),
    }


def _quoted(key: str) -> str:
    return safe(key) if key and " " not in key else f"“{safe(key)}”"


def _wrapped(text: str, indent: int, hanging: int) -> list[str]:
    width = min(_WIDEST, max(40, shutil.get_terminal_size((_WIDEST, 24)).columns))
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [""]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
