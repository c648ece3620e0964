"""Finding homeservers: as the specification says, and never inside our own network."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from mautrix.api import Path as ApiPath

from dm_bridge import web as our_web
from dm_bridge.errors import BridgeError, HomeserverError, UserError
from dm_bridge.ids import UserId
from dm_bridge.matrix import discovery
from dm_bridge.matrix.discovery import Discovery, public_session
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.testing.certificates import write_certificate
from dm_bridge.web import PublicResolver, is_public

ROMEO = UserId("@romeo:other.example")
WELL_KNOWN = "/.well-known/matrix/client"
VERSIONS = "/_matrix/client/versions"
Handler = Callable[[web.Request], Any]


class Names(AbstractResolver):
    """Resolves every name to ``addresses``, and leads to ``port``, whatever port was asked for."""

    def __init__(self, addresses: list[str], port: int | None = None) -> None:
        self.addresses = addresses
        self.port = port
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=self.port or port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.addresses
        ]

    async def close(self) -> None: ...


class Web:
    """The whole web, on one loopback port: ``pages`` by host and path. ``seen``: what was asked for."""

    def __init__(self) -> None:
        self.pages: dict[tuple[str, str], tuple[int, Any] | Handler] = {}
        self.seen: list[str] = []
        self.port = 0
        self.tls: ssl.SSLContext

    async def handle(self, request: web.Request) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        self.seen.append(f"{host}{request.path}")
        page = self.pages.get((host, request.path), (404, "nothing here"))
        if callable(page):
            answer: web.StreamResponse = await page(request)
            return answer
        status, content = page
        if 300 <= status < 400:
            return web.Response(status=status, headers={"Location": content})
        if isinstance(content, str):
            return web.Response(status=status, text=content)
        return web.json_response(content, status=status)

    def homeserver(self, host: str) -> None:
        self.pages[(host, VERSIONS)] = (200, {"versions": ["v1.11"]})

    def well_known(self, base: object) -> None:
        self.pages[("other.example", WELL_KNOWN)] = (200, {"m.homeserver": {"base_url": base}})


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[Web]:
    names = ["other.example", "matrix.other.example", "third.example"]
    files = write_certificate(tmp_path, names)
    serve = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serve.load_cert_chain(files.certificate, files.key)
    world = Web()
    world.tls = ssl.create_default_context(cafile=str(files.authority))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", world.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=serve).start()
    world.port = runner.addresses[0][1]
    yield world
    await runner.cleanup()


@asynccontextmanager
async def looking(
    session: aiohttp.ClientSession, homeservers: dict[str, str] | None = None
) -> AsyncIterator[Discovery]:
    async with session, aiohttp.ClientSession() as named:
        yield Discovery(
            "example.org", "http://localhost:8008/", homeservers or {}, named=named, public=session
        )


def as_if_public(world: Web) -> aiohttp.ClientSession:
    """A session for which every name leads to ``world``."""
    connector = aiohttp.TCPConnector(resolver=Names(["127.0.0.1"], world.port), ssl=world.tls)
    return aiohttp.ClientSession(connector=connector)


async def find(world: Web, user: UserId = ROMEO) -> str:
    async with looking(as_if_public(world)) as found:
        return (await found.find(user)).url


# -- what is found


async def test_the_homeserver_is_where_the_well_known_document_says(world: Web) -> None:
    world.well_known("https://matrix.other.example/")
    world.homeserver("matrix.other.example")
    assert await find(world) == "https://matrix.other.example"
    assert world.seen == [f"other.example{WELL_KNOWN}", f"matrix.other.example{VERSIONS}"]


async def test_the_port_in_a_server_name_is_not_that_of_the_well_known_document(world: Web) -> None:
    world.well_known("https://matrix.other.example")
    world.homeserver("matrix.other.example")
    assert await find(world, UserId("@romeo:other.example:8448")) == "https://matrix.other.example"


async def test_without_a_well_known_document_the_server_itself_is_tried(world: Web) -> None:
    world.homeserver("other.example")
    assert await find(world) == "https://other.example"


async def test_redirects_are_followed(world: Web) -> None:
    world.pages[("other.example", WELL_KNOWN)] = (302, "https://third.example/elsewhere")
    world.pages[("third.example", "/elsewhere")] = (
        200,
        {"m.homeserver": {"base_url": "https://matrix.other.example/base/"}},
    )
    world.pages[("matrix.other.example", f"/base{VERSIONS}")] = (200, {"versions": []})
    assert await find(world) == "https://matrix.other.example/base"


@pytest.mark.parametrize(
    "page",
    [
        (200, ""),
        (200, "<html>"),
        (200, "[]"),
        (200, "null"),
        (200, {}),
        (200, {"m.homeserver": "https://matrix.other.example"}),
        (200, {"m.homeserver": {"base_url": 5}}),
        (403, "no"),
        (500, "no"),
        (302, "http://other.example/x"),
        (302, "ftp://other.example/x"),
        (302, ""),
        (302, "https://[/"),
        (302, WELL_KNOWN),
        (200, "[" * 30_000),
    ],
)
async def test_a_well_known_document_that_makes_no_sense_is_refused(world: Web, page: Any) -> None:
    world.homeserver("other.example")
    world.homeserver("matrix.other.example")
    world.pages[("other.example", WELL_KNOWN)] = page
    with pytest.raises(BridgeError):
        await find(world)
    assert len(world.seen) <= discovery.MAX_REDIRECTS + 1


@pytest.mark.parametrize(
    "base",
    [
        "http://matrix.other.example",
        "file:///etc/passwd",
        "https://",
        "https://user:pw@matrix.other.example",
        "https://matrix.other.example?x",
        "https://matrix.other.example#x",
        "matrix.other.example",
        "",
        "https://[::1",
    ],
)
async def test_a_base_url_that_is_no_plain_https_address_is_refused(world: Web, base: str) -> None:
    world.well_known(base)
    world.homeserver("matrix.other.example")
    with pytest.raises(UserError):
        await find(world)
    assert world.seen == [f"other.example{WELL_KNOWN}"]


@pytest.mark.parametrize(
    "versions", [(404, ""), (200, "hello"), (200, {"versions": "v1"}), (302, "/x")]
)
async def test_where_no_homeserver_answers_none_is_found(world: Web, versions: Any) -> None:
    world.well_known("https://matrix.other.example")
    world.pages[("matrix.other.example", VERSIONS)] = versions
    with pytest.raises(UserError, match="something else"):
        await find(world)


async def test_an_endless_document_is_given_up(world: Web) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b" " * 4096)
        return response

    world.pages[("other.example", WELL_KNOWN)] = endless
    with pytest.raises(HomeserverError, match="too long"):
        await find(world)


async def test_a_silent_server_is_given_up(world: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "DEADLINE", 0.3)

    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    world.pages[("other.example", WELL_KNOWN)] = silent
    began = time.monotonic()
    with pytest.raises(HomeserverError, match="no answer in time") as caught:
        await find(world)
    assert caught.value.retry_after is not None
    assert time.monotonic() - began < 30


async def test_a_certificate_for_another_name_is_not_accepted(world: Web) -> None:
    with pytest.raises(HomeserverError, match="certificate"):
        await find(world, UserId("@romeo:fourth.example"))
    assert world.seen == []


@pytest.mark.parametrize(
    "server", ["", "a b", "a/b", "a@b", "a?b", "a#b", "[::1", "ü.example", "a:x", "-"]
)
async def test_what_is_no_server_name_is_not_looked_for(world: Web, server: str) -> None:
    with pytest.raises(UserError):
        await find(world, UserId(f"@romeo:{server}"))
    assert world.seen == []


# -- what the admin named


async def test_our_own_homeserver_and_those_that_the_admin_named_need_no_looking_for() -> None:
    homeservers = {"other.example": "http://127.0.0.1:9/"}
    async with looking(public_session(Names([])), homeservers) as found:
        own = await found.find(UserId("@juliet:example.org"))
        named = await found.find(ROMEO)
        assert (own.url, named.url) == ("http://localhost:8008", "http://127.0.0.1:9")
        assert found.recall(ROMEO, "https://was.example") == named


async def test_what_was_found_once_is_checked_when_it_is_recalled() -> None:
    async with looking(public_session(Names([]))) as found:
        assert found.recall(ROMEO, "https://m.other.example/").url == "https://m.other.example"
        for url in ("http://m.other.example", "https://127.0.0.1", "https://[::1]/"):
            with pytest.raises(UserError):
                found.recall(ROMEO, url)


# -- what is never connected to


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
        "2002:7f00:1::", "2002:c0a8:101::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "fe80::1", "fe80::1%eth0",
        "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1", "", "localhost", "1.2.3",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_known_as_such(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"]
)
def test_a_public_address_is_known_as_such(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["::ffff:192.168.0.1"]]
)
async def test_a_name_with_any_address_inside_is_refused_with_a_reason(
    addresses: list[str],
) -> None:
    async with looking(public_session(Names(addresses))) as found:
        with pytest.raises(UserError, match=r"private network.*direct\.homeservers"):
            await found.find(ROMEO)


async def test_a_name_that_is_public_when_asked_first_is_checked_again(world: Web) -> None:
    """DNS rebinding: the check is made on the very answer that is connected to."""
    names = Names(["1.1.1.1"], world.port)
    session = public_session(names, world.tls)
    async with looking(session) as found:
        names.addresses = ["127.0.0.1"]
        with pytest.raises(UserError, match="private network"):
            await found.find(ROMEO)
        homeserver = Homeserver("https://other.example", "token", session)
        with pytest.raises(HomeserverError):
            await homeserver.request_raw("GET", ApiPath.versions, once=True)
    assert world.seen == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0.0.0.0", "0",
        "localhost", "localhost.", "LOCALHOST", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::]",
        "①②⑦.0.0.1", "127。0。0。1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("way", ["server name", "redirect", "base url"])
async def test_no_spelling_of_loopback_is_ever_connected_to(
    world: Web, host: str, way: str
) -> None:
    connections = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    inside = f"https://{host}:{port}"
    user = ROMEO
    resolver: AbstractResolver = Names(["127.0.0.1"], world.port)
    if way == "server name":
        user, resolver = UserId(f"@romeo:{host}"), OnPort(port)
    elif way == "redirect":
        world.pages[("other.example", WELL_KNOWN)] = (302, inside)
    else:
        world.well_known(inside)
    session = _first_hop_only(resolver, world.tls)
    async with server, looking(session) as found:
        with pytest.raises(BridgeError):
            await found.find(user)
    assert connections == 0


class OnPort(AbstractResolver):
    """The system's resolver, but for the port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        return [{**result, "port": self._port} for result in found]

    async def close(self) -> None:
        await self._inner.close()


class FirstHop(AbstractResolver):
    """Trusts ``inner`` for other.example, and is a `PublicResolver` of the system's for the rest."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner
        self._rest = PublicResolver(
            inner if isinstance(inner, OnPort) else aiohttp.ThreadedResolver()
        )

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        which = self._inner if host == "other.example" else self._rest
        return await which.resolve(host, port, family)

    async def close(self) -> None:
        await self._inner.close()


def _first_hop_only(resolver: AbstractResolver, tls: ssl.SSLContext) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(resolver=FirstHop(resolver), ssl=tls)
    return aiohttp.ClientSession(connector=connector)


async def test_an_endless_answer_of_a_homeserver_is_given_up(
    world: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "MAX_ANSWER", 100_000)
    monkeypatch.setattr(discovery, "is_public", lambda address: True)
    monkeypatch.setattr(our_web, "is_public", lambda address: True)
    world.pages[("other.example", "/_matrix/client/versions")] = (200, {"versions": ["x" * 99_000]})
    async with public_session(Names(["127.0.0.1"], world.port), world.tls) as session:
        homeserver = Homeserver("https://other.example", "token", session)
        await homeserver.request_raw("GET", ApiPath.versions, once=True)
        world.pages[("other.example", VERSIONS)] = (200, {"versions": ["x" * 101_000]})
        with pytest.raises(HomeserverError, match="too long"):
            await homeserver.request_raw("GET", ApiPath.versions, once=True)
