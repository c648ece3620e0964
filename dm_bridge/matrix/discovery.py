"""Finds the client-server API of a user's homeserver (specification, "Server discovery").

The rule that must never break: whoever's name a user id carries, no connection is made to a private,
loopback, link-local or otherwise special address, unless the admin named that server; the address
that was checked is the address that is connected to, on every redirect too.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver
from yarl import URL

from dm_bridge.errors import HomeserverError, UserError
from dm_bridge.ids import UserId, server_name
from dm_bridge.texts import phrase
from dm_bridge.web import PublicResolver, is_not_public, is_public, without_repeats

DEADLINE = 10.0  # seconds for one document, redirects included
MAX_DOCUMENT = 64 * 1024
MAX_ANSWER = 16 * 1024 * 1024  # any answer of a homeserver that the admin did not name
MAX_REDIRECTS = 4

_SERVER_NAME = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z"
)


@dataclass(frozen=True, slots=True)
class ClientApi:
    """Where a homeserver's client-server API is: its base URL, and the session to reach it by."""

    url: str
    session: aiohttp.ClientSession


class Discovery:
    """Finds homeservers.

    ``homeservers``: server name to base URL, as the admin configured, ``domain`` and ``url`` of our own
    homeserver apart. ``named`` reaches those; ``public``, made by `public_session`, all others.
    """

    def __init__(
        self,
        domain: str,
        url: str,
        homeservers: Mapping[str, str],
        *,
        named: aiohttp.ClientSession,
        public: aiohttp.ClientSession,
    ) -> None:
        self._configured = {domain: url, **homeservers}
        self._named = named
        self._public = public

    async def find(self, user: UserId) -> ClientApi:
        """Where the homeserver of ``user`` is, and that one answers there.

        Raises `UserError` when its server says something unusable, `HomeserverError` when it is silent.
        """
        server = server_name(user)
        if (url := self._configured.get(server)) is not None:
            return ClientApi(url.rstrip("/"), self._named)
        match = _SERVER_NAME.match(server)
        if match is None:
            raise UserError(phrase("discovery-no-name"))
        default = f"https://{match['host']}"
        status, raw = await self._get(f"{default}/.well-known/matrix/client")
        base = _base_url(raw) if status == 200 else URL(default)
        if status not in (200, 404):
            raise _unusable(phrase("discovery-answered", status=str(status)))
        await self._check_versions(base)
        return ClientApi(str(base).rstrip("/"), self._public)

    def recall(self, user: UserId, url: str) -> ClientApi:
        """What `find` once found, unless the configuration now says otherwise. Raises `UserError`."""
        configured = self._configured.get(server_name(user))
        if configured is not None:
            return ClientApi(configured.rstrip("/"), self._named)
        return ClientApi(str(_checked(url)).rstrip("/"), self._public)

    async def _check_versions(self, base: URL) -> None:
        status, raw = await self._get(f"{str(base).rstrip('/')}/_matrix/client/versions", follow=0)
        answer = _object(raw) if status == 200 else {}
        if not isinstance(answer.get("versions"), list):
            raise _unusable(phrase("discovery-something-else"))

    async def _get(self, start: str, *, follow: int = MAX_REDIRECTS) -> tuple[int, bytes]:
        """GET with redirects, each to https and checked anew: the last status, and at most `MAX_DOCUMENT`."""
        url = _checked(start)
        try:
            async with asyncio.timeout(DEADLINE):
                for _ in range(follow + 1):
                    async with self._public.get(url, allow_redirects=False) as response:
                        if not follow or response.status not in (301, 302, 303, 307, 308):
                            return response.status, await _read(response, MAX_DOCUMENT)
                        url = _checked(str(url.join(URL(response.headers.get("Location", "")))))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if is_not_public(error):
                raise _private() from error
            raise HomeserverError(
                phrase("discovery-unreachable", host=url.host or "", why=_cause(error)),
                retry_after=60.0,
            ) from error
        raise _unusable(phrase("discovery-elsewhere"))


def public_session(
    resolver: AbstractResolver | None = None, tls: ssl.SSLContext | bool = True
) -> aiohttp.ClientSession:
    """A session that connects to public addresses only, and gives up on endless answers.

    It keeps no cookies and uses no proxy. Redirects are the caller's: pass ``allow_redirects=False``. An
    address in a URL, in place of a name, is the caller's to check.
    """
    return without_repeats(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=PublicResolver(resolver or aiohttp.DefaultResolver()),
                ssl=tls,
                limit=50,
                limit_per_host=10,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            response_class=_BoundedResponse,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )
    )


class _BoundedResponse(aiohttp.ClientResponse):
    """A response whose `read` ends after `MAX_ANSWER` bytes."""

    async def read(self) -> bytes:
        return await _read(self, MAX_ANSWER)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    raw = bytearray()
    async for chunk in response.content.iter_any():
        raw += chunk
        if len(raw) > limit:
            response.close()
            raise aiohttp.ClientPayloadError(phrase("discovery-too-long"))
    return bytes(raw)


def _base_url(raw: bytes) -> URL:
    homeserver = _object(raw).get("m.homeserver")
    base = homeserver.get("base_url") if isinstance(homeserver, dict) else None
    if not isinstance(base, str):
        raise _unusable(phrase("discovery-nonsense"))
    url = _checked(base)
    if url.query_string or url.fragment:
        raise _unusable(phrase("discovery-nonsense"))
    return url


def _checked(text: str) -> URL:
    """An https URL whose host, where it is an address, is public. Raises `UserError`."""
    try:
        url = URL(text)
        host = url.raw_host
    except ValueError:
        raise _unusable(phrase("discovery-no-address")) from None
    if url.scheme != "https" or not host or url.user is not None or url.password is not None:
        raise _unusable(phrase("discovery-no-https"))
    try:
        ipaddress.ip_address(host.rstrip("."))
    except ValueError:
        return url
    if not is_public(host.rstrip(".")):
        raise _private()
    return url


def _object(raw: bytes) -> dict[str, object]:
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _cause(error: BaseException) -> str:
    match error:
        case TimeoutError():
            return phrase("discovery-no-answer")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return phrase("discovery-certificate")
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or phrase("discovery-no-connection")
        case aiohttp.ClientPayloadError():
            return str(error)
        case _:
            return phrase("discovery-no-connection")


def _unusable(sentence: str) -> UserError:
    return UserError(phrase("discovery-unusable", why=sentence))


def _private() -> UserError:
    return UserError(phrase("discovery-private"))
