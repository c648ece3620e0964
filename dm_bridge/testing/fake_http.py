"""An HTTP session that leads to a `FakeHomeserver`: no sockets, and the same errors.

The rule that must never break: what it raises is what aiohttp would raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, cast

import aiohttp
import orjson
from yarl import URL

from dm_bridge.testing.fake_homeserver import Answer, FakeHomeserver


class Wire(Protocol):
    """How requests of one process reach the homeserver."""

    async def exchange(self, what: str, serve: Callable[[], Answer]) -> tuple[int, bytes]:
        """The answer's status and body. ``what``: the request, to be read by people."""
        ...


class Direct:
    """No distance, and no faults."""

    async def exchange(self, what: str, serve: Callable[[], Answer]) -> tuple[int, bytes]:
        status, body = serve()
        return status, orjson.dumps(body)


class _Response:
    def __init__(self, status: int, raw: bytes) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}
        self._raw = raw

    async def read(self) -> bytes:
        return self._raw


class _Exchange:
    def __init__(self, wire: Wire, what: str, serve: Callable[[], Answer]) -> None:
        self._wire = wire
        self._what = what
        self._serve = serve

    async def __aenter__(self) -> _Response:
        return _Response(*await self._wire.exchange(self._what, self._serve))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class FakeHttpSession:
    """As much of `aiohttp.ClientSession` as `Homeserver` uses."""

    def __init__(self, homeserver: FakeHomeserver, wire: Wire | None = None) -> None:
        self._homeserver = homeserver
        self._wire = wire or Direct()

    def request(
        self,
        method: str,
        url: URL,
        *,
        data: Any = None,
        headers: Mapping[str, str],
        allow_redirects: bool = False,
    ) -> _Exchange:
        """As aiohttp's."""
        body = data if isinstance(data, bytes) or data is None else data.read()
        token = headers["Authorization"].removeprefix("Bearer ")
        path, query = url.raw_path, dict(url.query)

        def serve() -> Answer:
            return self._homeserver.handle(token, method, path, query, body or b"")

        return _Exchange(self._wire, f"{method} {path}", serve)

    async def close(self) -> None:
        """Nothing is open."""


def fake_session(homeserver: FakeHomeserver, wire: Wire | None = None) -> aiohttp.ClientSession:
    """A session that leads to ``homeserver``."""
    return cast(aiohttp.ClientSession, FakeHttpSession(homeserver, wire))


def unreachable() -> aiohttp.ClientConnectorError:
    """What aiohttp raises when nobody listens."""
    key = aiohttp.client_reqrep.ConnectionKey("homeserver.fake", 80, False, True, None, None, None)
    return aiohttp.ClientConnectorError(key, ConnectionRefusedError(111, "Connection refused"))
