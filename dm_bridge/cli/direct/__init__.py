"""``dm-bridge direct``: the direct chats (``m.direct``) of Matrix accounts.

The rule that must never break: importing this imports no client, no database and no homeserver; a
command fetches what it needs when it runs.
"""

from __future__ import annotations

import click

from dm_bridge.cli.direct.audit import audit
from dm_bridge.cli.direct.history import history
from dm_bridge.cli.direct.repair import repair
from dm_bridge.cli.direct.replay import replay
from dm_bridge.cli.direct.restore import restore
from dm_bridge.cli.direct.show import show


@click.group(short_help="Look after the direct chats of an account.")
def direct() -> None:
    """Look after the direct chats (m.direct) of Matrix accounts.

    `audit` and `restore` work for any Matrix account, with its access token and without the bridge.
    `show`, `history` and `repair` look after a user of this bridge.
    `replay` plays what happened to an account again.
    """


for _command in (audit, restore, show, history, repair, replay):
    direct.add_command(_command)
