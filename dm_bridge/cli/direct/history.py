"""``dm-bridge direct history``: who changed the direct chats of one account, when, and what the bridge did.

The rule that must never break: it only looks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dm_bridge.cli.direct.managed import HOW, managed_options, moment, run_offline
from dm_bridge.cli.direct.shown import safe, say, warn
from dm_bridge.direct.journal import Journal, Source, Version
from dm_bridge.direct.ledger import Ledger
from dm_bridge.ids import UserId

if TYPE_CHECKING:
    from dm_bridge.app.offline import Offline

SHOWN = 20


@click.command(
    short_help="Tell who changed the direct chats of a user, and why.",
    epilog="Exit codes: 0 done; 1 failed; 2 wrong usage; 78 wrong configuration.  Example, to see the "
    "decisions again: dm-bridge direct history alice --json | dm-bridge direct replay",
)
@managed_options
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    help=f"How many changes to tell, the newest; 0 for all.  [default: {SHOWN}]",
)
def history(user: str, config_path: Path, in_json: bool, limit: int | None) -> None:
    """Tell who changed the direct chats of USER, when, and what the bridge did about it; newest last.

    With --json, write a trace: one operation a line, for `dm-bridge direct replay`, which decides again as
    the bridge did. It holds the whole list at each change, so it names the people that USER talks to.
    """
    if in_json and limit is not None:
        raise click.UsageError(
            "With --json the whole trace is written; --limit has no place there."
        )
    account, ledger, journal = run_offline(config_path, user, _load)
    if in_json:
        _write_trace(ledger, journal)
        return
    versions = journal.versions
    number = len(versions) if limit == 0 else SHOWN if limit is None else limit
    if not versions:
        say(f"No list of direct chats of {account} has been seen yet.")
        return
    count = "1 version" if len(versions) == 1 else f"{len(versions)} versions"
    say(f"{account}: {count} remembered, newest last.")
    for version in versions[-number:]:
        _print(version)
    if journal.doubt is not None:
        say("The last write has not been verified yet.")


async def _load(parts: Offline, account: UserId) -> tuple[UserId, Ledger, Journal]:
    managed = await parts.store.managed(account)
    journal = await parts.journals.read(account)
    return account, Ledger.of(account, managed, parts.never_keys(account)), journal


def _write_trace(ledger: Ledger, journal: Journal) -> None:
    from dm_bridge.direct.trace import trace

    number = 0
    for number, operation in enumerate(trace(ledger, journal), 1):  # noqa: B007
        click.echo(json.dumps(operation, separators=(",", ":")))
    warn(
        f"{number} operations, for `dm-bridge direct replay`. They name the people and rooms of "
        f"{ledger.account}: share them with care."
    )


def _print(version: Version) -> None:
    from dm_bridge.bridge.direct_words import words_of

    sentence, details = words_of(version)
    click.echo()
    how = HOW[version.source.value]
    click.secho(f"{moment(version.at)}  #{version.seq}, {how}", bold=True)
    say(sentence, 2)
    for detail in details:
        say(detail, 4)
    if version.source is Source.WRITTEN:
        for sign, atoms in (("+", version.change.added), ("-", version.change.removed)):
            for key, item in sorted(atoms):
                click.echo(f"    {sign} {safe(key)}  {safe(item)}")
