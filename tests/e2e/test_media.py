"""Files and places, between a Matrix client and an XMPP client, both ways, on real servers."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import struct
import zlib
from functools import partial
from html import escape
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import aiohttp
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from dm_bridge.testing.matrix_client import Seen
from dm_bridge.testing.stack import Stack
from dm_bridge.testing.xmpp_client import Received
from tests.e2e.pairs import Pair, pair

OOB = "{jabber:x:oob}x/{jabber:x:oob}url"
SFS = "{urn:xmpp:sfs:0}file-sharing"
THUMBNAIL = "{urn:xmpp:thumbs:1}thumbnail"
METADATA = "{urn:xmpp:file:metadata:0}file"
CORRECT = "{urn:xmpp:message-correct:0}replace"
RETRACT = "{urn:xmpp:message-retract:1}retract"
REPLY = "{urn:xmpp:reply:0}reply"


def picture(width: int = 32, height: int = 16) -> bytes:
    """A PNG of random pixels."""
    rows = b"".join(b"\0" + os.urandom(3 * width) for _ in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def stanza(p: Pair, id_: str, body: str, inner: str = "") -> str:
    text = f"<body>{escape(body)}</body>" if body else ""
    return (
        f"<message xmlns='jabber:client' to='{p.romeo}' type='chat' id='{id_}'>{text}{inner}"
        "<store xmlns='urn:xmpp:hints'/></message>"
    )


def oob(url: str) -> str:
    return f"<x xmlns='jabber:x:oob'><url>{escape(url)}</url></x>"


def sharing(url: str, metadata: str, sticker: str = "") -> str:
    return (
        "<file-sharing xmlns='urn:xmpp:sfs:0' disposition='inline'>"
        f"<file xmlns='urn:xmpp:file:metadata:0'>{metadata}</file>"
        "<sources><url-data xmlns='http://jabber.org/protocol/url-data' "
        f"target='{escape(url)}'/></sources></file-sharing>{sticker}"
    )


async def shown(p: Pair, after: int, **content: object) -> Seen:
    """The next event with this in its content."""
    return await p.alice.wait_for(
        lambda s: s.sender == p.ghost and content.items() <= s.content.items(), after=after
    )


async def fetched(p: Pair, mxc: str) -> bytes:
    content, _ = await p.alice.download(mxc)
    return content


async def got(url: str) -> tuple[bytes, str]:
    """What a contact's client finds at an address."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        return await response.read(), response.content_type


def found(received: Received, tag: str) -> Element | None:
    return fromstring(received.xml).find(tag)  # noqa: S314 - from our own server


def names(url: str, seen: Seen) -> bool:
    return url in (seen.body or "")


async def with_tag(p: Pair, tag: str, after: int) -> tuple[Received, Element]:
    received = await p.juliet.wait_for(lambda r: found(r, tag) is not None, after=after)
    element = found(received, tag)
    assert element is not None
    return received, element


def said_of(metadata: Element) -> dict[str, str | None]:
    return {child.tag.rpartition("}")[2]: child.text for child in metadata}


async def test_a_picture_of_a_contact_is_a_picture(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark, content = p.alice.mark(), picture(32, 16)
        url = await p.juliet.upload("balcony.png", content, "image/png")
        p.juliet.send_xml(stanza(p, "pic", url, oob(url)))
        seen = await shown(p, mark, msgtype="m.image")
        assert seen.room_id == room
        assert (seen.content["body"], seen.content["filename"]) == ("balcony.png", "balcony.png")
        info = {"mimetype": "image/png", "size": len(content), "w": 32, "h": 16}
        assert seen.content["info"] == info
        assert await p.alice.download(seen.content["url"]) == (content, "image/png")


async def test_a_picture_that_is_not_to_be_seen_at_once_is_hidden_on_the_other_side(
    stack: Stack,
) -> None:
    key, hint = "page.codeberg.everypizza.msc4193.spoiler", "{urn:xmpp:spoiler:0}spoiler"
    async with pair(stack) as p:
        room = await p.first_chat()
        mark, content = p.alice.mark(), picture()
        url = await p.juliet.upload("spider.png", content, "image/png")
        spoiler = "<spoiler xmlns='urn:xmpp:spoiler:0'>a spider</spoiler>"
        p.juliet.send_xml(stanza(p, "pic", url, oob(url) + spoiler))
        seen = await shown(p, mark, msgtype="m.image")
        assert (seen.content[key], seen.content[f"{key}.reason"]) == (True, "a spider")

        image = {"msgtype": "m.image", "body": "spider.png", "url": seen.content["url"]}
        await p.alice.send_event(
            room, "m.room.message", {**image, key: True, f"{key}.reason": "the same one"}
        )
        received, element = await with_tag(p, hint, 0)
        assert element.text == "the same one"
        warning, address = received.body.split("\n")
        assert warning == "(spoiler: the same one)"
        assert (await got(address))[0] == content
        assert found(received, OOB) is None
        assert found(received, SFS) is not None


async def test_what_a_contact_says_of_a_file_is_its_caption(stack: Stack) -> None:
    async with pair(stack) as p:
        await p.first_chat()
        mark, content = p.alice.mark(), picture()
        url = await p.juliet.upload("x.bin", content, "application/octet-stream")
        body = f"But *soft*\n{url}"
        metadata = (
            "<media-type>image/png</media-type><name>light.png</name>"
            f"<size>{len(content)}</size><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>"
            f"{base64.b64encode(hashlib.sha256(content).digest()).decode()}</hash>"
        )
        fallback = (
            "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:sfs:0'>"
            f"<body start='10' end='{len(body)}'/></fallback>"
        )
        p.juliet.send_xml(stanza(p, "first", body, sharing(url, metadata) + fallback))
        seen = await shown(p, mark, msgtype="m.image")
        assert (seen.content["body"], seen.content["filename"]) == ("But *soft*", "light.png")
        assert "<strong>soft</strong>" in seen.content["formatted_body"]
        event = seen.event["event_id"]

        replace = "<replace xmlns='urn:xmpp:message-correct:0' id='first'/>"
        p.juliet.send_xml(stanza(p, "second", "But soft, what light", replace))
        edit = await p.alice.wait_for(lambda s: "m.new_content" in s.content, after=mark)
        assert edit.content["m.relates_to"] == {"rel_type": "m.replace", "event_id": event}
        new = edit.content["m.new_content"]
        assert (new["body"], new["url"]) == ("But soft, what light", seen.content["url"])
        assert (new["msgtype"], new["filename"]) == ("m.image", "light.png")

        reply = f"<reply xmlns='urn:xmpp:reply:0' to='{p.juliet.bare_jid}' id='first'/>"
        p.juliet.send_xml(stanza(p, "third", "that one", reply))
        answer = await p.alice.wait_for_text("that one", after=mark)
        assert answer.content["m.relates_to"] == {"m.in_reply_to": {"event_id": event}}

        retract = "<retract xmlns='urn:xmpp:message-retract:1' id='first'/>"
        p.juliet.send_xml(stanza(p, "fourth", "gone", retract))
        await p.alice.wait_for(
            lambda s: (
                s.type == "m.room.redaction"
                and event in (s.content.get("redacts"), s.event.get("redacts"))
            ),
            after=mark,
        )


async def test_a_large_file_crosses_both_ways_byte_by_byte(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark = p.alice.mark()
        content = random.Random(1).randbytes(30_000_000)
        url = await p.juliet.upload("large.bin", content, "application/octet-stream")
        p.juliet.send_xml(stanza(p, "large", url, oob(url)))
        seen = await p.alice.wait_for(
            lambda s: s.content.get("msgtype") == "m.file", timeout=60, after=mark
        )
        assert seen.content["info"]["size"] == len(content)
        there = await fetched(p, seen.content["url"])
        assert hashlib.sha256(there).digest() == hashlib.sha256(content).digest()
        await p.alice.send_event(
            room,
            "m.room.message",
            {"msgtype": "m.file", "body": "large.bin", "url": seen.content["url"]},
        )
        received = await p.juliet.wait_for(lambda r: r.body.endswith("large.bin"), timeout=60)
        back, _ = await got(received.body)
        assert hashlib.sha256(back).digest() == hashlib.sha256(content).digest()


async def test_an_encrypted_file_of_a_contact_is_decrypted_and_a_changed_one_refused(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        await p.first_chat()
        content = picture(300, 200)
        key, iv = os.urandom(32), os.urandom(12)
        sealed = AESGCM(key).encrypt(iv, content, None)
        url = await p.juliet.upload("secret.png", sealed, "application/octet-stream")
        for changed in (False, True):
            mark = p.alice.mark()
            if changed:
                sealed = bytes([sealed[0] ^ 1]) + sealed[1:]
                url = await p.juliet.upload("secret.png", sealed, "application/octet-stream")
            encoded = {
                name: base64.b64encode(it).decode() for name, it in (("key", key), ("iv", iv))
            }
            source = (
                "<encrypted xmlns='urn:xmpp:esfs:0' "
                "cipher='urn:xmpp:ciphers:aes-256-gcm-nopadding:0'>"
                f"<key>{encoded['key']}</key><iv>{encoded['iv']}</iv>"
                "<sources xmlns='urn:xmpp:sfs:0'><url-data "
                f"xmlns='http://jabber.org/protocol/url-data' target='{url}'/></sources></encrypted>"
            )
            shared = (
                "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'>"
                f"<media-type>image/png</media-type></file><sources>{source}</sources></file-sharing>"
            )
            p.juliet.send_xml(stanza(p, f"sealed{changed}", "", shared))
            if changed:
                told = await p.alice.wait_for(lambda s: "damaged" in (s.body or ""), after=mark)
                assert told.content["msgtype"] == "m.text"
            else:
                seen = await shown(p, mark, msgtype="m.image")
                assert await fetched(p, seen.content["url"]) == content


async def test_what_cannot_be_had_is_a_link_with_the_reason(stack: Stack) -> None:
    async with pair(stack) as p:
        await p.first_chat()
        here = f"http://127.0.0.1:{stack.prosody.files_port}"
        page = b"<!doctype html><script>alert(1)</script>"
        lie = await p.juliet.upload("cat.png", page, "image/png")
        large = await p.juliet.upload("big.bin", b"\0" * 60_000_001, "application/octet-stream")
        for url, why in (
            (f"{here}/nowhere/x.png", "does not have it any more"),
            ("http://192.168.7.7/x.png", "https"),
            ("https://192.168.7.7/x.png", "private network"),
            ("https://localhost/x.png", "private network"),
            ("https://[::ffff:10.0.0.1]/x.png", "private network"),
            (lie, "something else"),
            (large, "at most 52.4 MB"),
        ):
            mark = p.alice.mark()
            p.juliet.send_xml(stanza(p, f"id-{url}", url, oob(url)))
            seen = await p.alice.wait_for(partial(names, url), after=mark)
            assert why in (seen.body or ""), url
            assert seen.content["msgtype"] == "m.text"
        mark = p.alice.mark()
        p.juliet.send(p.romeo, f"see {lie}")
        assert await p.alice.wait_for_text(f"see {lie}", after=mark)


async def test_a_page_and_a_picture_from_another_device(stack: Stack) -> None:
    async with pair(stack) as p, p.elsewhere() as phone:
        room = await p.first_chat()
        mark, theirs, content = p.alice.mark(), p.juliet.mark(), picture()
        url = await phone.upload("mine.png", content, "image/png")
        to = p.juliet.bare_jid
        phone.send_xml(
            f"<message xmlns='jabber:client' to='{to}' type='chat' id='mine'>"
            f"<body>{url}</body>{oob(url)}</message>"
        )
        seen = await p.alice.wait_for(lambda s: s.content.get("msgtype") == "m.image", after=mark)
        assert (seen.sender, seen.room_id) == (p.alice.user_id, room)
        await p.alice.send_text(room, "the end")
        await p.juliet.wait_for_text("the end", after=theirs)
        assert [r.body for r in p.juliet.received[theirs:]] == [url, "the end"]


async def test_places_and_stickers_go_both_ways(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark, theirs = p.alice.mark(), p.juliet.mark()
        p.juliet.send(p.romeo, "geo:45.4384,10.9916;u=12")
        place = await shown(p, mark, msgtype="m.location")
        assert place.content["geo_uri"] == "geo:45.4384,10.9916;u=12"
        content = picture()
        url = await p.juliet.upload("s.png", content, "image/png")
        sticker = "<sticker xmlns='urn:xmpp:stickers:0' pack='x'/>"
        metadata = "<media-type>image/png</media-type><desc>love</desc>"
        p.juliet.send_xml(stanza(p, "sticker", url, sharing(url, metadata, sticker)))
        seen = await p.alice.wait_for(lambda s: s.type == "m.sticker", after=mark)
        assert seen.sender == p.ghost
        assert await fetched(p, seen.content["url"]) == content

        await p.alice.send_event(
            room,
            "m.room.message",
            {"msgtype": "m.location", "body": "Somewhere", "geo_uri": "geo:45.44,10.99"},
        )
        await p.juliet.wait_for_text("geo:45.44,10.99", after=theirs)
        await p.alice.send_event(
            room,
            "m.sticker",
            {"body": "love", "url": seen.content["url"], "info": {"mimetype": "image/png"}},
        )
        received, _ = await with_tag(p, SFS, theirs)
        assert (await got(received.body))[0] == content


async def test_a_picture_of_a_user_is_uploaded_edited_and_taken_back(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        content = picture()
        mxc = await p.alice.upload(content, "image/png", "moon.png")
        info = {"mimetype": "image/png", "size": len(content), "w": 32, "h": 16}
        image: dict[str, Any] = {"msgtype": "m.image", "body": "moon.png", "url": mxc, "info": info}
        small = picture(8, 4)
        of = {"mimetype": "image/png", "size": len(small), "w": 8, "h": 4}
        info |= {
            "thumbnail_url": await p.alice.upload(small, "image/png", ""),
            "thumbnail_info": of,
            "xyz.amorgan.blurhash": "LKO2",
        }
        await p.alice.send_event(room, "m.room.message", image)
        received, element = await with_tag(p, SFS, 0)
        url = received.body
        oob_url = found(received, OOB)
        assert oob_url is not None
        assert oob_url.text == url
        metadata = element.find(METADATA)
        assert metadata is not None
        thumbnail, hashed = metadata.findall(THUMBNAIL)
        assert await got(thumbnail.get("uri", "")) == (small, "image/png")
        assert (thumbnail.get("width"), thumbnail.get("height")) == ("8", "4")
        assert hashed.get("uri") == "data:image/blurhash,LKO2"
        said = said_of(metadata)
        assert {**said, "hash": ""} == {
            "thumbnail": None,
            "media-type": "image/png",
            "name": "moon.png",
            "size": str(len(content)),
            "width": "32",
            "height": "16",
            "hash": "",
        }
        assert said["hash"] == base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert await got(url) == (content, "image/png")

        mark = p.juliet.mark()
        captioned = {**image, "filename": "moon.png", "body": "Swear not"}
        event = await p.alice.send_event(room, "m.room.message", captioned)
        received, _ = await with_tag(p, SFS, mark)
        caption, _, url = received.body.partition("\n")
        assert caption == "Swear not"
        assert (await got(url))[0] == content
        mark = p.juliet.mark()
        await p.alice.send_event(
            room,
            "m.room.message",
            {
                **captioned,
                "body": "* Swear not by the moon",
                "m.new_content": {**captioned, "body": "Swear not by the moon"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": event},
            },
        )
        edited, replace = await with_tag(p, CORRECT, mark)
        assert replace.get("id") == received.id
        assert edited.body.startswith("Swear not by the moon\nhttp://")
        assert found(edited, SFS) is not None
        await p.alice.redact(room, event)
        _, retract = await with_tag(p, RETRACT, mark)
        assert retract.get("id") == received.id


async def test_an_answer_to_a_picture_of_a_contact_and_one_with_a_picture(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark, content = p.alice.mark(), picture()
        url = await p.juliet.upload("balcony.png", content, "image/png")
        p.juliet.send_xml(stanza(p, "pic", url, oob(url)))
        seen = await shown(p, mark, msgtype="m.image")
        answers = {"m.in_reply_to": {"event_id": seen.event["event_id"]}}
        await p.alice.send_text(room, "nice", **{"m.relates_to": answers})
        received, reply = await with_tag(p, REPLY, 0)
        assert reply.get("id") == "pic"
        assert received.body.endswith("\nnice")
        mark = p.juliet.mark()
        image = {
            "msgtype": "m.image",
            "body": "b.png",
            "url": seen.content["url"],
            "m.relates_to": answers,
        }
        await p.alice.send_event(room, "m.room.message", image)
        received, reply = await with_tag(p, REPLY, mark)
        assert reply.get("id") == "pic"
        assert (await got(received.body))[0] == content


def locked(content: bytes) -> tuple[bytes, dict[str, Any]]:
    """A file as clients encrypt it, and the ``file`` of its event without the address."""
    key, iv = os.urandom(32), os.urandom(8) + bytes(8)
    cipher = Cipher(AES(key), modes.CTR(iv)).encryptor()
    sealed = cipher.update(content) + cipher.finalize()
    jwk = {
        "kty": "oct",
        "key_ops": ["encrypt", "decrypt"],
        "alg": "A256CTR",
        "k": base64.urlsafe_b64encode(key).decode().rstrip("="),
        "ext": True,
    }
    digest = base64.b64encode(hashlib.sha256(sealed).digest()).decode().rstrip("=")
    return sealed, {
        "v": "v2",
        "key": jwk,
        "iv": base64.b64encode(iv).decode().rstrip("="),
        "hashes": {"sha256": digest},
    }


async def test_an_encrypted_file_of_a_user_is_decrypted_and_a_changed_one_is_not_sent(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        content = os.urandom(200_000)
        sealed, file = locked(content)
        mxc = await p.alice.upload(sealed, "application/octet-stream", "")
        voice = {"msgtype": "m.audio", "body": "Voice message", "org.matrix.msc3245.voice": {}}
        voice["info"] = {"mimetype": "audio/ogg", "duration": 4200}
        await p.alice.send_event(room, "m.room.message", {**voice, "file": {**file, "url": mxc}})
        received, element = await with_tag(p, SFS, 0)
        assert await got(received.body) == (content, "audio/ogg")
        metadata = element.find(METADATA)
        assert metadata is not None
        assert said_of(metadata)["length"] == "4200"
        mark = p.alice.mark()
        other = await p.alice.upload(
            sealed[:-1] + bytes([sealed[-1] ^ 1]), "application/octet-stream", ""
        )
        event = await p.alice.send_event(
            room, "m.room.message", {**voice, "file": {**file, "url": other}}
        )
        told = await p.alice.wait_for(
            lambda s: s.room_id == room and "damaged" in (s.body or ""), after=mark
        )
        assert told.content["m.relates_to"]["m.in_reply_to"]["event_id"] == event


@pytest.mark.parametrize("content", [{"url": "mxc://nobody.example/x"}, {"url": "https://x/"}, {}])
async def test_a_file_that_is_not_there_is_told(stack: Stack, content: dict[str, object]) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark = p.alice.mark()
        event = await p.alice.send_event(
            room, "m.room.message", {"msgtype": "m.image", "body": "x.png", **content}
        )
        told = await p.alice.wait_for(
            lambda s: s.room_id == room and "⚠" in (s.body or ""), timeout=60, after=mark
        )
        assert told.content["m.relates_to"]["m.in_reply_to"]["event_id"] == event, json.dumps(
            content
        )
