"""HTTP to addresses that strangers name: of files, of places to put files, of homeservers.

The rule that must never break: whoever names the address, no connection is made to a private, loopback, link-local
or otherwise special one, unless the admin named its host; the address that was checked is the address that is
connected to, on every redirect too.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from dm_bridge.errors import BridgeError, NetworkError

IDLE_SECONDS = 20.0
"""Seconds for which the other side may be silent."""
STORING_SECONDS = 60.0
"""Seconds that a server may take to answer once it has a whole file."""
MAX_REDIRECTS = 4
MAX_URL = 4096
CHUNK = 64 * 1024

NO_ADDRESS = "Its address makes no sense."

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_REDIRECTS = (301, 302, 303, 307, 308)


class NotPublicError(OSError):
    """A name resolved to an address to which nothing may be sent."""


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those that have any address that is not public.

    ``named``: whether the admin named a host, of which then any address is right.
    """

    def __init__(
        self, inner: AbstractResolver, named: Callable[[str], bool] = lambda host: False
    ) -> None:
        self._inner = inner
        self._named = named

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not self._named(host) and not all(is_public(result["host"]) for result in found):
            raise NotPublicError("its address is not a public one")
        return found

    async def close(self) -> None:
        await self._inner.close()


def is_public(address: str) -> bool:
    """Whether an IP address is a public unicast one; so must be an IPv4 address that is within it."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip.is_site_local or ip.teredo is not None:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def without_repeats(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """``session``, which from now on repeats nothing by itself. aiohttp has no public switch for that."""
    assert isinstance(session._retry_connection, bool)
    session._retry_connection = False
    return session


class Web:
    """A client for files. ``named``: whether the admin named a host (in small letters), at whatever address.

    Those may do without TLS where they are on this very machine. It sends no cookies and no identity, uses no
    proxy, unpacks nothing, and repeats nothing. `close` it in the end.
    """

    def __init__(
        self,
        named: Callable[[str], bool] = lambda host: False,
        *,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | bool = True,
        connections: int = 100,
    ) -> None:
        self._named = named
        self._resolver = resolver
        self._tls = tls
        self._connections = connections
        self._made: aiohttp.ClientSession | None = None

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._made is None:
            connector = aiohttp.TCPConnector(
                resolver=PublicResolver(self._resolver or aiohttp.DefaultResolver(), self._named),
                ssl=self._tls,
                limit=self._connections,
            )
            self._made = without_repeats(
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"Accept-Encoding": "identity", "User-Agent": "dm_bridge"},
                    auto_decompress=False,
                    timeout=_patience(IDLE_SECONDS),
                    read_bufsize=CHUNK,
                )
            )
        return self._made

    async def close(self) -> None:
        """End all connections."""
        if self._made is not None:
            await self._made.close()

    @asynccontextmanager
    async def get(self, address: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET, with redirects, each checked anew; the last answer, whatever its status.

        Read it with `body`. Set a deadline: none is set here but that for silence. Raises `NetworkError`, with a
        ``retry_after`` where it may help.
        """
        url = self.checked(address)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                async with self._session.get(url, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        yield response
                        return
                    url = self.checked(response.headers.get("Location", ""), url)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise failure(url.host or "", error) from error
        raise NetworkError(f"{url.host} only points elsewhere, again and again.")

    @asynccontextmanager
    async def put(
        self, address: str, data: AsyncIterator[bytes], headers: dict[str, str], tls: ssl.SSLContext
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """PUT; redirects are not followed. ``headers`` has the ``Content-Length``. Otherwise as `get`.

        An error of ``data`` itself, if it is a `BridgeError`, is raised as it is.
        """
        url = self.checked(address)
        source = Failing(data)
        try:
            async with self._session.put(
                url,
                data=source,
                headers=headers,
                allow_redirects=False,
                ssl=tls,
                timeout=_patience(STORING_SECONDS),
            ) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if source.failure is not None:
                raise source.failure from error
            raise failure(url.host or "", error) from error

    def checked(self, text: str, base: URL | None = None) -> URL:
        """An address to which a request may be made, as far as it tells by itself. Raises `NetworkError`.

        ``base``: what it is relative to, if it is.
        """
        try:
            url = URL(text) if len(text) <= MAX_URL else URL()
            url = url if base is None or not text else base.join(url)
            host = url.raw_host or ""
        except ValueError:
            raise NetworkError(NO_ADDRESS) from None
        if not host or url.user is not None or url.password is not None:
            raise NetworkError(NO_ADDRESS)
        if url.scheme != "https" and not (
            url.scheme == "http" and self._named(host) and _is_loopback(host)
        ):
            raise NetworkError(
                "Its address does not begin with https://, so anybody could read along."
            )
        try:
            ipaddress.ip_address(host.rstrip("."))
        except ValueError:
            return url
        if not self._named(host) and not is_public(host.rstrip(".")):
            raise _private(host)
        return url


class Failing:
    """Bytes for a request; keeps what went wrong with them, of which aiohttp only says that it did."""

    def __init__(self, data: AsyncIterator[bytes]) -> None:
        self._data = data
        self.failure: BridgeError | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._data:
                yield chunk
        except BridgeError as error:
            self.failure = error
            raise


async def body(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """What an answer holds, in pieces. Raises `NetworkError` when it breaks off."""
    try:
        async for chunk in response.content.iter_chunked(CHUNK):
            yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise failure(response.url.host or "", error) from error


def failure(host: str, error: BaseException) -> NetworkError:
    """What ``error``, raised by aiohttp, means to the user; with ``retry_after`` where it may pass."""
    if is_not_public(error):
        return _private(host)
    if isinstance(error, ValueError):  # aiohttp's for an odd address is one, too
        return NetworkError(NO_ADDRESS)
    untrusted = isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError)
    return NetworkError(f"{host} {_said_of(error)}.", retry_after=None if untrusted else 10.0)


def _patience(silence: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence)


def is_not_public(error: BaseException) -> bool:
    """Whether nothing was sent because of where it would have gone."""
    return isinstance(error, NotPublicError) or (
        isinstance(error, aiohttp.ClientConnectorError)
        and isinstance(error.os_error, NotPublicError)
    )


def _said_of(error: BaseException) -> str:
    match error:
        case TimeoutError():
            return "did not answer in time"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "offers no encryption that can be trusted"
        case aiohttp.ClientConnectorError():
            return "cannot be reached"
        case _:
            return "broke the connection"


def _private(host: str) -> NetworkError:
    return NetworkError(
        f"{host} is inside a private network, from which the bridge fetches nothing unless its admin allows it."
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
