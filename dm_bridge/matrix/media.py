"""The homeserver's media repository, as an application service uses it (client-server API, content repository).

The rule that must never break: no file is ever whole in memory, and what was not read to its right end is not
in the repository either: an upload of a known size that ends early is dropped by the homeserver.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from mautrix.api import MediaPath, Path

from dm_bridge.errors import BridgeError, HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.network.media import Opened
from dm_bridge.texts import phrase
from dm_bridge.web import Failing

LIMIT_KEPT = 600.0
"""Seconds for which the homeserver's limit is believed without asking again."""
DEADLINE = 600.0
"""Seconds for one file, either way."""

_MXC = re.compile(
    r"mxc://(?P<server>[A-Za-z0-9.:\[\]-]{1,255})/(?P<id>[A-Za-z0-9_~-]{1,255})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Mxc:
    """The address of a file in a media repository."""

    server: str
    id: str

    @classmethod
    def parse(cls, text: object) -> Mxc | None:
        """From an ``mxc://`` URI; None when it is none."""
        match = _MXC.fullmatch(text) if isinstance(text, str) else None
        return None if match is None else cls(match["server"], match["id"])

    def __str__(self) -> str:
        return f"mxc://{self.server}/{self.id}"


class MediaRepository:
    """``homeserver``: with a session whose connections files may occupy for long."""

    def __init__(self, homeserver: Homeserver) -> None:
        self._homeserver = homeserver
        self._limit: int | None = None
        self._asked: float | None = None

    async def limit(self, user: UserId) -> int | None:
        """How many bytes a file may have; None where the homeserver does not say."""
        now = asyncio.get_running_loop().time()
        if self._asked is None or now - self._asked > LIMIT_KEPT:
            try:
                answer = await self._homeserver.request("GET", Path.v1.media.config, user=user)
            except HomeserverError as error:
                if error.status not in (403, 404):
                    raise
                answer = {}
            said = answer.get("m.upload.size")
            self._limit = said if isinstance(said, int) and said >= 0 else None
            self._asked = now
        return self._limit

    async def upload(
        self, data: AsyncIterator[bytes], size: int, mimetype: str, name: str, *, user: UserId
    ) -> Mxc:
        """Put a file there that is read while it is sent. An error of ``data`` is raised as it is.

        Nothing is repeated: what was read is gone. Raises `HomeserverError`.
        """
        source = Failing(data)
        headers = {"Content-Type": mimetype, "Content-Length": str(size)}
        try:
            async with (
                asyncio.timeout(DEADLINE),
                self._homeserver.stream(
                    "POST",
                    MediaPath.v3.upload,
                    user=user,
                    query={"filename": name} if name else None,
                    headers=headers,
                    data=source,
                ) as response,
            ):
                answer = _object(await response.read())
        except BridgeError as error:
            if source.failure is not None:
                raise source.failure from error
            raise
        except TimeoutError as error:
            raise HomeserverError(
                phrase("homeserver-no-upload"), certain=False, retry_after=10.0
            ) from error
        mxc = Mxc.parse(answer.get("content_uri"))
        if mxc is None:
            raise HomeserverError(phrase("homeserver-no-address"))
        return mxc

    @asynccontextmanager
    async def download(self, mxc: Mxc, *, user: UserId) -> AsyncIterator[Opened]:
        """Read a file, with authentication. Set a deadline. Raises `HomeserverError`, while reading too."""
        path = Path.v1.media.download[mxc.server][mxc.id]
        headers = {"Accept-Encoding": "identity"}
        async with self._homeserver.stream("GET", path, user=user, headers=headers) as response:
            size = response.content_length
            if size is None or response.headers.get("Content-Encoding", "identity") != "identity":
                raise HomeserverError(phrase("homeserver-no-size"))
            yield Opened(size, self._homeserver.body(response))


def _object(raw: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
