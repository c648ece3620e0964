"""Gives users a file with all that is stored about them.

The rule that must never break: the file goes into the room where it was asked for, of the user and the bot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from dm_bridge.bridge.allowance import Allowances
from dm_bridge.bridge.audit_log import BOT, AuditLog
from dm_bridge.errors import TooOften, UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.media import MediaRepository
from dm_bridge.store.audit_log import Act
from dm_bridge.store.exporting import ExportStore
from dm_bridge.texts import phrase

LARGEST = 32_000_000
"""Bytes of one file."""
A_DAY = 5
NAME = "dm_bridge-data.json"


class DataExport:
    """``media``: where the file is put."""

    def __init__(
        self,
        store: ExportStore,
        homeserver: Homeserver,
        media: MediaRepository,
        bot: UserId,
        audit: AuditLog,
    ) -> None:
        self._store = store
        self._homeserver = homeserver
        self._media = media
        self._bot = bot
        self._audit = audit
        self._allowances = Allowances(A_DAY, 86400.0)

    async def send(self, user: UserId, room: RoomId, transaction: str) -> int:
        """Send the file; how many bytes it has. Raises `UserError`, `HomeserverError`, `StorageError`."""
        if wait := self._allowances.take(user):
            raise TooOften(
                phrase("data-several-times", hours=round(wait / 3600)),
                wait,
            )
        document = bytearray()
        async for part in self._store.export(user):
            document += part
            if len(document) > LARGEST:
                raise UserError(phrase("data-too-much"))
        await self._audit.record(user, Act.EXPORTED, user, {"bytes": len(document)}, BOT)
        mime = "application/json"
        mxc = await self._media.upload(_pieces(document), len(document), mime, NAME, user=self._bot)
        content = {
            "msgtype": "m.file",
            "body": NAME,
            "filename": NAME,
            "url": str(mxc),
            "info": {"mimetype": mime, "size": len(document)},
        }
        await self._homeserver.send(room, "m.room.message", content, transaction, user=self._bot)
        return len(document)


async def _pieces(document: bytearray, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(document), size):
        yield bytes(document[start : start + size])
