"""Files and places between Matrix events and the network-neutral form. Pure.

``m.image``, ``m.video``, ``m.audio``, ``m.file``, ``m.location`` and ``m.sticker`` of the client-server API;
captions are as in its section "Media captions" (``filename`` beside ``body``), voice messages as in MSC3245,
places as in MSC3488, beside the older form that all clients know; what is not to be seen at once as in MSC4193.

The rule that must never break: nothing that a sender says of a file is taken for more than their word.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from dm_bridge.matrix.formatting import from_content, to_content
from dm_bridge.matrix.homeserver import Json
from dm_bridge.matrix.media import Mxc
from dm_bridge.network.events import Text
from dm_bridge.network.media import File, MediaKind, Place, plain_type

STICKER = "m.sticker"
LOCATION = "m.location"
_KINDS = {
    "m.image": MediaKind.IMAGE,
    "m.video": MediaKind.VIDEO,
    "m.audio": MediaKind.AUDIO,
    "m.file": MediaKind.FILE,
}
_TYPES = {kind: msgtype for msgtype, kind in _KINDS.items()} | {MediaKind.VOICE: "m.audio"}
_VOICE = "org.matrix.msc3245.voice"
_AUDIO = "org.matrix.msc1767.audio"
_PLACES = ("m.location", "org.matrix.msc3488.location")
_PLACE = _PLACES[-1]
_GALLERIES = ("m.gallery", "dm.filament.gallery")
_SPOILER = "page.codeberg.everypizza.msc4193.spoiler"
_REASON = f"{_SPOILER}.reason"
_MAX_REASON = 200
_BLURHASH = "xyz.amorgan.blurhash"
_BLURHASH_URL = "data:image/blurhash,"
_MAX_NAME = 200
_MAX_NUMBER = 2**53


@dataclass(frozen=True, slots=True)
class Lock:
    """How a file is encrypted (client-server API, "Sending encrypted attachments"): AES-256 in counter mode.

    ``sha256``: of what is in the repository.
    """

    key: bytes
    iv: bytes
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that a user sent. ``lock``: None when it is not encrypted. ``preview``: its thumbnail."""

    file: File
    mxc: Mxc
    lock: Lock | None = None
    preview: Attached | None = None


def is_media(content: Json) -> bool:
    """Whether the content of an ``m.room.message`` is about a file, whichever."""
    return content.get("msgtype") in _KINDS


def is_gallery(content: Json) -> bool:
    """Whether the content of an ``m.room.message`` is about several files (MSC4274)."""
    return content.get("msgtype") in _GALLERIES


def attached(content: Json, *, sticker: bool = False) -> Attached | Place | None:
    """The file or place of an event; None when it has none, or one that makes no sense."""
    if content.get("msgtype") == LOCATION and not sticker:
        return _place(content)
    kind = MediaKind.STICKER if sticker else _KINDS.get(str(content.get("msgtype")))
    if kind is None:
        return None
    kept = _kept(content.get("url"), content.get("file"))
    if kept is None:
        return None
    info = content.get("info")
    info = info if isinstance(info, dict) else {}
    if kind is MediaKind.AUDIO and _VOICE in content:
        kind = MediaKind.VOICE
    duration, name = _number(info.get("duration")), _name(content, sticker=sticker)
    by_name = mimetypes.types_map.get(f".{name.rpartition('.')[2].lower()}", "")
    hash_ = info.get(_BLURHASH)
    usable = isinstance(hash_, str) and hash_.isascii() and len(hash_) < 200
    file = File(
        kind=kind,
        name=name,
        mimetype=plain_type(str(info.get("mimetype") or "")) or by_name,
        size=_number(info.get("size")),
        width=_number(info.get("w")),
        height=_number(info.get("h")),
        duration=None if duration is None else duration / 1000,
        thumbnail=_BLURHASH_URL + quote(str(hash_), safe="") if usable else None,
        spoiler=spoiler(content),
    )
    return Attached(file, *kept, preview=_preview(info, kept))


def spoiler(content: Json) -> str | None:
    """Why a file is not to be seen at once, "" without a reason; None where it is."""
    if content.get(_SPOILER) is not True:
        return None
    reason = content.get(_REASON)
    return " ".join(reason.split())[:_MAX_REASON] if isinstance(reason, str) else ""


def _kept(url: object, encrypted: object) -> tuple[Mxc, Lock | None] | None:
    """Where a file is in the repository, and how to read it; None when that cannot be told."""
    mxc = Mxc.parse(encrypted.get("url") if isinstance(encrypted, dict) else url)
    lock = _lock(encrypted) if isinstance(encrypted, dict) else None
    return None if mxc is None or (encrypted is not None and lock is None) else (mxc, lock)


def _preview(info: Json, whole: tuple[Mxc, Lock | None]) -> Attached | None:
    kept = _kept(info.get("thumbnail_url"), info.get("thumbnail_file"))
    if kept is None or kept == whole:
        return None
    of = info.get("thumbnail_info")
    of = of if isinstance(of, dict) else {}
    mimetype = plain_type(str(of.get("mimetype") or ""))
    if not mimetype.startswith("image/"):
        return None
    file = File(
        kind=MediaKind.IMAGE,
        name="thumbnail" + (mimetypes.guess_extension(mimetype) or ""),
        mimetype=mimetype,
        size=_number(of.get("size")),
        width=_number(of.get("w")),
        height=_number(of.get("h")),
    )
    return Attached(file, *kept)


def caption(content: Json) -> Text:
    """What a user says of the file or place that they sent; "" when nothing."""
    if content.get("msgtype") == LOCATION:
        return Text(_described(content))
    if not isinstance(content.get("filename"), str) or content["filename"] == content.get("body"):
        return Text("")
    return from_content(content) or Text("")


def _name(content: Json, *, sticker: bool) -> str:
    name = content.get("filename", "" if sticker else content.get("body"))
    return " ".join(str(name or "").split())[:_MAX_NAME]


def _number(value: object) -> int | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return int(value) if 0 <= value < _MAX_NUMBER else None


def _lock(file: Json) -> Lock | None:
    key, hashes = file.get("key"), file.get("hashes")
    if not isinstance(key, dict) or not isinstance(hashes, dict):
        return None
    lock = Lock(_bytes(key.get("k")), _bytes(file.get("iv")), _bytes(hashes.get("sha256")))
    fits = (len(lock.key), len(lock.iv), len(lock.sha256)) == (32, 16, 32)
    return lock if fits and key.get("alg") == "A256CTR" else None


def _bytes(text: Any) -> bytes:
    """Unpadded base64, of either alphabet."""
    if not isinstance(text, str) or not text.isascii():
        return b""
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        return b""


def _place(content: Json) -> Place | None:
    inner = _inner(content)
    uri = content.get("geo_uri") or (None if inner is None else inner.get("uri"))
    return Place.from_uri(uri) if isinstance(uri, str) else None


def _inner(content: Json) -> Json | None:
    """The newer form of a place, which is beside the older one."""
    return next((content[key] for key in _PLACES if isinstance(content.get(key), dict)), None)


def _described(content: Json) -> str:
    """What is said of a place; the body of the older form may be a client's own words, as "Location"."""
    said = (_inner(content) or {}).get("description")
    return said if isinstance(said, str) else ""


def to_media(file: File, mxc: Mxc, said: Text, thumbnail: Json | None = None) -> Json:
    """The content of an event for a file that is in the repository; of `STICKER` for one of that kind.

    ``thumbnail``: what else belongs into ``info``.
    """
    info: Json = {"mimetype": file.mimetype, "size": file.size, **(thumbnail or {})}
    if file.width and file.height:
        info |= {"w": file.width, "h": file.height}
    if file.duration is not None:
        info["duration"] = int(file.duration * 1000)
    if file.thumbnail is not None and file.thumbnail.startswith(_BLURHASH_URL):
        info[_BLURHASH] = unquote(file.thumbnail.removeprefix(_BLURHASH_URL))
    name = file.name[:_MAX_NAME] or file.kind + (mimetypes.guess_extension(file.mimetype) or "")
    if file.kind is MediaKind.STICKER:
        return {"body": said.body or name, "info": info, "url": str(mxc)}
    content: Json = {
        "msgtype": _TYPES[file.kind],
        "url": str(mxc),
        "info": info,
        "filename": name,
        **captioned(name, said),
    }
    if file.spoiler is not None:
        content |= {_SPOILER: True, **({_REASON: file.spoiler} if file.spoiler else {})}
    if file.kind is MediaKind.VOICE:
        content[_VOICE] = {}
        content[_AUDIO] = {"duration": info["duration"]} if "duration" in info else {}
    return content


def captioned(name: str, said: Text) -> Json:
    """The part of a content that says something of the file called ``name``."""
    if not said.body:
        return {"body": name}
    content = to_content(said)
    del content["msgtype"]
    return content


def recaptioned(content: Json, said: Text) -> Json:
    """``content``, of an event with a file, with other words."""
    name = str(content.get("filename") or content.get("body") or "")
    left_out = ("body", "format", "formatted_body", "m.mentions", "m.relates_to", "m.new_content")
    kept = {
        key: value
        for key, value in content.items()
        if key not in left_out and not key.startswith("org.dm_bridge.")
    }
    return {**kept, "filename": name, **captioned(name, said)}


def to_place(place: Place, said: Text) -> Json:
    """The content of an event for a place."""
    described = {"description": said.body} if said.body else {}
    return {
        "msgtype": LOCATION,
        "body": f"{said.body} {place.uri}".strip(),
        "geo_uri": place.uri,
        _PLACE: {"uri": place.uri, **described},
        "org.matrix.msc3488.asset": {"type": "m.pin"},
    }
