"""Asking a homeserver what it is; what stands there may be anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dm_bridge.errors import HomeserverError
from dm_bridge.matrix.greeting import Greeting, greet
from dm_bridge.matrix.sessions import homeserver_session
from dm_bridge.testing.processes import free_port

VERSIONS = b'{"versions": ["r0.6.1", "v1.11", 7], "unstable_features": {"a.b": true, "c": "yes"}}'
VERSION = b'{"server": {"name": "Synapse", "version": "1.98 (b=x)"}}'


def answer(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def homeserver(versions: bytes, version: bytes = b"") -> AsyncIterator[str]:
    """The URL of a server with these answers; empty: it says nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert b"authorization" not in request.lower()
        said = versions if b"/client/versions" in request else version
        writer.write(said)
        if not said:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def greeted(url: str, deadline: float = 5) -> Greeting:
    session = homeserver_session()
    try:
        return await greet(session, url, deadline)
    finally:
        await session.close()


async def test_a_homeserver_says_what_it_is_and_what_time_it_has() -> None:
    date = "Date: Thu, 01 Jan 1970 00:01:40 GMT"
    async with homeserver(
        answer("200 OK", VERSIONS, date, "Server: nginx"), answer("200 OK", VERSION)
    ) as url:
        found = await greeted(url)
    assert found.software == "Synapse 1.98"
    assert found.versions == ("r0.6.1", "v1.11")
    assert found.unstable == {"a.b": True, "c": False}
    assert found.clock == 100.0
    assert found.asked <= found.answered


async def test_without_federation_the_header_tells_its_name() -> None:
    async with homeserver(
        answer("200 OK", VERSIONS, "Server: Conduit/1", "Date: never"),
        answer("404 Not Found", b"{}"),
    ) as url:
        found = await greeted(url)
    assert (found.software, found.clock) == ("Conduit 1", None)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            answer("404 Not Found", b"no"),
            "but something else .it answered 404.* Check homeserver.url",
        ),
        (answer("200 OK", b"[]"), "but something else"),
        (answer("502 Bad Gateway", b"<html>"), "a proxy that cannot reach it"),
        (b"220 mail ESMTP\r\n", "cannot be reached"),
        (answer("200 OK", b" " * 300_000), "the answer is too long"),
        (b"", "did not answer within 0.3 seconds"),
    ],
)
async def test_what_is_no_homeserver_is_told(said: bytes, words: str) -> None:
    async with homeserver(said) as url:
        with pytest.raises(HomeserverError, match=words):
            await greeted(url, 0.3)


async def test_a_homeserver_that_is_down_is_told() -> None:
    with pytest.raises(HomeserverError, match=r"(?i)connection refused.* homeserver\.url is"):
        await greeted(f"http://localhost:{free_port()}")


async def test_a_port_without_tls_is_told_apart() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer("400 Bad Request", b"no"))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(HomeserverError, match=r"No encrypted connection .* http\?"):
            await greeted(f"https://127.0.0.1:{port}")
