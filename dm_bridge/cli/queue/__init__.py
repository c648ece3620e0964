"""``dm-bridge queue``: what waits to be carried, and what was put aside.

The rule that must never break: importing this imports no database; a command fetches what it needs when it runs.
"""

from __future__ import annotations

import click

from dm_bridge.cli.queue.changing import drop, retry
from dm_bridge.cli.queue.listing import list_rows
from dm_bridge.cli.queue.show import show


@click.group(short_help="See what waits to be carried and what was put aside; try it again.")
def queue() -> None:
    """See what waits to be carried and what was put aside, in both directions; try it again, or drop it.

    What cannot be carried, whatever is tried, is parked: put aside with a reason, so that the chat goes on.
    Ids begin with `in` for what networks brought and is to reach Matrix, and with `out` for what is to
    reach a network. These commands work while the bridge runs, and without it.
    """


for _command in (list_rows, show, retry, drop):
    queue.add_command(_command)
