"""``dm-bridge direct audit``: what is wrong with the direct chats of any Matrix account.

The rule that must never break: without --fix nothing is written anywhere; with it, only what was
shown, and what a person may have meant is written only when a person chose it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dm_bridge.cli.direct.access import account_options, read_token, warn_of_plain_http
from dm_bridge.cli.direct.shown import (
    as_json,
    progress,
    say,
    show_advice,
    show_audit,
    show_changes,
    show_edit,
)
from dm_bridge.cli.direct.writing import (
    ChangedMeanwhile,
    Written,
    check_free,
    read_text,
    replace,
    understood,
)
from dm_bridge.direct.audit import Audit, examine
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.findings import Finding, Kind, repaired
from dm_bridge.errors import UserError

if TYPE_CHECKING:
    from dm_bridge.matrix.account_client import AccountClient

EXIT_FOUND = 3
ROUNDS = 5
"""Attempts to write while somebody else keeps writing."""


def _kinds(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    known = {kind.value: kind for kind in Kind}
    names = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        wrong = f"{', '.join(unknown)}: no such kind. " if unknown else ""
        raise click.BadParameter(f"{wrong}There are: {', '.join(known)}.")
    return frozenset(known[name] for name in names)


@click.command(
    short_help="Examine the direct chats of any account, and mend them.",
    epilog="Exit codes: 0 nothing is wrong, or all that was to be mended is; 3 something is wrong, or was "
    "not mended; 1 failed; 2 wrong usage.  Example: dm-bridge direct audit --homeserver example.org "
    "--token-file token",
)
@account_options
@click.option("--fix", is_flag=True, help="Mend what was found, after showing the exact change.")
@click.option(
    "--only",
    metavar="KIND,…",
    callback=_kinds,
    help="Only findings of these kinds; with --fix all of them are mended. Kinds: "
    + ", ".join(kind.value for kind in Kind)
    + ".",
)
@click.option(
    "--backup",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to keep what stood there before.  [default: m.direct-NAME-TIME.json, in this folder]",
)
@click.option("--json", "in_json", is_flag=True, help="Answer with one JSON object.")
@click.option(
    "--yes", is_flag=True, help="Ask nothing; mend only what is sure, or chosen by --only."
)
@click.pass_context
def audit(
    ctx: click.Context,
    homeserver: str,
    token_file: str | None,
    fix: bool,
    only: frozenset[Kind] | None,
    backup: Path | None,
    in_json: bool,
    yes: bool,
) -> None:
    """Examine the direct chats (m.direct) of any Matrix account, with its access token.

    Tells which rooms are marked that should not be, which are marked wrongly, and which look like
    direct chats and are not marked; with --fix it mends them. What stood there before is kept in a
    backup file, for `dm-bridge direct restore`.
    """
    if in_json and fix and not yes:
        raise click.UsageError("With --json, --fix needs --yes: there is nobody to ask.")
    if backup is not None and not fix:
        raise click.UsageError("--backup needs --fix: without it nothing is written.")
    check_free(backup)
    token = read_token(token_file, asks=fix and not yes)
    warn_of_plain_http(homeserver)
    order = _Order(fix, only, backup, in_json, yes)
    ctx.exit(asyncio.run(_run(homeserver, token, order)))


@dataclass(frozen=True, slots=True)
class _Order:
    """What the person asked for."""

    fix: bool
    only: frozenset[Kind] | None
    backup: Path | None
    in_json: bool
    yes: bool


async def _run(homeserver: str, token: str, order: _Order) -> int:
    from dm_bridge.matrix.account_client import open_account

    async with open_account(homeserver, token, progress) as client:
        text = await read_text(client)
        document = understood(text)
        rooms = await client.rooms()
        chosen_before: frozenset[Finding] = frozenset()
        for _ in range(ROUNDS):
            found = examine(document, await client.facts(rooms, document), client.user)
            found = _restricted(found, order.only)
            if not order.in_json:
                present = sum(facts.membership.present for facts in rooms.values())
                show_audit(found, client.user, document, present)
            if not order.fix:
                return _only_tell(found, client, order)
            chosen = _choose(found, order, chosen_before)
            after = repaired(document, chosen)
            if not chosen or not _agreed(document, after, order):
                return _unwritten(found, client, order, declined=bool(chosen))
            outcome = await replace(client, text, after.to_json(), order.backup)
            if isinstance(outcome, Written):
                _tell_written(found, chosen, outcome, client, order)
                return 0
            assert isinstance(outcome, ChangedMeanwhile)
            if not order.in_json:
                say("Somebody else has just changed the direct chats. Nothing was written; again:")
                say()
            text = outcome.now
            document = understood(text)
            chosen_before = frozenset(chosen)
    raise UserError(
        "Somebody else changes the direct chats all the time; nothing was written. Close other clients "
        "of this account, and try again."
    )


def _restricted(found: Audit, only: frozenset[Kind] | None) -> Audit:
    if only is None:
        return found
    return Audit(tuple(f for f in found.findings if f.kind in only), found.unknown)


def _only_tell(found: Audit, client: AccountClient, order: _Order) -> int:
    if order.in_json:
        click.echo(json.dumps(as_json(found, client.user)))
    else:
        show_advice(found)
    return EXIT_FOUND if found.findings else 0


def _unwritten(found: Audit, client: AccountClient, order: _Order, *, declined: bool) -> int:
    left = any(finding.mendable for finding in found.findings)
    if order.in_json:
        click.echo(json.dumps({**as_json(found, client.user), "written": False, "mended": []}))
    elif left:
        say("Nothing was written.")
        if order.yes:
            show_advice(found)
    return EXIT_FOUND if declined or left else 0


def _tell_written(
    found: Audit, chosen: list[Finding], outcome: Written, client: AccountClient, order: _Order
) -> None:
    if order.in_json:
        these = frozenset(chosen)
        mended = [number for number, finding in enumerate(found.findings) if finding in these]
        answer = {"written": True, "mended": mended, "backup": str(outcome.backup)}
        click.echo(json.dumps({**as_json(found, client.user), **answer}))
        return
    say(f"Written and read back. What stood there before is in {outcome.backup}; to return to it:")
    click.echo(
        f"  dm-bridge direct restore {outcome.backup} --homeserver {client.url} --token-file FILE"
    )
    left = sum(finding.mendable for finding in found.findings) - len(chosen)
    if left:
        say(f"{left:,} of the findings were left as they are.")


def _choose(found: Audit, order: _Order, before: frozenset[Finding]) -> list[Finding]:
    """The findings to mend: sure ones, those of the kinds chosen, and what the person says yes to."""
    mendable = [finding for finding in found.findings if finding.mendable]
    if order.only is not None:
        return mendable
    chosen = [finding for finding in mendable if finding.sure or finding in before]
    if order.yes:
        return chosen
    asked = [finding for finding in mendable if not finding.sure and finding not in before]
    for kind, group in itertools.groupby(asked, key=lambda finding: finding.kind):
        chosen += _asked(kind, list(group))
    return chosen


def _asked(kind: Kind, findings: list[Finding]) -> Iterable[Finding]:
    number = len(findings)
    question = f"{kind.title}: mend all {number:,} that are yours to decide" if number > 1 else None
    if question is not None:
        answer = _ask(
            lambda: click.prompt(
                f"{question}? [y]es, [n]o, [e]ach",
                type=click.Choice(["y", "n", "e"]),
                default="n",
                show_choices=False,
            )
        )
        if answer != "e":
            return findings if answer == "y" else []
    accepted = []
    for finding in findings:
        say(finding.said)
        show_edit(finding)
        if _ask(lambda: click.confirm("Mend this?", default=False)):
            accepted.append(finding)
    return accepted


def _agreed(before: DirectDocument, after: DirectDocument, order: _Order) -> bool:
    if order.in_json:
        return True
    say()
    say("The change, as it will be written:")
    show_changes(before, after)
    return order.yes or bool(_ask(lambda: click.confirm("Write it?", default=False)))


def _ask(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except click.Abort:
        raise UserError("Nothing was written: there was no answer. --yes asks nothing.") from None
