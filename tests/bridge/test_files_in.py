"""Files of contacts: carried in pieces, and whatever their servers do, never more than is allowed."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dm_bridge import web as our_web
from dm_bridge.bridge import files_in
from dm_bridge.bridge.files_in import (
    LARGEST_THUMBNAIL,
    OF_ONE_LOGIN,
    PATIENCE,
    FilesIn,
    Part,
    Shown,
    parts_of,
)
from dm_bridge.errors import HomeserverError, NetworkError, NotYet
from dm_bridge.ids import ChatId, ContactId, LoginId, RemoteId, UserId
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.media import MediaRepository
from dm_bridge.matrix.sessions import homeserver_session
from dm_bridge.network.events import RemoteMessage, Text
from dm_bridge.network.media import Media, MediaKind, Place
from dm_bridge.web import Web

from .hostile_web import HOST, Hostile, hostile_web

GHOST = UserId("@_dm_xmpp_juliet:example.org")
LOGIN = LoginId("login")
LARGEST = 40_000_000
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x20\0\0\0\x10\x08\x02\0\0\0" + bytes(100)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[Hostile]:
    async with hostile_web(tmp_path) as world:
        yield world


@asynccontextmanager
async def files(world: Hostile, largest: int = LARGEST) -> AsyncIterator[FilesIn]:
    web = Web(lambda host: host == HOST, resolver=world.names, tls=world.tls)
    try:
        async with homeserver_session() as session:
            homeserver = Homeserver(world.url, "token", session)
            yield FilesIn(homeserver, MediaRepository(homeserver), web, largest)
    finally:
        await web.close()


def at(url: str, **said: object) -> Part:
    media = Media(kind=MediaKind.FILE, url=url)
    return Part(Text(""), replace(media, **said))  # type: ignore[arg-type]


async def show(world: Hostile, part: Part, *, age: float = 0.0, largest: int = LARGEST) -> Shown:
    async with files(world, largest) as carrier:
        return await carrier.show(part, GHOST, LOGIN, age=age)


async def why(world: Hostile, part: Part, *, largest: int = LARGEST) -> str:
    """What the user reads in place of a file."""
    shown = await show(world, part, age=PATIENCE + 1, largest=largest)
    assert shown.content["msgtype"] == "m.text"
    assert world.kept == []
    return str(shown.content["body"])


async def test_a_picture_is_put_into_the_repository_as_what_it_is(world: Hostile) -> None:
    url = world.page("/a%20b.png", PNG, **{"Content-Type": "application/octet-stream"})
    shown = await show(world, at(url, spoiler="a spider"))
    spoiler = "page.codeberg.everypizza.msc4193.spoiler"
    hidden = {spoiler: True, f"{spoiler}.reason": "a spider"}
    assert shown == Shown(
        "m.room.message",
        {
            "msgtype": "m.image",
            "body": "a b.png",
            "filename": "a b.png",
            "url": "mxc://example.org/file1",
            "info": {"mimetype": "image/png", "size": len(PNG), "w": 32, "h": 16},
            **hidden,
        },
    )
    (kept,) = world.kept
    assert (kept.size, kept.mimetype, kept.name) == (len(PNG), "image/png", "a b.png")
    assert (kept.sha256, kept.user) == (hashlib.sha256(PNG).hexdigest(), GHOST)
    assert world.names.asked == [HOST]  # once: what was checked is what was connected to


async def test_an_empty_file_is_a_file(world: Hostile) -> None:
    shown = await show(world, at(world.page("/empty", b"")))
    assert (shown.content["msgtype"], world.kept[0].size) == ("m.file", 0)


async def test_a_thumbnail_that_is_in_the_message_is_kept_too(world: Hostile) -> None:
    small = "data:image/png;base64," + base64.b64encode(PNG).decode()
    url = world.page("/film.webm", b"\x1aE\xdf\xa3\x42\x82\x84webm" + bytes(9000))
    shown = await show(world, at(url, kind=MediaKind.VIDEO, thumbnail=small, duration=1.5))
    info = shown.content["info"]
    assert (info["thumbnail_url"], info["duration"]) == ("mxc://example.org/file2", 1500)
    assert info["thumbnail_info"] == {"mimetype": "image/png", "size": len(PNG), "w": 32, "h": 16}
    lie = "data:image/png;base64," + base64.b64encode(b"<svg onload=alert(1)>").decode()
    shown = await show(world, at(url, kind=MediaKind.VIDEO, thumbnail=lie))
    assert "thumbnail_url" not in shown.content["info"]


async def test_a_thumbnail_at_an_address_is_fetched_if_it_is_a_small_image(world: Hostile) -> None:
    url = world.page("/film.webm", b"\x1aE\xdf\xa3\x42\x82\x84webm" + bytes(9000))
    for name, content, kept in (
        ("small.png", PNG, True),
        ("page.html", b"<script>", False),
        ("huge.png", PNG + bytes(LARGEST_THUMBNAIL), False),
    ):
        small = world.page(f"/{name}", content)
        shown = await show(world, at(url, kind=MediaKind.VIDEO, thumbnail=small))
        assert ("thumbnail_url" in shown.content["info"]) is kept
    for elsewhere in ("https://127.0.0.1/x", f"https://{HOST}/absent"):
        shown = await show(world, at(url, kind=MediaKind.VIDEO, thumbnail=elsewhere))
        assert "thumbnail_url" not in shown.content["info"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://{HOST}/x", "https"),
        ("https://127.0.0.1/x", "private network"),
        ("https://127.0.0.1./x", "private network"),
        ("https://[::1]/x", "private network"),
        ("https://[::ffff:127.0.0.1]/x", "private network"),
        ("https://[64:ff9b::7f00:1]/x", "private network"),
        ("https://169.254.169.254/latest/meta-data", "private network"),
        ("https://100.64.0.1/x", "private network"),
        ("https://224.0.0.1/x", "private network"),
        ("https://0.0.0.0/x", "private network"),
        ("https://2130706433/x", "makes no sense"),
        ("https://0x7f.1/x", "private network"),
        ("https://localhost/x", "private network"),
        ("https://private.example/x", "private network"),
        ("https://mixed.example/x", "private network"),
        ("https://mapped.example/x", "private network"),
        (f"https://user:pass@{HOST}/x", "makes no sense"),
        ("https:///x", "makes no sense"),
        ("https://[x", "makes no sense"),
        ("file:///etc/passwd", "makes no sense"),
        (f"https://{HOST}/" + "x" * 5000, "makes no sense"),
    ],
)
async def test_nothing_is_fetched_from_where_strangers_may_not_send_us(
    world: Hostile, url: str, reason: str
) -> None:
    assert reason in await why(world, at(url))
    assert world.seen == []


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("https://127.0.0.1/x", "private network"),
        ("https://private.example/x", "private network"),
        (f"http://{HOST}/x", "https"),
        ("//169.254.169.254/x", "private network"),
        ("/again", "again and again"),
        ("", "makes no sense"),
    ],
)
async def test_no_redirect_leads_there_either(world: Hostile, target: str, reason: str) -> None:
    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target} if target else {})

    world.on("/again", redirect)
    assert reason in await why(world, at(f"https://{HOST}/again"))
    assert set(world.seen) == {"/again"}
    assert len(world.seen) <= 5


async def test_a_redirect_to_where_one_may_go_is_followed(world: Hostile) -> None:
    world.page("/there.png", PNG)

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/there.png"})

    shown = await show(world, at(world.on("/here", redirect)))
    assert shown.content["msgtype"] == "m.image"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "any more"), (410, "any more"), (403, "to the bridge"), (418, "418")],
)
async def test_what_is_not_there_is_a_link_at_once(
    world: Hostile, status: int, reason: str
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=status)

    url = world.on("/gone.png", refuse)
    shown = await show(world, Part(Text("Look!"), Media(kind=MediaKind.IMAGE, url=url)))
    said, link, sentence = shown.content["body"].split("\n")
    assert (said, link) == ("Look!", url)
    assert reason in sentence


async def test_trouble_that_may_pass_is_waited_for_but_not_for_ever(world: Hostile) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=503)

    part = at(world.on("/busy", busy))
    with pytest.raises(NetworkError) as caught:
        await show(world, part, age=PATIENCE - 1)
    assert caught.value.retry_after is not None
    assert "503" in await why(world, part)


async def test_what_is_too_large_is_not_read(world: Hostile) -> None:
    sent = 0

    async def large(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Length": str(LARGEST + 1)})
        await response.prepare(request)
        while True:
            await response.write(bytes(65536))
            sent += 65536

    url = world.on("/large", large)
    assert "at most 40.0 MB" in await why(world, at(url))
    assert sent < 10_000_000
    world.limit = 1_000_000
    assert "at most 1.0 MB" in await why(world, at(url))
    world.seen.clear()
    assert "at most 1.0 MB" in await why(world, at(url, size=1_000_001))
    assert world.seen == []
    assert "No files" in await why(world, at(url), largest=0)
    assert world.seen == []


async def test_an_endless_answer_is_not_begun_or_ends_where_it_said(world: Hostile) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(bytes(65536))

    url = world.on("/endless", endless)
    assert "does not say how large" in await why(world, at(url))
    assert "not as large" in await why(world, at(url, size=1_000_000))


async def test_an_answer_that_ends_too_early_leaves_nothing_behind(world: Hostile) -> None:
    async def short(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000000"})
        await response.prepare(request)
        await response.write(bytes(500_000))
        assert request.transport is not None
        request.transport.close()
        return response

    part = at(world.on("/short", short))
    with pytest.raises(NetworkError, match="broke the connection"):
        await show(world, part)
    assert "broke the connection" in await why(world, part)


async def test_a_compressed_answer_is_not_unpacked(world: Hostile) -> None:
    bomb = gzip.compress(bytes(30_000_000))
    url = world.page("/bomb", bomb, **{"Content-Encoding": "gzip"})
    assert "not asked for" in await why(world, at(url))


async def test_a_silent_server_is_given_up(world: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(our_web, "IDLE_SECONDS", 0.3)
    never = asyncio.Event()

    async def silent(request: web.Request) -> web.StreamResponse:
        await never.wait()
        raise AssertionError

    async def stuck(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000000"})
        await response.prepare(request)
        await response.write(bytes(100_000))
        await never.wait()
        raise AssertionError

    for handler in (silent, stuck):
        assert "in time" in await why(world, at(world.on("/x", handler)))


async def test_a_server_that_sends_byte_by_byte_is_given_up(
    world: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_in, "START", 0.3)

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000000"})
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.02)

    assert "too slowly" in await why(world, at(world.on("/slow", slow)))


@pytest.mark.parametrize("kind", [MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.VOICE])
@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><script>", b"\n<html>", b"MZ" + bytes(100), b"%PDF-1.7 x"]
)
async def test_what_is_no_picture_is_not_shown_as_one(
    world: Hostile, kind: MediaKind, content: bytes
) -> None:
    url = world.page("/lie.png", content, **{"Content-Type": "image/png"})
    assert "something else" in await why(world, at(url, kind=kind, mimetype=f"{kind}/png"))


@pytest.mark.parametrize("type_", ["image/svg+xml", "text/html", "application/xhtml+xml"])
async def test_what_a_browser_could_run_has_no_type(world: Hostile, type_: str) -> None:
    url = world.page("/x.svg", b"<svg onload='alert(1)'>", **{"Content-Type": "image/png"})
    shown = await show(world, at(url, mimetype=type_))
    assert (shown.content["msgtype"], world.kept[0].mimetype) == (
        "m.file",
        "application/octet-stream",
    )


async def test_a_page_of_the_web_is_a_mere_link(world: Hostile) -> None:
    url = world.page("/news", b"<!doctype html><p>News", **{"Content-Type": "text/html; charset=x"})
    assert await why(world, at(url)) == url


@pytest.mark.parametrize("changed", [None, 0, 70_000, -1])
async def test_an_encrypted_file_is_shown_if_nobody_changed_it(
    world: Hostile, changed: int | None
) -> None:
    content = PNG + os.urandom(150_000)
    key, iv = os.urandom(32), os.urandom(12)
    sealed = bytearray(AESGCM(key).encrypt(iv, content, None))
    if changed is not None:
        sealed[changed] ^= 1
    part = at(world.page("/sealed.png", bytes(sealed)), key=key.hex(), iv=iv.hex())
    if changed is None:
        shown = await show(world, part)
        assert (shown.content["msgtype"], shown.content["info"]["size"]) == (
            "m.image",
            len(content),
        )
        assert world.kept[0].sha256 == hashlib.sha256(content).hexdigest()
    else:
        body = await why(world, part)
        assert "damaged" in body
        assert f"aesgcm://{HOST}/sealed.png#{iv.hex()}{key.hex()}" in body


@pytest.mark.parametrize("size", [0, 5, 16])
async def test_an_encrypted_file_that_is_no_longer_than_its_tag_is_no_file(
    world: Hostile, size: int
) -> None:
    part = at(world.page("/x", bytes(size)), key="00" * 32, iv="00" * 12)
    assert "damaged" in await why(world, part) or size < 16


async def test_a_file_with_another_hash_is_refused(world: Hostile) -> None:
    content = os.urandom(200_000)
    url = world.page("/x", content)
    assert "damaged" in await why(world, at(url, sha256="00" * 32))
    shown = await show(world, at(url, sha256=hashlib.sha256(content).hexdigest()))
    assert shown.content["msgtype"] == "m.file"


@pytest.mark.parametrize("errcode", ["M_TOO_LARGE", "M_FORBIDDEN"])
async def test_what_the_homeserver_does_not_take_is_a_link(world: Hostile, errcode: str) -> None:
    world.fails = [(413, {"errcode": errcode})] * 2
    assert "homeserver does not take it" in await why(world, at(world.page("/x", bytes(300_000))))


async def test_a_homeserver_in_trouble_is_waited_for(world: Hostile) -> None:
    world.fails = [(500, {}), (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1})]
    part = at(world.page("/x", bytes(300_000)))
    with pytest.raises(HomeserverError):
        await show(world, part)
    with pytest.raises(HomeserverError) as caught:
        await show(world, part, age=PATIENCE + 1)  # it has asked for it itself
    assert caught.value.status == 429
    assert (await show(world, part)).content["msgtype"] == "m.file"


async def test_one_login_has_some_files_under_way_and_others_have_theirs(world: Hostile) -> None:
    go = asyncio.Event()

    async def waits(request: web.Request) -> web.StreamResponse:
        await go.wait()
        return web.Response(body=PNG)

    part = at(world.on("/waits", waits))
    async with files(world) as carrier:
        first = [
            asyncio.create_task(carrier.show(part, GHOST, LOGIN, age=0))
            for _ in range(OF_ONE_LOGIN)
        ]
        await world.asked(OF_ONE_LOGIN)
        with pytest.raises(NotYet):
            await carrier.show(part, GHOST, LOGIN, age=0)
        other = asyncio.create_task(carrier.show(part, GHOST, LoginId("other"), age=0))
        await world.asked(OF_ONE_LOGIN + 1)
        go.set()
        assert len(await asyncio.gather(*first, other)) == OF_ONE_LOGIN + 1
        assert (await carrier.show(part, GHOST, LOGIN, age=0)).content["msgtype"] == "m.image"


async def test_a_file_of_60_megabytes_costs_hardly_any_memory(world: Hostile) -> None:
    size = 60_000_000
    world.limit = None
    piece = os.urandom(65536)

    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        for start in range(0, size, len(piece)):
            await response.write(piece[: min(len(piece), size - start)])
        return response

    part = at(world.on("/large.bin", large))
    async with files(world, size) as carrier:
        tracemalloc.start()
        try:
            shown = await carrier.show(part, GHOST, LOGIN, age=0)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert shown.content["info"]["size"] == world.kept[0].size == size
    assert peak < 8_000_000  # both servers included


def said(text: str, attachment: Media | Place | None) -> RemoteMessage:
    return RemoteMessage(
        ChatId("c"), RemoteId("i"), ContactId("c"), False, Text(text), attachment=attachment
    )


def test_a_long_caption_follows_its_picture() -> None:
    media = Media(kind=MediaKind.IMAGE, url="https://x/")
    assert parts_of(said("short", media)) == [Part(Text("short"), media)]
    first, *rest = parts_of(said("long " * 20_000, media))
    assert first == Part(Text(""), media)
    assert len(rest) > 1
    assert "".join(part.text.body for part in rest) == "long " * 20_000


async def test_a_place_is_a_place(world: Hostile) -> None:
    place = Place(45.44, 10.99, 5.0)
    shown = await show(world, Part(Text("Here"), place))
    assert (shown.content["msgtype"], shown.content["geo_uri"]) == ("m.location", place.uri)
    assert shown.content["body"] == f"Here {place.uri}"
