"""The fault proxy passes everything on, until it is asked to do harm."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from dm_bridge.testing.dialects import Frame, Http
from dm_bridge.testing.fault_proxy import (
    CUT,
    DROP,
    PASS,
    PASS_AND_RESET,
    RESET,
    End,
    FaultProxy,
    Verdict,
    http_answer,
)
from dm_bridge.testing.processes import LOOPBACK


class Server:
    """Says what it was asked; counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.was_asked = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        body = await request.read()
        self.was_asked.set()
        return web.Response(body=request.path.encode() + b" " + body)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest_asyncio.fixture
async def proxy(server: Server) -> AsyncIterator[FaultProxy]:
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    async with FaultProxy((LOOPBACK, runner.addresses[0][1]), Http) as proxy:
        yield proxy
    await runner.cleanup()


@pytest_asyncio.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(proxy.url, timeout=timeout) as session:
        yield session


async def post(client: aiohttp.ClientSession, path: str, body: bytes = b"x") -> tuple[int, bytes]:
    async with client.post(path, data=body) as response:
        return response.status, await response.read()


async def test_what_passes_is_unchanged(client: aiohttp.ClientSession, proxy: FaultProxy) -> None:
    large = bytes(range(256)) * 3000
    for number in range(3):
        assert await post(client, f"/{number}", large) == (200, f"/{number} ".encode() + large)


@pytest.mark.parametrize("verdict", [CUT, RESET])
async def test_a_request_can_be_cut_off_before_it_arrives(
    client: aiohttp.ClientSession, proxy: FaultProxy, server: Server, verdict: Verdict
) -> None:
    async def cut(_: Frame) -> Verdict:
        return verdict

    trap = proxy.when("^POST /b", cut)
    assert (await post(client, "/a"))[0] == 200
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await post(client, "/b")
    assert trap.sprung.is_set()
    assert (await post(client, "/b"))[0] == 200
    assert server.asked == ["/a", "/b"]


async def test_an_answer_can_be_lost_after_the_request_arrived(
    client: aiohttp.ClientSession, proxy: FaultProxy, server: Server
) -> None:
    async def lose(frame: Frame) -> Verdict:
        assert (frame.what, frame.status) == ("POST /b", 200)
        return RESET

    proxy.when("^POST /b", lose, answer=True)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await post(client, "/b")
    assert server.asked == ["/b"]


async def test_a_trap_lets_some_pass_and_meets_some(
    client: aiohttp.ClientSession, proxy: FaultProxy, server: Server
) -> None:
    async def refuse(_: Frame) -> Verdict:
        return Verdict(forward=b"", back=http_answer(502, b"{}", "Retry-After: 1"))

    trap = proxy.when("^POST", refuse, skip=1, times=2)
    answers = [(await post(client, f"/{number}"))[0] for number in range(5)]
    assert answers == [200, 502, 502, 200, 200]
    assert server.asked == ["/0", "/3", "/4"]
    assert trap.met == 2


async def test_a_forgotten_trap_meets_nothing(
    client: aiohttp.ClientSession, proxy: FaultProxy
) -> None:
    async def cut(_: Frame) -> Verdict:
        return RESET

    proxy.forget(proxy.when("^POST", cut))
    assert (await post(client, "/a"))[0] == 200


async def test_a_request_can_be_repeated(
    client: aiohttp.ClientSession, proxy: FaultProxy, server: Server
) -> None:
    async def twice(frame: Frame) -> Verdict:
        assert (await proxy.repeat(frame.data)).status == 200
        return PASS

    proxy.when("^POST", twice)
    assert (await post(client, "/a"))[0] == 200
    assert server.asked == ["/a", "/a"]


async def test_a_stall_ends(client: aiohttp.ClientSession, proxy: FaultProxy) -> None:
    proxy.stall()
    request = asyncio.create_task(post(client, "/a"))
    done, _ = await asyncio.wait({request}, timeout=0.2)
    assert not done
    await proxy.mend()
    assert (await request)[0] == 200


async def test_refused_connections_are_refused_until_they_are_not(
    client: aiohttp.ClientSession, proxy: FaultProxy
) -> None:
    proxy.refuse()
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(client, "/a")
    await proxy.mend()
    assert (await post(client, "/a"))[0] == 200


@pytest.mark.parametrize(
    ("how", "error"), [(End.RESET, ConnectionResetError), (End.FIN, None)], ids=["rst", "fin"]
)
async def test_a_cut_is_a_reset_or_an_end(
    proxy: FaultProxy, how: End, error: type[Exception] | None
) -> None:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"/a ")
    assert proxy.cut(how) == 1
    expectation = contextlib.nullcontext() if error is None else pytest.raises(error)
    with expectation:
        assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_frame_can_pass_and_be_the_last(
    client: aiohttp.ClientSession, proxy: FaultProxy, server: Server
) -> None:
    async def last(_: Frame) -> Verdict:
        return PASS_AND_RESET

    proxy.when("^POST", last)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await post(client, "/a")
    async with asyncio.timeout(60):
        await server.was_asked.wait()


async def test_a_dropped_answer_leaves_the_client_waiting(
    client: aiohttp.ClientSession, proxy: FaultProxy
) -> None:
    async def drop(_: Frame) -> Verdict:
        return DROP

    proxy.when("^POST", drop, answer=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await post(client, "/a")


async def test_without_a_server_a_connection_is_reset(proxy: FaultProxy) -> None:
    proxy.target = (LOOPBACK, 1)
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
