"""What a file is, whatever is said of it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.bridge.sniffing import _RUNS, look
from dm_bridge.errors import NetworkError
from dm_bridge.network.media import File, MediaKind

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x20\0\0\0\x10\x08\x02\0\0\0"
GIF = b"GIF89a\x20\0\x10\0" + bytes(20)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(20)
MP4 = b"\0\0\0\x20ftypisom\0\0\0\0" + bytes(30)
M4A = b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(30)
WEBM = b"\x1aE\xdf\xa3\x42\x82\x84webm" + bytes(60)
OGG = b"OggS" + bytes(60)
MP3 = b"ID3\3" + bytes(60)
SVG = b"<?xml version='1.0'?><svg onload='alert(1)'/>"
HTML = b"\xef\xbb\xbf \n<!DOCTYPE html><script>"
PDF = b"%PDF-1.7 " + bytes(60)
EXE = b"MZ" + bytes(60)
FILE, IMAGE, VIDEO, AUDIO, VOICE = (
    MediaKind.FILE, MediaKind.IMAGE, MediaKind.VIDEO, MediaKind.AUDIO, MediaKind.VOICE
)  # fmt: skip


@pytest.mark.parametrize(
    ("head", "kind", "mimetype", "served_as", "expected"),
    [
        (PNG, FILE, "", "", (IMAGE, "image/png")),
        (PNG, FILE, "", "text/html", (IMAGE, "image/png")),
        (PNG, VIDEO, "video/mp4", "", (IMAGE, "image/png")),
        (PNG, MediaKind.STICKER, "image/webp", "", (MediaKind.STICKER, "image/png")),
        (MP4, FILE, "", "", (VIDEO, "video/mp4")),
        (MP4, FILE, "", "audio/x-m4a", (AUDIO, "audio/mp4")),
        (MP4, VOICE, "", "", (VOICE, "audio/mp4")),
        (M4A, FILE, "", "", (AUDIO, "audio/mp4")),
        (WEBM, FILE, "", "application/octet-stream", (VIDEO, "video/webm")),
        (WEBM, AUDIO, "audio/webm", "", (AUDIO, "audio/webm")),
        (OGG, FILE, "", "", (AUDIO, "audio/ogg")),
        (OGG, VIDEO, "video/ogg", "", (VIDEO, "video/ogg")),
        (OGG, VOICE, "audio/ogg", "", (VOICE, "audio/ogg")),
        (MP3, VOICE, "", "", (VOICE, "audio/mpeg")),
        (MP3, IMAGE, "image/png", "", (AUDIO, "audio/mpeg")),
        (PDF, FILE, "", "", (FILE, "application/pdf")),
        (PDF, FILE, "text/plain", "", (FILE, "application/pdf")),
        (SVG, FILE, "", "image/svg+xml", (FILE, "application/octet-stream")),
        (SVG, IMAGE, "image/svg+xml", "", (FILE, "application/octet-stream")),
        (HTML, FILE, "text/html", "", (FILE, "application/octet-stream")),
        (HTML, FILE, "text/plain", "", (FILE, "text/plain")),
        (b"hi", FILE, "text/plain; charset=utf-8", "", (FILE, "text/plain")),
        (b"hi", FILE, "", "text/css", (FILE, "application/octet-stream")),
        (b"hi", IMAGE, "image/jxl", "", (FILE, "image/jxl")),
        (b"hi", FILE, "a b/c", "x", (FILE, "application/octet-stream")),
        (b"", FILE, "", "", (FILE, "application/octet-stream")),
    ],
)
def test_the_first_bytes_decide(
    head: bytes, kind: MediaKind, mimetype: str, served_as: str, expected: tuple[MediaKind, str]
) -> None:
    found = look(head, File(kind=kind, mimetype=mimetype), served_as)
    assert (found.kind, found.mimetype) == expected


@pytest.mark.parametrize("head", [HTML, EXE, PDF])
@pytest.mark.parametrize("kind", [IMAGE, VIDEO, AUDIO, VOICE, MediaKind.STICKER])
def test_a_lie_is_one(head: bytes, kind: MediaKind) -> None:
    with pytest.raises(NetworkError, match="something else"):
        look(head, File(kind=kind), "")


def test_images_are_measured() -> None:
    for head in (PNG, GIF):
        found = look(head, File(kind=FILE, width=9999, height=1), "")
        assert (found.width, found.height) == (32, 16)
    found = look(JPEG, File(kind=FILE, width=5, height=6), "")  # its size is not in its head
    assert (found.width, found.height) == (5, 6)


heads = st.binary(max_size=200) | st.builds(
    bytes.__add__, st.sampled_from([PNG, GIF, JPEG, MP4, WEBM, OGG, SVG, HTML]), st.binary()
)
types = st.text(max_size=20) | st.sampled_from(
    ["text/html", "image/svg+xml", "application/xhtml+xml", "TEXT/HTML;x", "application/javascript"]
)


@given(heads, st.sampled_from(MediaKind), types, types)
def test_nothing_is_passed_on_as_what_a_browser_runs(
    head: bytes, kind: MediaKind, mimetype: str, served_as: str
) -> None:
    with contextlib.suppress(NetworkError):
        found = look(head, File(kind=kind, mimetype=mimetype), served_as)
        assert not _RUNS.search(found.mimetype)
        assert found.mimetype.isascii()
