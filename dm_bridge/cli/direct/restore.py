"""``dm-bridge direct restore``: put back what a backup holds.

The rule that must never break: it writes to the account that the backup is of, and to no other; and
what it replaces is itself backed up first.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from dm_bridge.cli.direct.access import account_options, read_token, warn_of_plain_http
from dm_bridge.cli.direct.shown import progress, say, show_changes
from dm_bridge.cli.direct.writing import (
    Backup,
    Written,
    load_backup,
    read_text,
    replace,
    same,
    sendable,
)
from dm_bridge.direct.document import DirectDocument
from dm_bridge.errors import UserError

EXIT_DECLINED = 3
_NOTHING = "{}"


@click.command(
    short_help="Put back what a backup of `audit --fix` holds.",
    epilog="Exit codes: 0 done, or it stands there already; 3 declined; 1 failed; 2 wrong usage.",
)
@click.argument("backup", type=click.Path(dir_okay=False, path_type=Path))
@account_options
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.pass_context
def restore(
    ctx: click.Context, backup: Path, homeserver: str, token_file: str | None, yes: bool
) -> None:
    """Set the direct chats (m.direct) of an account to exactly what BACKUP says stood there before.

    Shows the difference to what stands there now, which goes into a new backup first.
    """
    saved = load_backup(backup)
    token = read_token(token_file, asks=not yes)
    warn_of_plain_http(homeserver)
    ctx.exit(asyncio.run(_run(homeserver, token, saved, yes=yes)))


async def _run(homeserver: str, token: str, saved: Backup, *, yes: bool) -> int:
    from dm_bridge.matrix.account_client import open_account

    async with open_account(homeserver, token, progress) as client:
        if client.user != saved.user:
            raise UserError(
                f"The backup is of {saved.user}, but this token belongs to {client.user}. Nothing was written."
            )
        wanted = sendable(saved.before) if saved.before is not None else _NOTHING
        now = await read_text(client)
        if (now is None and saved.before is None) or same(now, wanted, in_order=True):
            say(f"The direct chats of {client.user} are already what they were then.")
            return 0
        say(f"The direct chats of {client.user}, back to what they were at {saved.time}:")
        if saved.before is None:
            say("There were none; they become an empty object.")
        _show(now, wanted)
        if not yes and not _confirmed():
            say("Nothing was written.")
            return EXIT_DECLINED
        outcome = await replace(client, now, wanted, None)
        if not isinstance(outcome, Written):
            raise UserError(
                "Somebody else has just changed the direct chats, so nothing was written. Run the command "
                "again to see the difference."
            )
        say(f"Written and read back. What stood there until now is in {outcome.backup}.")
        return 0


def _show(now: str | None, wanted: str) -> None:
    before = DirectDocument() if now is None else DirectDocument.parse(now)
    after = DirectDocument.parse(wanted)
    if isinstance(before, DirectDocument) and isinstance(after, DirectDocument):
        show_changes(before, after)
    else:
        say("The difference cannot be shown: one of them is no well-formed m.direct.", 2)


def _confirmed() -> bool:
    try:
        return click.confirm("Write it?", default=False)
    except click.Abort:
        raise UserError("Nothing was written: there was no answer. --yes asks nothing.") from None
