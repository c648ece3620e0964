"""Where the m.direct of an account is read and written: as a ghost, or as a user who lets us.

The rule that must never break: an answer that is not surely the document is an error, never a document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from dm_bridge.direct import DirectDocument, Malformed, NotSet
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.matrix.accounts import Accounts, get_direct, put_direct
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.store.journals import LEASE
from dm_bridge.texts import phrase

WRITE_WITHIN = 0.8 * LEASE
"""Seconds for one write: no other process may write for the account meanwhile."""


async def _never_revived(ghost: UserId) -> bool:
    return False


class Documents:
    """Reads and writes documents. ``owns``: whether an account is a ghost of ours.

    ``revived``: asked when a ghost is refused its own document: whether the homeserver had forgotten the ghost,
    and knows it again now.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        owns: Callable[[UserId], bool],
        revived: Callable[[UserId], Awaitable[bool]] = _never_revived,
    ) -> None:
        self._homeserver = homeserver
        self._accounts = accounts
        self._owns = owns
        self._revived = revived

    def has_access(self, account: UserId) -> bool:
        """Whether the account's document can be read and written now."""
        return self._owns(account) or self._accounts.can_act_for(account)

    def has_journal(self, account: UserId) -> bool:
        """Whether others write the document too, so that what they wrote has to be remembered."""
        return not self._owns(account)

    async def read(self, account: UserId) -> DirectDocument | Malformed | NotSet:
        """What stands there now. Raises `HomeserverError`."""
        if self._owns(account):
            raw = await self._direct_of_ghost(account)
        else:
            raw = await self._accounts.direct(account)
        return NotSet() if raw is None else DirectDocument.parse(raw)

    async def _direct_of_ghost(self, ghost: UserId) -> bytes | None:
        try:
            return await get_direct(self._homeserver, ghost)
        except HomeserverError as error:
            if error.status != 403 or not await self._revived(ghost):
                raise
        return await get_direct(self._homeserver, ghost)

    async def write(self, account: UserId, document: DirectDocument) -> None:
        """Replace what stands there. Tried once, for `WRITE_WITHIN` seconds. Raises `HomeserverError`."""
        text = document.to_json()
        try:
            async with asyncio.timeout(WRITE_WITHIN):
                if self._owns(account):
                    await put_direct(self._homeserver, account, text)
                else:
                    await self._accounts.put_direct(account, text)
        except TimeoutError as error:
            raise HomeserverError(
                phrase("direct-write-slow", seconds=round(WRITE_WITHIN)),
                certain=False,
                retry_after=1.0,
            ) from error
        except HomeserverError as error:
            if error.status != 413:
                raise
            raise HomeserverError(
                phrase("direct-too-large", bytes=len(text)),
                status=413,
                errcode=error.errcode,
            ) from error
