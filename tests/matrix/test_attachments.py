"""Files and places in Matrix events: what is read, and what is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.matrix.attachments import (
    Attached,
    Lock,
    attached,
    caption,
    recaptioned,
    to_media,
    to_place,
)
from dm_bridge.matrix.media import Mxc
from dm_bridge.network.events import Text
from dm_bridge.network.media import File, MediaKind, Place

MXC = Mxc("example.org", "abc")
KEY = {
    "url": str(MXC),
    "v": "v2",
    "key": {"alg": "A256CTR", "k": "A" * 43},
    "iv": "A" * 22,
    "hashes": {"sha256": "A" * 43},
}
json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
keys = st.sampled_from(
    [
        "msgtype",
        "body",
        "filename",
        "url",
        "file",
        "info",
        "geo_uri",
        "org.matrix.msc3488.location",
        "m.location",
    ]
)
contents = st.dictionaries(keys, json | st.sampled_from(["m.image", "m.location", str(MXC)]))


@given(contents, st.booleans())
def test_any_content_is_read(content: dict[str, Any], sticker: bool) -> None:
    attached(content, sticker=sticker)
    caption(content)


@pytest.mark.parametrize(
    ("kind", "msgtype"),
    [
        (MediaKind.IMAGE, "m.image"),
        (MediaKind.VIDEO, "m.video"),
        (MediaKind.AUDIO, "m.audio"),
        (MediaKind.VOICE, "m.audio"),
        (MediaKind.FILE, "m.file"),
    ],
)
def test_what_is_written_is_read_as_the_same(kind: MediaKind, msgtype: str) -> None:
    file = File(
        kind=kind,
        name="a.bin",
        mimetype="x/y",
        size=5,
        width=3,
        height=4,
        duration=1.25,
        thumbnail="data:image/blurhash,LKO2%3FU",
    )
    for said in (Text(""), Text("Look", "<em>Look</em>")):
        content = to_media(file, MXC, said)
        assert content["msgtype"] == msgtype
        assert content["info"]["xyz.amorgan.blurhash"] == "LKO2?U"
        assert attached(content) == Attached(file, MXC)
        assert caption(content) == said


@pytest.mark.parametrize("reason", [None, "", "a spider"])
def test_what_is_not_to_be_seen_at_once_is_read_as_the_same(reason: str | None) -> None:
    file = File(kind=MediaKind.IMAGE, name="a.png", mimetype="image/png", size=5, spoiler=reason)
    content = to_media(file, MXC, Text(""))
    marks = {key: value for key, value in content.items() if "msc4193" in key}
    hidden: dict[str, object] = (
        {} if reason is None else {"page.codeberg.everypizza.msc4193.spoiler": True}
    )
    if reason:
        hidden["page.codeberg.everypizza.msc4193.spoiler.reason"] = reason
    assert marks == hidden
    assert attached(content) == Attached(file, MXC)
    assert recaptioned(content, Text("Look")).items() >= hidden.items()


def test_odd_words_about_what_is_not_to_be_seen_are_passed_over() -> None:
    content = to_media(File(kind=MediaKind.IMAGE, name="a.png"), MXC, Text(""))
    key = "page.codeberg.everypizza.msc4193.spoiler"
    for odd, expected in (("yes", None), (False, None), (True, "")):
        found = attached({**content, key: odd, f"{key}.reason": ["x"]})
        assert isinstance(found, Attached)
        assert found.file.spoiler == expected


def test_a_thumbnail_is_read_with_how_it_is_encrypted() -> None:
    of = {"mimetype": "image/jpeg", "size": 9, "w": 8, "h": 6}
    content = to_media(File(kind=MediaKind.VIDEO, name="a", mimetype="video/webm"), MXC, Text(""))
    content["info"] |= {"thumbnail_url": "mxc://example.org/small", "thumbnail_info": of}
    found = attached(content)
    assert isinstance(found, Attached)
    file = File(
        kind=MediaKind.IMAGE,
        name="thumbnail.jpg",
        mimetype="image/jpeg",
        size=9,
        width=8,
        height=6,
    )
    small = Mxc("example.org", "small")
    assert found.preview == Attached(file, small)
    content["info"]["thumbnail_file"] = {**KEY, "url": str(small)}
    found = attached(content)
    assert isinstance(found, Attached)
    assert found.preview is not None
    assert found.preview.lock is not None
    for info in (
        {"thumbnail_url": str(MXC), "thumbnail_info": of},
        {"thumbnail_url": str(small), "thumbnail_info": {"mimetype": "text/html"}},
        {"thumbnail_url": str(small), "thumbnail_info": 5},
        {"thumbnail_url": 5, "thumbnail_info": of},
        {"thumbnail_file": {"url": str(small)}, "thumbnail_info": of},
    ):
        found = attached({**content, "info": info})
        assert isinstance(found, Attached)
        assert found.preview is None


def test_a_sticker_is_read_as_the_same() -> None:
    file = File(kind=MediaKind.STICKER, mimetype="image/webp", size=5)
    content = to_media(file, MXC, Text("love"))
    assert (content["body"], "msgtype" in content) == ("love", False)
    assert attached(content, sticker=True) == Attached(file, MXC)


def test_a_place_is_read_as_the_same() -> None:
    for said in (Text(""), Text("Verona")):
        content = to_place(Place(45.44, 10.99, 3.0), said)
        assert attached(content) == Place(45.44, 10.99, 3.0)
        assert caption(content) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"body": "Location"}, ""),
        ({"body": "Location", "m.location": {"uri": "geo:1,2"}}, ""),
        ({"body": "Location", "m.location": {"description": "Big Ben"}}, "Big Ben"),
        ({"body": "Location", "org.matrix.msc3488.location": {"description": 7}}, ""),
        ({"body": 7}, ""),
        ({}, ""),
    ],
)
def test_a_place_is_described_where_its_sender_did_so(content: dict[str, Any], said: str) -> None:
    place = {"msgtype": "m.location", "geo_uri": "geo:51.5,-0.12;u=3", **content}
    assert attached(place) == Place(51.5, -0.12, 3.0)
    assert caption(place) == Text(said)


def test_a_place_without_the_older_form_is_read() -> None:
    place = {"msgtype": "m.location", "body": "x", "m.location": {"uri": "geo:1,2"}}
    assert attached(place) == Place(1.0, 2.0)


def test_other_words_leave_the_file_as_it_is() -> None:
    file = File(kind=MediaKind.IMAGE, name="a.png", mimetype="image/png", size=5)
    before = to_media(file, MXC, Text("old", "<b>old</b>")) | {"org.dm_bridge.remote_id": "x"}
    after = recaptioned(before, Text("new"))
    assert after == to_media(file, MXC, Text("new"))
    assert recaptioned(before, Text("")) == to_media(file, MXC, Text(""))


@pytest.mark.parametrize(
    ("info", "mimetype"),
    [
        ({"mimetype": "Image/PNG; x=y"}, "image/png"),
        ({"mimetype": "image/png\r\nHost: evil"}, "image/jpeg"),
        ({"mimetype": 7}, "image/jpeg"),
        ({}, "image/jpeg"),
        ({"xyz.amorgan.blurhash": "\ud800"}, "image/jpeg"),
        ("x", "image/jpeg"),
    ],
)
def test_a_type_that_makes_no_sense_is_guessed_by_the_name(info: object, mimetype: str) -> None:
    name = "//[a\ud800.jpg"
    found = attached({"msgtype": "m.image", "body": name, "url": str(MXC), "info": info})
    assert isinstance(found, Attached)
    assert found.file.mimetype == mimetype


def test_how_a_file_is_encrypted_is_read() -> None:
    found = attached({"msgtype": "m.file", "body": "x", "file": KEY})
    assert isinstance(found, Attached)
    assert found.lock == Lock(bytes(32), bytes(16), bytes(32))


@pytest.mark.parametrize(
    "file",
    [
        {**KEY, "url": "https://example.org/abc"},
        {**KEY, "iv": "AAAA"},
        {**KEY, "key": {"alg": "A256CBC", "k": "A" * 43}},
        {**KEY, "key": {"alg": "A256CTR", "k": "!" * 43}},
        {**KEY, "hashes": {"md5": "x"}},
        {**KEY, "hashes": None},
        {},
    ],
)
def test_what_cannot_be_decrypted_is_no_file(file: dict[str, Any]) -> None:
    assert attached({"msgtype": "m.file", "body": "x", "url": str(MXC), "file": file}) is None


@pytest.mark.parametrize(
    "text", ["mxc://a/b/c", "mxc://a", "mxc:///b", "mxc://a/..", "mxc://a b/c", "https://a/b", None]
)
def test_what_is_no_address_of_a_repository(text: object) -> None:
    assert Mxc.parse(text) is None
