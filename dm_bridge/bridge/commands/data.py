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
from dm_bridge.texts import phrase

WORD = "DELETE"


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
        self._questions = Questions("data-delete-too-long")

    async def export(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """`export-my-data`."""
        await answer(Reply(phrase("data-export-begun")))
        await self._export.send(user, room, secrets.token_hex(8))
        await answer(Reply(phrase("data-exported")))

    async def delete(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """`delete-my-data`: say what that is, and ask."""
        await self.cancel(room, user)
        logins = self._logins.of(user)
        named = ", ".join(code(row.name) for row in logins[:10])
        chats = len(await self._portals.of_owner(user))
        text = phrase("data-delete-ask", logins=len(logins), names=named, chats=chats, word=WORD)
        self._questions.open(room, user, answer)
        await answer(Reply(text))

    def is_open(self, room: RoomId, user: UserId) -> bool:
        """Whether the next message of ``user`` in ``room`` is the answer."""
        return self._questions.is_open(room, user)

    async def submit(self, user: UserId, room: RoomId, text: str, answer: Answer) -> None:
        """Take a message as the answer: exactly the word, or nothing is deleted."""
        await self.cancel(room, user)
        if text.strip().strip("`") != WORD:
            await answer(Reply(phrase("data-delete-not-confirmed", word=WORD)))
            return
        await self._erase(user)
        await answer(Reply(phrase("data-delete-begun")))

    async def cancel(self, room: RoomId, user: UserId) -> bool:
        """Stop asking; whether there was something to stop."""
        return self._questions.close(room, user)
