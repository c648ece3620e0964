"""Files of users, for sessions to send.

The rule that must never break: a file is read from the homeserver only while somebody sends it, in pieces, and
with authentication; one that is encrypted is given out in full only if it is the one that its sender encrypted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

from dm_bridge.bridge.ciphers import exactly, opened_ctr
from dm_bridge.bridge.files_in import megabytes
from dm_bridge.errors import HomeserverError, NetworkError
from dm_bridge.ids import UserId
from dm_bridge.matrix.attachments import Attached
from dm_bridge.matrix.media import DEADLINE, MediaRepository
from dm_bridge.network.media import Opened, OutgoingMedia, Place
from dm_bridge.texts import phrase


class FilesOut:
    """``bot``: as whom files are read. ``largest``: bytes of a file; with 0, none is carried."""

    def __init__(self, repository: MediaRepository, bot: UserId, largest: int) -> None:
        self._repository = repository
        self._bot = bot
        self._largest = largest

    def outgoing(self, what: Attached | Place | None) -> OutgoingMedia | Place | None:
        """What a session is given of it."""
        return self._media(what) if isinstance(what, Attached) else what

    def _media(self, what: Attached) -> OutgoingMedia:
        source = _Source(self._repository, self._bot, self._largest, what)
        preview = None if what.preview is None else self._media(what.preview)
        return OutgoingMedia(**asdict(what.file), source=source, preview=preview)


class _Source:
    """See `MediaSource`."""

    def __init__(
        self, repository: MediaRepository, user: UserId, largest: int, what: Attached
    ) -> None:
        self._repository = repository
        self._user = user
        self._largest = largest
        self._what = what

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        if not self._largest:
            raise NetworkError(_too_large(0, 0))
        try:
            async with (
                asyncio.timeout(DEADLINE),
                self._repository.download(self._what.mxc, user=self._user) as found,
            ):
                if found.size > self._largest:
                    raise NetworkError(_too_large(found.size, self._largest))
                yield Opened(found.size, _explained(self._chunks(found)))
        except HomeserverError as error:
            raise _failure(error) from error
        except TimeoutError as error:
            raise NetworkError(phrase("file-homeserver-slow"), retry_after=10.0) from error

    def _chunks(self, found: Opened) -> AsyncIterator[bytes]:
        chunks = exactly(found.chunks, found.size)
        lock = self._what.lock
        return chunks if lock is None else opened_ctr(chunks, lock.key, lock.iv, lock.sha256)


async def _explained(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield chunk
    except HomeserverError as error:
        raise _failure(error) from error


def _too_large(size: int, largest: int) -> str:
    if not largest:
        return phrase("file-send-a-link")
    return phrase("file-send-smaller", size=megabytes(size), largest=megabytes(largest))


def _failure(error: HomeserverError) -> NetworkError:
    if error.status in (403, 404):
        return NetworkError(phrase("file-homeserver-lost"))
    return NetworkError(phrase("file-unreadable", why=str(error)), retry_after=error.retry_after)
