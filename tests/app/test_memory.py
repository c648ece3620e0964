"""Making room for many logins: what TLS connections take, and what a collection of garbage looks at."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import gc
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from dm_bridge.app.memory import COLLECTIONS, TLS_BUFFER, make_room
from dm_bridge.testing.certificates import write_certificate


@pytest.fixture
def room() -> Iterator[None]:
    """Room, made and unmade."""
    size, thresholds = asyncio.sslproto.SSLProtocol.max_size, gc.get_threshold()
    make_room()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    asyncio.sslproto.SSLProtocol.max_size = size


@pytest.mark.usefixtures("room")
def test_a_collection_does_not_look_at_what_was_imported() -> None:
    assert gc.get_freeze_count() > 10_000
    assert len(gc.get_objects()) < gc.get_freeze_count() / 10
    assert gc.get_threshold() == COLLECTIONS


@pytest.mark.usefixtures("room")
async def test_what_comes_after_is_still_collected() -> None:
    class Loop:
        pass

    ours = Loop()
    ours.itself = ours  # type: ignore[attr-defined]
    del ours
    assert gc.collect() >= 1


@pytest.mark.usefixtures("room")
async def test_a_tls_connection_has_a_small_buffer_and_carries_what_is_larger(
    tmp_path: Path,
) -> None:
    files = write_certificate(tmp_path, ["localhost"])
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(files.certificate, files.key)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(len(text)))
        await writer.drain()
        writer.close()

    text = bytes(range(256)) * 8_192
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cafile=files.authority)
    try:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=trusting)
        protocol = writer.transport._ssl_protocol  # type: ignore[attr-defined]
        assert len(protocol._ssl_buffer) == TLS_BUFFER
        writer.write(text)
        async with asyncio.timeout(60):
            assert await reader.readexactly(len(text)) == text
        writer.close()
    finally:
        server.close()
        await server.wait_closed()
