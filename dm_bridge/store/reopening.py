"""What was done to messages that were not known yet, when these come after all.

A message that was taken back before it was brought over must not stay as if it had not been: its retraction
came first, with what is newer, and was about nothing then.

The rule that must never break: only what was dropped for that reason waits again, and only when what it names
has come just now.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dm_bridge.ids import PortalKey
from dm_bridge.network.events import RemoteEvent, RemoteReactions, RemoteRetraction
from dm_bridge.store.database import Connection
from dm_bridge.store.inbox import ABOUT_NOTHING, _decode, _stored_or_none, stored_id


async def reopen(
    connection: Connection, key: PortalKey, events: Sequence[RemoteEvent], added: Collection[str]
) -> None:
    """Let retractions and reactions wait again that are about those of ``events`` whose rows were ``added``."""
    names = set(added)
    for event in events:
        reference = _stored_or_none(getattr(event, "reference", None))
        if reference is not None and stored_id(getattr(event, "id", "")) in added:
            names.add(reference)
    if not names:
        return
    rows = await connection.fetch(
        """
        SELECT remote_id, event FROM inbox
        WHERE login_id = $1 AND chat_id = $2 AND state = 'dropped' AND reason = $3
        """,
        key.login,
        key.chat,
        ABOUT_NOTHING,
    )
    again = [remote_id for remote_id, raw in rows if _target(_decode(raw)) in names]
    await connection.execute(
        """
        UPDATE inbox SET state = 'waiting', reason = '', requeued_at = clock_timestamp()
        WHERE login_id = $1 AND chat_id = $2 AND remote_id = ANY($3::text[]) AND state = 'dropped'
        """,
        key.login,
        key.chat,
        again,
    )


def _target(event: RemoteEvent) -> str | None:
    """What is named by an event that does something to a message, as a key."""
    if isinstance(event, RemoteRetraction | RemoteReactions):
        return stored_id(event.target)
    return None
