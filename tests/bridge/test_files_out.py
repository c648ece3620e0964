"""Files of users, as sessions read them: whole and right, or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from dm_bridge.bridge.files_out import FilesOut
from dm_bridge.errors import NetworkError
from dm_bridge.ids import UserId
from dm_bridge.matrix.attachments import Attached, Lock
from dm_bridge.matrix.media import MediaRepository, Mxc
from dm_bridge.network.media import File, MediaKind, OutgoingMedia, Place
from tests.matrix.scripted import Script, scripted

BOT = UserId("@bot:example.org")
FILE = File(kind=MediaKind.IMAGE, name="a.png", mimetype="image/png", size=1)
LARGEST = 1_000_000


@pytest_asyncio.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted() as script:
        yield script


def outgoing(script: Script, lock: Lock | None = None) -> OutgoingMedia:
    files = FilesOut(MediaRepository(script.homeserver), BOT, LARGEST)
    media = files.outgoing(Attached(FILE, Mxc("example.org", "abc"), lock))
    assert isinstance(media, OutgoingMedia)
    return media


async def read(media: OutgoingMedia) -> tuple[int, bytes]:
    async with media.source.open() as opened:
        return opened.size, b"".join([chunk async for chunk in opened.chunks])


async def collect(media: OutgoingMedia, got: list[bytes]) -> None:
    async with media.source.open() as opened:
        async for chunk in opened.chunks:
            got.append(chunk)


def serve(script: Script, content: bytes, **headers: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=content, headers=headers)

    script.answers = [answer]


async def test_a_thumbnail_is_read_like_the_file(script: Script) -> None:
    files = FilesOut(MediaRepository(script.homeserver), BOT, LARGEST)
    small = Attached(FILE, Mxc("example.org", "small"))
    media = files.outgoing(Attached(FILE, Mxc("example.org", "abc"), preview=small))
    assert isinstance(media, OutgoingMedia)
    assert media.preview is not None
    serve(script, b"tiny")
    assert await read(media.preview) == (4, b"tiny")
    assert script.seen[-1].path.endswith("/example.org/small")


def test_a_place_is_given_as_it_is() -> None:
    files = FilesOut(MediaRepository(None), BOT, 0)  # type: ignore[arg-type]
    assert files.outgoing(Place(1.0, 2.0)) == Place(1.0, 2.0)
    assert files.outgoing(None) is None


async def test_a_file_is_read_with_authentication_as_often_as_one_likes(script: Script) -> None:
    content = os.urandom(300_000)
    serve(script, content)
    media = outgoing(script)
    assert (media.name, media.mimetype, media.kind) == ("a.png", "image/png", MediaKind.IMAGE)
    for _ in range(2):
        assert await read(media) == (len(content), content)
    for seen in script.seen:
        assert seen.path == "/_matrix/client/v1/media/download/example.org/abc"
        assert seen.headers["Authorization"] == "Bearer as-token"
        assert seen.query == {"user_id": BOT}


async def test_an_encrypted_file_is_decrypted_on_the_way(script: Script) -> None:
    content, key, iv = os.urandom(300_001), os.urandom(32), os.urandom(16)
    cipher = Cipher(AES(key), modes.CTR(iv)).encryptor()
    sealed = cipher.update(content) + cipher.finalize()
    serve(script, sealed)
    lock = Lock(key, iv, hashlib.sha256(sealed).digest())
    assert await read(outgoing(script, lock)) == (len(content), content)


@pytest.mark.parametrize("size", [10, 300_000])
async def test_of_a_file_that_was_changed_the_last_piece_is_never_given_out(
    script: Script, size: int
) -> None:
    serve(script, os.urandom(size))
    got: list[bytes] = []
    with pytest.raises(NetworkError, match="damaged"):
        await collect(outgoing(script, Lock(bytes(32), bytes(16), bytes(32))), got)
    assert sum(map(len, got)) < size


@pytest.mark.parametrize(
    ("status", "answer", "reason", "again"),
    [
        (404, {"errcode": "M_NOT_FOUND"}, "any more", False),
        (403, {"errcode": "M_FORBIDDEN"}, "any more", False),
        (500, {"errcode": "M_UNKNOWN"}, "cannot be read", True),
        (504, {"errcode": "M_NOT_YET_UPLOADED"}, "cannot be read", True),
        (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 7000}, "cannot be read", True),
    ],
)
async def test_trouble_is_told_and_whether_it_may_pass(
    script: Script, status: int, answer: dict[str, object], reason: str, again: bool
) -> None:
    script.answers = [(status, answer)]
    with pytest.raises(NetworkError, match=reason) as caught:
        await read(outgoing(script))
    assert (caught.value.retry_after is not None, caught.value.certain) == (again, True)


async def test_too_large_a_file_is_not_read(script: Script) -> None:
    serve(script, bytes(LARGEST + 1))
    with pytest.raises(NetworkError, match=r"at most 1\.0 MB are carried") as caught:
        await read(outgoing(script))
    assert caught.value.retry_after is None
    script.seen.clear()
    files = FilesOut(MediaRepository(script.homeserver), BOT, 0)
    media = files.outgoing(Attached(FILE, Mxc("example.org", "abc")))
    assert isinstance(media, OutgoingMedia)
    with pytest.raises(NetworkError, match="carries no files"):
        await read(media)
    assert script.seen == []


async def test_an_answer_that_breaks_off_may_be_tried_again(script: Script) -> None:
    async def short(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "200000"})
        await response.prepare(request)
        await response.write(bytes(100_000))
        assert request.transport is not None
        request.transport.close()
        return response

    script.answers = [short]
    with pytest.raises(NetworkError) as caught:
        await read(outgoing(script))
    assert caught.value.retry_after is not None


async def test_an_answer_of_unknown_length_is_not_passed_on(script: Script) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"x")
        return response

    script.answers = [endless]
    with pytest.raises(NetworkError, match="how large") as caught:
        await read(outgoing(script))
    assert caught.value.retry_after is None
