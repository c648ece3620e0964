"""`export-my-data` and `delete-my-data`: what is stored about a user, for them to have, or to have removed.

The rule that must never break: nothing is deleted before its user has read what that is, and has confirmed it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from dm_bridge.bridge.commands.questions import Questions
from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.bridge.data_export import DataExport
from dm_bridge.bridge.logins import Logins
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.formatting import code
from dm_bridge.store.portals import PortalStore

WORD = "DELETE"
TOO_LONG = "That took too long, so nothing is deleted. Write `delete-my-data` to begin again."
ASK = """\
This would delete all that I store about you:

- {logins}
- {chats}: the bridge leaves their rooms and takes them out of your direct chats; spaces that it made for them go
- what I remember of your list of direct chats, and what you decided about it
- your Matrix token, if you gave me one, and the push rules that I may have set
- what I recorded of what you did, and this room

It cannot be undone. **What stays:** your rooms and what is in them, with your homeserver; your accounts on the \
networks; and, until they are overwritten, the backups of this bridge. `export-my-data` gives you a copy first.

To go on, write `{word}`. (`cancel` stops.)"""
BEGUN = "I am deleting it. That may take a minute or two; I say when it is done, and leave this room then."


class DataCommands:
    """``erase``: records that a user's data are to be erased, and sees to it. Raises `StorageError`."""

    def __init__(
        self,
        export: DataExport,
        erase: Callable[[UserId], Awaitable[None]],
        logins: Logins,
        portals: PortalStore,
    ) -> None:
        self._export = export
        self._erase = erase
        self._logins = logins
        self._portals = portals
        self._questions = Questions(TOO_LONG)

    async def export(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """`export-my-data`."""
        await answer(Reply("I am writing it together…"))
        await self._export.send(user, room, secrets.token_hex(8))
        await answer(
            Reply(
                "This is all that I store about you, but for passwords and tokens, which I keep sealed, and what "
                "was written, which is in your rooms. The file lies with your homeserver, for nobody who does not "
                "have its address; remove the message when you have saved it."
            )
        )

    async def delete(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """`delete-my-data`: say what that is, and ask."""
        await self.cancel(room, user)
        logins = self._logins.of(user)
        named = ", ".join(code(row.name) for row in logins[:10])
        chats = len(await self._portals.of_owner(user))
        text = ASK.format(
            logins=f"your logins, with their passwords ({named})"
            if logins
            else "your logins (you have none now)",
            chats="your 1 chat" if chats == 1 else f"your {chats} chats",
            word=WORD,
        )
        self._questions.open(room, user, answer)
        await answer(Reply(text))

    def is_open(self, room: RoomId, user: UserId) -> bool:
        """Whether the next message of ``user`` in ``room`` is the answer."""
        return self._questions.is_open(room, user)

    async def submit(self, user: UserId, room: RoomId, text: str, answer: Answer) -> None:
        """Take a message as the answer: exactly the word, or nothing is deleted."""
        await self.cancel(room, user)
        if text.strip().strip("`") != WORD:
            await answer(Reply(f"That was not `{WORD}`, so nothing is deleted."))
            return
        await self._erase(user)
        await answer(Reply(BEGUN))

    async def cancel(self, room: RoomId, user: UserId) -> bool:
        """Stop asking; whether there was something to stop."""
        return self._questions.close(room, user)
