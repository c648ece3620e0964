"""Files and places in stanzas: golden ones of several clients, and odd ones."""

from __future__ import annotations

import base64
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.xmpp.files import THUMBNAIL, Shared, Uploaded, share, shared
from dm_bridge.connectors.xmpp.stanzas import message_payload
from dm_bridge.ids import RemoteId
from dm_bridge.network.events import Text
from dm_bridge.network.media import Media, MediaKind, OutgoingMedia, Place

NOWHERE: Any = None
"""Nothing is read here."""
URL = "https://files.example/a/b.png"
HASH = base64.b64encode(bytes(32)).decode()
OOB = f"<x xmlns='jabber:x:oob'><url>{URL}</url></x>"
METADATA = (
    "<media-type>image/png</media-type><name>b.png</name><size>6144</size><width>800</width>"
    f"<height>600</height><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>{HASH}</hash>"
)
SOURCE = f"<url-data xmlns='http://jabber.org/protocol/url-data' target='{URL}'/>"


def sfs(metadata: str = METADATA, source: str = SOURCE) -> str:
    return (
        "<file-sharing xmlns='urn:xmpp:sfs:0' disposition='inline'>"
        f"<file xmlns='urn:xmpp:file:metadata:0'>{metadata}</file>"
        f"<sources>{source}</sources></file-sharing>"
    )


def fallback(namespace: str = "urn:xmpp:sfs:0", span: str = "") -> str:
    return f"<fallback xmlns='urn:xmpp:fallback:0' for='{namespace}'><body {span}/></fallback>"


FULL = Media(
    kind=MediaKind.IMAGE,
    url=URL,
    name="b.png",
    mimetype="image/png",
    size=6144,
    width=800,
    height=600,
    sha256="00" * 32,
)
BARE = Media(kind=MediaKind.FILE, url=URL)
KEY, IV = "ab" * 32, "cd" * 12


def read(body: str, inner: str = "") -> Shared:
    stanza = fromstring(f"<message xmlns='jabber:client'>{inner}</message>")  # noqa: S314
    return shared(stanza, body)


@pytest.mark.parametrize(
    ("body", "inner", "expected"),
    [
        (URL, OOB, Shared(BARE, "")),
        ("", OOB, Shared(BARE, "")),
        (f" {URL}\n", OOB, Shared(BARE, "")),
        (f"see {URL}", OOB, Shared(None, f"see {URL}")),
        ("see", OOB, Shared(None, f"see\n{URL}")),
        (URL, "", Shared(None, URL)),
        ("", "<x xmlns='jabber:x:oob'><url>xmpp:a@b</url></x>", Shared(None, "")),
        (URL, sfs() + fallback() + OOB, Shared(FULL, "")),
        (URL, sfs(), Shared(FULL, "")),
        ("", sfs(), Shared(FULL, "")),
        (f"Look\n{URL}", sfs(), Shared(FULL, "Look")),
        (f"Look {URL}", sfs() + fallback(span=f"start='4' end='{5 + len(URL)}'"), Shared(FULL, "Look")),
        (f"> hi\n{URL}", sfs() + fallback("urn:xmpp:reply:0", "start='0' end='5'"), Shared(FULL, "")),
        (f"> hi\n{URL}", OOB + fallback("urn:xmpp:reply:0", "start='0' end='5'"), Shared(BARE, "")),
        ("Look", sfs() + "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:sfs:0'/>", Shared(FULL, "")),
        ("x", sfs(source=""), Shared(None, "x")),
        ("x", sfs(source=SOURCE.replace("https", "ftp")), Shared(None, "x")),
        (
            f"https://other.example/c\n{URL}",
            sfs() + sfs("<name>c</name>", SOURCE.replace(URL, "https://other.example/c")),
            Shared(FULL, "https://other.example/c"),
        ),
        ("geo:45.44,10.99", "", Shared(Place(45.44, 10.99), "")),
        ("at geo:45.44,10.99", "", Shared(None, "at geo:45.44,10.99")),
        (
            "Here",
            "<geoloc xmlns='http://jabber.org/protocol/geoloc'><lat>45.44</lat><lon>10.99</lon>"
            "<accuracy>20</accuracy></geoloc>",
            Shared(Place(45.44, 10.99, 20.0), "Here"),
        ),
        (
            "Here",
            "<geoloc xmlns='http://jabber.org/protocol/geoloc'><lat>nan</lat><lon>1</lon></geoloc>",
            Shared(None, "Here"),
        ),
    ],
)  # fmt: skip
def test_what_a_message_is_about(body: str, inner: str, expected: Shared) -> None:
    assert read(body, inner) == expected


def test_an_aesgcm_address_is_a_file_with_its_key() -> None:
    sealed = Media(kind=MediaKind.FILE, url=URL, key=KEY, iv=IV)
    address = f"aesgcm://files.example/a/b.png#{IV.upper()}{KEY}"
    assert read(address) == Shared(sealed, "")
    assert read(f"{address}\ndata:image/jpeg;base64,xyz") == Shared(sealed, "")
    for odd in (f"{address} and more", f"{address}00", address.replace("ab", "xy"), "aesgcm://x"):
        assert read(odd) == Shared(None, odd)


def test_an_encrypted_source_is_read() -> None:
    key, iv = (base64.b64encode(bytes.fromhex(each)).decode() for each in (KEY, IV))
    source = (
        "<encrypted xmlns='urn:xmpp:esfs:0' cipher='urn:xmpp:ciphers:aes-256-gcm-nopadding:0'>"
        f"<key>{key}</key><iv>{iv}</iv><sources xmlns='urn:xmpp:sfs:0'>{SOURCE}</sources></encrypted>"
    )
    found = read(URL, sfs(source=source)).attachment
    assert isinstance(found, Media)
    assert (found.url, found.key, found.iv, found.sha256) == (URL, KEY, IV, None)
    other = source.replace("gcm", "cbc")
    assert read(URL, sfs(source=other)) == Shared(None, URL)


def test_sims_of_older_clients_is_read() -> None:
    inner = (
        "<reference xmlns='urn:xmpp:reference:0' begin='0' end='9' type='data'>"
        "<media-sharing xmlns='urn:xmpp:sims:1'>"
        "<file xmlns='urn:xmpp:jingle:apps:file-transfer:5'><media-type>audio/ogg</media-type>"
        "<name>b.ogg</name><size>7</size><thumbnail xmlns='urn:xmpp:thumbs:1' uri='cid:x@bob.xmpp.org'/>"
        "</file><sources><reference xmlns='urn:xmpp:reference:0' type='data' "
        f"uri='{URL}'/></sources></media-sharing></reference>"
        "<data xmlns='urn:xmpp:bob' cid='x@bob.xmpp.org' type='image/png'>aGk=</data>"
    )
    expected = Media(
        kind=MediaKind.AUDIO,
        url=URL,
        name="b.ogg",
        mimetype="audio/ogg",
        size=7,
        thumbnail="data:image/png;base64,aGk=",
    )
    assert read(URL, inner) == Shared(expected, "")


def test_older_and_odd_metadata_is_read_as_far_as_it_makes_sense() -> None:
    metadata = (
        "<media-type>video/mp4</media-type><dimensions>1920x1080</dimensions><length>2500</length>"
        "<size>-1</size><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>short</hash>"
        f"<thumbnail xmlns='urn:xmpp:thumbs:1' uri='data:image/png;base64,{'x' * 40_000}'/>"
    )
    found = read(URL, sfs(metadata)).attachment
    assert isinstance(found, Media)
    assert (found.width, found.height, found.duration) == (1920, 1080, 2.5)
    assert (found.size, found.sha256, found.thumbnail) == (None, None, None)


def test_a_thumbnail_at_an_address_is_read_and_before_a_blurhash() -> None:
    hashed = "<thumbnail xmlns='urn:xmpp:thumbs:1' uri='data:image/blurhash,LKO2%3FU'/>"
    small = "<thumbnail xmlns='urn:xmpp:thumbs:1' uri='https://upload.example/small.png'/>"
    for thumbnails, expected in (
        (hashed + small, "https://upload.example/small.png"),
        (hashed, "data:image/blurhash,LKO2%3FU"),
        (small.replace("https", "http"), None),
        (small.replace("small", "x" * 5000), None),
    ):
        found = read(URL, sfs(f"<media-type>image/png</media-type>{thumbnails}")).attachment
        assert isinstance(found, Media)
        assert found.thumbnail == expected


def test_a_preview_and_a_blurhash_are_written() -> None:
    small = OutgoingMedia(
        kind=MediaKind.IMAGE, mimetype="image/jpeg", width=80, height=70_000, source=NOWHERE
    )
    file = OutgoingMedia(
        kind=MediaKind.VIDEO, thumbnail="data:image/blurhash,LK", source=NOWHERE, preview=small
    )
    there, smaller = Uploaded(URL, 5, bytes(32)), Uploaded(f"{URL}.jpg", 2, bytes(32))
    for preview, expected in (
        (smaller, [{"uri": f"{URL}.jpg", "media-type": "image/jpeg", "width": "80"}]),
        (None, []),
    ):
        payload = share(message_payload(Text(""), RemoteId("id")), file, there, preview)
        found = [element.attrib for each in payload for element in each.iter(THUMBNAIL)]
        hashed = {"uri": "data:image/blurhash,LK", "media-type": "image/blurhash"}
        assert found == [*expected, hashed]


@given(st.text(), st.sampled_from(["", OOB, sfs(), sfs() + fallback(span="start='1' end='3'")]))
def test_any_body_is_read_and_nothing_else_becomes_a_file(body: str, inner: str) -> None:
    found = read(body, inner)
    if not inner and not body.lower().strip().startswith(("geo:", "aesgcm:")):
        assert found == Shared(None, body)


@pytest.mark.parametrize("said", ["", "Look", "a\nb 🕷"])
@pytest.mark.parametrize("reason", ["", "a spider"])
def test_a_file_that_is_not_to_be_seen_at_once_comes_after_a_warning(
    said: str, reason: str
) -> None:
    file = OutgoingMedia(kind=MediaKind.IMAGE, name="a.png", spoiler=reason, source=NOWHERE)
    payload = share(
        message_payload(Text(said), RemoteId("id")), file, Uploaded(URL, 5, bytes(32)), None
    )
    stanza = Element("{jabber:client}message")
    stanza.extend(payload)
    body = stanza.findtext("{jabber:client}body") or ""
    warning = f"(spoiler: {reason})" if reason else "(spoiler)"
    assert body.split("\n") == [*said.split("\n"), warning, URL][0 if said else 1 :]
    assert stanza.find("{jabber:x:oob}x") is None  # it makes clients show the file
    assert (stanza.findtext("{urn:xmpp:spoiler:0}spoiler") or "") == reason
    found = shared(stanza, body)
    assert (found.said, getattr(found.attachment, "spoiler", None)) == (said, reason)


def test_what_is_said_of_a_file_may_hide_it_already() -> None:
    file = OutgoingMedia(kind=MediaKind.IMAGE, name="a.png", spoiler="x", source=NOWHERE)
    said = Text("a", '<span data-mx-spoiler="a spider">a</span>')
    payload = share(message_payload(said, RemoteId("id")), file, Uploaded(URL, 5, bytes(32)), None)
    spoilers = [each.text for each in payload if each.tag == "{urn:xmpp:spoiler:0}spoiler"]
    assert spoilers == ["a spider"]


@pytest.mark.parametrize("inner", [sfs(), OOB])
def test_what_a_contact_hides_is_not_to_be_seen_at_once(inner: str) -> None:
    for hint, reason in (
        ("<spoiler xmlns='urn:xmpp:spoiler:0'> a\nspider </spoiler>", "a spider"),
        ("<spoiler xmlns='urn:xmpp:spoiler:0'/>", ""),
        ("", None),
    ):
        found = read(URL, inner + hint)
        assert isinstance(found.attachment, Media)
        assert (found.said, found.attachment.spoiler) == ("", reason)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])).map(str.strip), st.text(max_size=20))
def test_what_is_written_is_read_as_the_same(said: str, name: str) -> None:
    file = OutgoingMedia(kind=MediaKind.IMAGE, name=name, mimetype="image/png", source=NOWHERE)
    there = Uploaded(URL, 5, bytes(32))
    payload = share(message_payload(Text(said), RemoteId("id")), file, there, None)
    stanza = Element("{jabber:client}message")
    stanza.extend(payload)
    body = stanza.findtext("{jabber:client}body") or ""
    found = shared(stanza, body)
    assert found.said == said or URL in said
    assert isinstance(found.attachment, Media)
    assert (found.attachment.url, found.attachment.sha256) == (URL, "00" * 32)
    assert (found.attachment.kind, found.attachment.size) == (MediaKind.IMAGE, 5)
