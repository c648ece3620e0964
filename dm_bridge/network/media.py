"""Files and places that are sent with, or in place of, a text.

What a session delivers names a file by its address, and the bridge fetches it: as an unknown stranger, from public
addresses only, and no more of it than the admin and the homeserver allow. What it gives to a session for
sending can be opened as often as needed, and is read in pieces.

The rule that must never break: what a sender says of a file (its type, its size, its name) is their word, and
nothing more.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

MAX_THUMBNAIL = 32 * 1024
"""Characters of a thumbnail, which is kept with its message."""


class MediaKind(enum.StrEnum):
    """As what a file is to be shown. ``VOICE``: audio spoken for this chat. ``FILE``: none of the others."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    VOICE = "voice"
    FILE = "file"
    STICKER = "sticker"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What is said of a file. All but ``kind`` may be unknown.

    ``name``: without a path. ``mimetype``: such as ``image/png``. ``size``: in bytes. ``width``, ``height``: in
    pixels. ``duration``: in seconds. ``thumbnail``: a ``data:`` URL (RFC 2397) of at most `MAX_THUMBNAIL`
    characters, with a small image, or a BlurHash as ``data:image/blurhash,…``; for a file that came, it may also
    be the https address of one. ``spoiler``: why it is not to be seen at once, "" without a reason; None: it is.
    """

    kind: MediaKind
    name: str = ""
    mimetype: str = ""
    size: int | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    thumbnail: str | None = None
    spoiler: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Media(File):
    """A file that came. ``url``: an https address; no password is in it, and none is sent.

    ``key``, ``iv``: in hexadecimal, where what is there is encrypted with AES-256-GCM, its tag at the end
    (XEP-0454); both or none. ``sha256``: of what is there, in hexadecimal. What does not fit them is not shown.
    """

    url: str
    key: str | None = None
    iv: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that can be read. ``size``: how many bytes ``chunks`` will yield in all; not more and not fewer."""

    size: int
    chunks: AsyncIterator[bytes]


class MediaSource(Protocol):
    """Where the bytes of a file are to be had."""

    def open(self) -> AbstractAsyncContextManager[Opened]:
        """Begin to read from the start; may be called again, also after an attempt that failed.

        A chunk has some 64 KiB; the next one is fetched when it is asked for. Entering and reading raise
        `NetworkError`, with a sentence for the user, as `Session.send` does: let it pass. The last
        chunk comes only when the whole file has proved to be right.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMedia(File):
    """A file to send. ``preview``: a small image that stands for it, if the user's client made one."""

    source: MediaSource
    preview: OutgoingMedia | None = None


_GEO = re.compile(
    r"geo:(?P<latitude>-?\d{1,3}(?:\.\d{1,20})?),(?P<longitude>-?\d{1,3}(?:\.\d{1,20})?)"
    r"(?:,-?\d{1,6}(?:\.\d{1,20})?)?(?P<parameters>(?:;[A-Za-z0-9-]+(?:=[^;?\s]*)?)*)(?:\?\S*)?",
    re.IGNORECASE | re.ASCII,
)
_UNCERTAINTY = re.compile(r";u=(\d{1,8}(?:\.\d{1,20})?)(?=;|$)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """A place on earth (WGS 84). In degrees; ``accuracy``: in metres, None when not known."""

    latitude: float
    longitude: float
    accuracy: float | None = None

    @property
    def uri(self) -> str:
        """As a ``geo:`` URI (RFC 5870)."""
        uncertainty = "" if self.accuracy is None else f";u={_number(self.accuracy)}"
        return f"geo:{_number(self.latitude)},{_number(self.longitude)}{uncertainty}"

    @classmethod
    def from_uri(cls, text: str) -> Place | None:
        """The place that a ``geo:`` URI names; None when ``text`` is anything else. An altitude is left out."""
        match = _GEO.fullmatch(text)
        if match is None:
            return None
        uncertainty = _UNCERTAINTY.search(match["parameters"])
        accuracy = None if uncertainty is None else float(uncertainty[1])
        return cls.at(float(match["latitude"]), float(match["longitude"]), accuracy)

    @classmethod
    def at(cls, latitude: float, longitude: float, accuracy: float | None = None) -> Place | None:
        """The place, or None where the numbers name none."""
        if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # and they are numbers at all
            return None
        known = accuracy is not None and math.isfinite(accuracy) and accuracy >= 0
        return cls(latitude, longitude, accuracy if known else None)


def _number(value: float) -> str:
    text = f"{value:.7f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,99}", re.ASCII)


def plain_type(text: str) -> str:
    """A media type in small letters and without parameters; "" when ``text`` is none (RFC 6838)."""
    bare = text.partition(";")[0].strip().lower()
    return bare if _TYPE.fullmatch(bare) else ""


def kind_of(mimetype: str) -> MediaKind:
    """As what a file of this type is shown."""
    main = mimetype.partition("/")[0].strip().lower()
    return {
        "image": MediaKind.IMAGE,
        "video": MediaKind.VIDEO,
        "audio": MediaKind.AUDIO,
    }.get(main, MediaKind.FILE)
