"""What a file really is, by its first bytes. Pure.

The rule that must never break: nothing that a browser could run is passed on under a type under which it would,
whatever its sender or its server says it is.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace

import filetype  # type: ignore[import-untyped]
import imagesize  # type: ignore[import-untyped]

from dm_bridge.errors import NetworkError
from dm_bridge.network.media import File, MediaKind, kind_of, plain_type
from dm_bridge.texts import phrase

HEAD = 64 * 1024
"""Bytes that are looked at."""
UNKNOWN = "application/octet-stream"

_SHOWN = {
    "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/heic", "image/bmp",
    "image/apng", "image/jpx",
    "video/mp4", "video/webm", "video/quicktime", "video/x-matroska", "video/3gpp", "video/mpeg",
    "video/x-m4v",
    "audio/mpeg", "audio/mp4", "audio/ogg", "audio/flac", "audio/wav", "audio/aac", "audio/amr",
    "audio/x-aiff", "audio/midi",
}  # fmt: skip
_EITHER = {
    "video/mp4", "video/webm", "video/x-matroska", "video/3gpp", "video/quicktime", "video/x-m4v",
    "audio/ogg",
}  # fmt: skip
"""Containers that hold films as well as mere sound."""
_USUAL = {"audio/x-wav": "audio/wav", "audio/x-flac": "audio/flac"}
_MEASURED = {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/avif"}
_FACES = {"image/png", "image/jpeg", "image/gif", "image/webp"}
_RUNS = re.compile(
    r"^text/(?!plain$|csv$|calendar$|vcard$|x-vcard$|markdown$)|html|svg|script|[/+]xml$|xsl"
)
_MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml|<!--|<!doctype|<html|<head|<body|<script|<svg|<title)",
    re.IGNORECASE,
)
_PLAYED = (MediaKind.AUDIO, MediaKind.VOICE, MediaKind.VIDEO)


class NoFile(NetworkError):
    """What an address leads to is a page of the web: it was meant as a link."""


def look(head: bytes, said: File, served_as: str) -> File:
    """``said``, put right: its kind, its type, and the size of an image.

    ``served_as``: what its server says it is, which counts where the sender says nothing. Raises `NoFile`, or
    `NetworkError` for a lie.
    """
    served = plain_type(served_as)
    claimed = plain_type(said.mimetype) or ("" if served == UNKNOWN else served)
    kind = said.kind if said.kind is not MediaKind.FILE else kind_of(claimed)
    if _MARKUP.match(head):
        if said.kind is MediaKind.FILE and not said.mimetype and claimed == "text/html":
            raise NoFile(phrase("file-is-a-page"))
        if kind is not MediaKind.FILE and "svg" not in claimed:
            raise NetworkError(phrase("file-is-something-else", kind=_SAID_TO_BE[kind]))
        return replace(said, kind=MediaKind.FILE, mimetype=_harmless(claimed))
    found = filetype.guess_mime(head) or ""
    found = _USUAL.get(found, found)
    if found not in _SHOWN:
        if (
            found
            and kind is not MediaKind.FILE
            and not found.startswith(("image/", "audio/", "video/"))
        ):
            raise NetworkError(phrase("file-is-something-else", kind=_SAID_TO_BE[kind]))
        return replace(said, kind=MediaKind.FILE, mimetype=_harmless(found or claimed))
    really = kind_of(found)
    if really in _PLAYED and kind in _PLAYED and (found in _EITHER or really is MediaKind.AUDIO):
        really = kind
    if kind is MediaKind.STICKER and really is MediaKind.IMAGE:
        really = kind
    mimetype = _container(found, really)
    width, height = said.width, said.height
    if found in _MEASURED:
        width, height = _measured(head) or (width, height)
    return replace(said, kind=really, mimetype=mimetype, width=width, height=height)


def picture_type(data: bytes) -> str | None:
    """The type of a picture that every client shows for somebody's face; None for anything else, such as SVG."""
    found = filetype.guess_mime(data[:HEAD])
    return "image/png" if found == "image/apng" else found if found in _FACES else None


_SAID_TO_BE = {
    MediaKind.IMAGE: "picture",
    MediaKind.STICKER: "picture",
    MediaKind.VIDEO: "film",
    MediaKind.AUDIO: "audio",
    MediaKind.VOICE: "audio",
}


def _harmless(mimetype: str) -> str:
    return UNKNOWN if not mimetype or _RUNS.search(mimetype) else mimetype


def _container(mimetype: str, kind: MediaKind) -> str:
    """The type of a container that holds mere sound, or a film after all."""
    main, _, rest = mimetype.partition("/")
    if main == "video" and kind in (MediaKind.AUDIO, MediaKind.VOICE):
        return "audio/mp4" if rest in ("quicktime", "x-m4v") else f"audio/{rest}"
    if main == "audio" and kind is MediaKind.VIDEO:
        return f"video/{rest}"
    return mimetype


def _measured(head: bytes) -> tuple[int, int] | None:
    try:
        width, height = imagesize.get(io.BytesIO(head))
    except Exception:  # whatever a parser makes of what strangers send
        return None
    return (width, height) if 0 < width < 100_000 and 0 < height < 100_000 else None
