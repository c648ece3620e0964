"""Files put where contacts can fetch them: by a real server, and by servers that mean harm."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import aiohttp
import pytest

from dm_bridge.connectors.xmpp.upload import _slot, slot_name
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.api import OutgoingMessage
from dm_bridge.network.events import Text
from dm_bridge.network.media import File, Media, MediaKind, Opened, OutgoingMedia
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.xmpp_client import Received, XmppUser
from dm_bridge.testing.xmpp_server import Tls

from .support import Running, network_for, until

OOB = "{jabber:x:oob}x/{jabber:x:oob}url"
SFS = "{urn:xmpp:sfs:0}file-sharing"
FALLBACK = "{urn:xmpp:fallback:0}fallback"
METADATA = "{urn:xmpp:file:metadata:0}"


class Bytes:
    """A file in memory. ``opened``: how often it was."""

    def __init__(self, content: bytes, *, says: int | None = None) -> None:
        self.content = content
        self.says = len(content) if says is None else says
        self.opened = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        self.opened += 1

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(self.content), 65536):
                yield self.content[start : start + 65536]

        yield Opened(self.says, chunks())


def picture(content: bytes, source: Bytes | None = None) -> OutgoingMedia:
    return OutgoingMedia(
        kind=MediaKind.IMAGE,
        name="a balcony.png",
        mimetype="image/png",
        width=640,
        height=480,
        source=source or Bytes(content),
    )


def to(contact: str, file: OutgoingMedia, said: str = "", id_: str = "one") -> OutgoingMessage:
    return OutgoingMessage(ChatId(contact), RemoteId(id_), Text(said), attachment=file)


def xml(received: Received) -> Element:
    return fromstring(received.xml)  # noqa: S314 - from our own server


@pytest.mark.parametrize("tls", ["none", "starttls"])
async def test_a_file_is_uploaded_and_described(tmp_path: Path, tls: Tls) -> None:
    server = await Prosody.start(tmp_path / tls, tls=tls, largest_file=1_000_000)
    try:
        me, other = [await server.add_user(name, "pass") for name in ("up.me", "up.other")]
        content = os.urandom(300_000)
        contact = XmppUser(other, "pass", server.host, server.port, tls=tls, ca_file=server.ca_file)
        network = network_for(server)
        async with contact, Running(network, me, "pass") as (session, _):
            assert session.capabilities.media
            assert session.capabilities.largest_media == 1_000_000
            assert await session.send(to(other, picture(content))) == "one"
            received = await contact.wait_for(lambda r: r.id == "one")
            stanza = xml(received)
            url = received.body
            assert stanza.findtext(OOB) == url
            sharing = stanza.find(SFS)
            assert sharing is not None
            assert sharing.get("disposition") == "inline"
            metadata = sharing.find(f"{METADATA}file")
            assert metadata is not None
            said = {child.tag.rpartition("}")[2]: child.text for child in metadata}
            assert said | {"hash": None} == {
                "media-type": "image/png",
                "name": "a balcony.png",
                "size": "300000",
                "width": "640",
                "height": "480",
                "hash": None,
            }
            context = network._routes.to("localhost").starttls_context
            async with aiohttp.ClientSession() as web, web.get(url, ssl=context) as response:
                assert await response.read() == content
                assert response.content_type == "image/png"
        await network.stop()
    finally:
        await server.stop()


async def test_a_caption_stands_before_the_address_and_is_told_from_it(prosody: Prosody) -> None:
    me = await prosody.add_user("up.captioned", "pass")
    other = await prosody.add_user("up.reader", "pass")
    network = network_for(prosody)
    async with (
        XmppUser(other, "pass", prosody.host, prosody.port) as contact,
        Running(network, me, "pass") as (session, _),
    ):
        await session.send(to(other, picture(b"x" * 10), "Look 🙂"))
        received = await contact.wait_for(lambda r: r.id == "one")
        caption, _, url = received.body.partition("\n")
        assert (caption, url[:7]) == ("Look 🙂", "http://")
        assert xml(received).find(OOB) is None
        fallback = xml(received).find(FALLBACK)
        assert fallback is not None
        assert fallback.get("for") == "urn:xmpp:sfs:0"
        (span,) = fallback
        assert received.body[int(span.get("start", "")) : int(span.get("end", ""))] == f"\n{url}"
    await network.stop()


async def test_what_one_session_sends_another_reads_as_the_same_file(prosody: Prosody) -> None:
    me, other = [await prosody.add_user(name, "pass") for name in ("up.there", "up.back")]
    network = network_for(prosody)
    content = os.urandom(1000)
    async with (
        Running(network, me, "pass", "login1") as (session, _),
        Running(network, other, "pass", "login2") as (_, sink),
    ):
        for id_, said in (("plain", ""), ("said", "*Look*")):
            await session.send(to(other, picture(content), said, id_))
        await until(lambda: len(sink.messages) == 2)
        first, second = sink.messages
        assert (first.content, second.content) == (Text(""), Text("*Look*", second.content.html))
        for message in (first, second):
            media = message.attachment
            assert isinstance(media, Media)
            assert media.sha256 == hashlib.sha256(content).hexdigest()
            assert (media.kind, media.name, media.size) == (MediaKind.IMAGE, "a balcony.png", 1000)
            assert (media.width, media.height) == (640, 480)
    await network.stop()


async def test_too_large_a_file_is_refused_before_a_byte_is_read(prosody: Prosody) -> None:
    me = await prosody.add_user("up.large", "pass")
    network = network_for(prosody)
    async with Running(network, me, "pass") as (session, _):
        source = Bytes(b"", says=100_000_001)
        with pytest.raises(NetworkError, match=r"at most 100\.0 MB") as caught:
            await session.send(to("x@localhost", picture(b"", source)))
        assert (caught.value.retry_after, caught.value.certain) == (None, True)
    await network.stop()


async def test_without_a_service_the_user_is_told_so(tmp_path: Path) -> None:
    server = await Prosody.start(tmp_path)
    try:
        me = await server.add_user("me", "pass")
        network = network_for(server)
        async with Running(network, me, "pass") as (session, _):
            assert session.capabilities.largest_media == 0
            source = Bytes(b"x")
            with pytest.raises(NetworkError, match="no place for files") as caught:
                await session.send(to("x@localhost", picture(b"", source)))
            assert caught.value.retry_after is None
            assert source.opened == 0
        await network.stop()
    finally:
        await server.stop()


async def test_a_file_that_ends_too_early_is_not_sent(prosody: Prosody) -> None:
    me = await prosody.add_user("up.early", "pass")
    network = network_for(prosody)
    async with Running(network, me, "pass") as (session, _):
        source = Broken(b"x" * 100_000)
        with pytest.raises(NetworkError, match="damaged"):
            await session.send(to("x@localhost", picture(b"", source)))
        source.whole = True
        assert await session.send(to("x@localhost", picture(b"", source))) == "one"
        assert source.opened == 2
    await network.stop()


async def test_a_session_that_ends_ends_its_uploads(prosody: Prosody) -> None:
    me = await prosody.add_user("up.ends", "pass")
    network = network_for(prosody)
    async with Running(network, me, "pass") as (session, _):
        source = Stuck(b"x" * 100_000)
        sending = asyncio.create_task(session.send(to("x@localhost", picture(b"", source))))
        await source.stuck.wait()
        async with asyncio.timeout(20):
            await session.disconnect()
            with pytest.raises(NetworkError) as caught:
                await sending
        assert (caught.value.certain, caught.value.retry_after) == (True, 1.0)
    await network.stop()


class Stuck(Bytes):
    """One that never ends."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.stuck = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        async def chunks() -> AsyncIterator[bytes]:
            yield self.content[:1000]
            self.stuck.set()
            await asyncio.Event().wait()

        yield Opened(self.says, chunks())


class Broken(Bytes):
    """One whose second half is refused until it is ``whole``."""

    whole = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        self.opened += 1

        async def chunks() -> AsyncIterator[bytes]:
            yield self.content[:50_000]
            if not self.whole:
                raise NetworkError("It was damaged.")
            yield self.content[50_000:]

        yield Opened(self.says, chunks())


@pytest.mark.parametrize(
    ("name", "mimetype", "expected"),
    [
        ("a/b\\c.png", "image/png", "a_b_c.png"),
        ("", "image/jpeg", "image.jpg"),
        ("..", "", "image"),
        ("x" * 300 + ".tar", "", "x" * 89 + ".tar"),
        ("line\nbreak\x00.gif", "image/gif", "line_break_.gif"),
        ("名前.png", "image/png", "名前.png"),
    ],
)
def test_a_slot_has_a_name_of_one_piece(name: str, mimetype: str, expected: str) -> None:
    file = File(kind=MediaKind.IMAGE, name=name, mimetype=mimetype)
    assert slot_name(file) == expected


def slot(inner: str) -> Element:
    return fromstring(f"<iq><slot xmlns='urn:xmpp:http:upload:0'>{inner}</slot></iq>")  # noqa: S314


def test_only_headers_that_the_xep_names_are_sent() -> None:
    put = (
        "<put url='https://a/'><header name='AUTHORIZATION'>a\nb: c</header>"
        "<header name='Host'>evil</header><header name='cookie'>d</header></put>"
    )
    found = _slot(slot(put + "<get url='https://b/'/>"))
    assert found == ("https://a/", "https://b/", {"Authorization": "ab: c", "Cookie": "d"})
    assert _slot(slot(put)) is None
