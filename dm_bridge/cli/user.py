"""``dm-bridge user export`` and ``erase``: what is stored about one user, to read, or to be removed.

The rule that must never break: nothing is erased before it was confirmed and recorded; a running bridge does it,
so that sessions are closed and rooms are left first.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dm_bridge.cli.direct.managed import account_of
from dm_bridge.cli.direct.shown import progress, say
from dm_bridge.cli.options import config_option
from dm_bridge.cli.private_files import write_private
from dm_bridge.cli.queue.rows import run_with_database
from dm_bridge.cli.recording import actor, record
from dm_bridge.config import load_config
from dm_bridge.errors import AdminError, UserError
from dm_bridge.store.audit_log import Act

if TYPE_CHECKING:
    from dm_bridge.ids import UserId
    from dm_bridge.store.database import Database

WAIT = 120.0
"""Seconds for which is waited for a running bridge."""
_config = config_option("The configuration file of the bridge.")


@click.group()
def user() -> None:
    """Export, or erase, all that is stored about one user."""


@user.command(
    short_help="Write all that is stored about a user into a file.",
    epilog="Example: dm-bridge user export @alice:example.org -o alice.json",
)
@click.argument("who", metavar="USER")
@_config
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The file; by default, standard output."
)
def export(who: str, config_path: Path, output: Path | None) -> None:
    """Write all that is stored about USER, as JSON: without passwords, tokens, and what people wrote."""
    account = account_of(who, load_config(config_path).homeserver.domain)
    from dm_bridge.store.exporting import ExportStore

    async def work(database: Database) -> str:
        await record(database, Act.EXPORTED, account)
        parts = [part async for part in ExportStore(database).export(account)]
        return b"".join(parts).decode()

    document = run_with_database(config_path, work)
    if output is None:
        click.echo(document)
        return
    try:
        write_private(output, document, replace=False)
    except FileExistsError:
        raise UserError(f"{output} is there already, and was left as it is.") from None
    say(f"All that is stored about {account} is in {output}.")


@user.command(
    short_help="Log a user out, and delete all that is stored about them.",
    epilog="Exit codes: 0 done, or recorded to be done at the next start; 1 failed, or it takes longer; 2 wrong "
    "usage; 78 wrong configuration.  Example: dm-bridge user erase @alice:example.org",
)
@click.argument("who", metavar="USER")
@_config
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option("--json", "in_json", is_flag=True, help="Answer with one JSON object.")
def erase(who: str, config_path: Path, yes: bool, in_json: bool) -> None:
    """Log USER out of everything, leave the rooms of their chats, and delete all that is stored about them.

    A bridge that runs does it at once; one that does not, when it starts. What stays are their rooms, with their
    homeserver, and a line in the audit log that does not name them.
    """
    account = account_of(who, load_config(config_path).homeserver.domain)
    if not yes:
        if in_json:
            raise click.UsageError("With --json, say --yes: there is nobody to ask.")
        try:
            click.confirm(
                f"Delete all that is stored about {account}? It cannot be undone.", abort=True
            )
        except click.Abort:
            raise UserError("Nothing was deleted. --yes asks nothing.") from None
    done = run_with_database(config_path, lambda database: _erase(database, account))
    if in_json:
        click.echo(json.dumps({"user": account, "erased": done}))
    elif done:
        say(f"All that was stored about {account} is deleted.")
    else:
        say(f"The bridge does not run. {account} is erased as soon as it starts.")


async def _erase(database: Database, account: UserId) -> bool:
    """Whether it is done; else it is recorded, and no bridge runs. Raises `BridgeError`."""
    from dm_bridge.store.erasing import ErasureStore
    from dm_bridge.store.instances import Errand, InstanceStore

    erasures, instances = ErasureStore(database), InstanceStore(database)
    if not await erasures.knows(account):
        raise UserError(f"Nothing is stored about {account}.")
    await erasures.ask(account, actor(), "cli")
    await instances.leave_errands([Errand(account, "erase", "")])
    deadline = time.monotonic() + WAIT
    progress("Waiting for the bridge to do it.")
    while await erasures.pending([account]):
        async with database.connection() as connection:
            runs = await connection.fetchval("SELECT EXISTS (SELECT FROM instance WHERE beat >= 0)")
        if not runs:
            return False
        if time.monotonic() > deadline:
            raise AdminError(
                f"It is recorded that {account} is to be erased, and the bridge is at it; it takes longer than "
                f"{WAIT:.0f} seconds. Its log says why."
            )
        await asyncio.sleep(0.2)
    return True
