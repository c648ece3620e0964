"""Files and places in message stanzas, both ways. Pure.

Read: stateless file sharing (XEP-0447), also encrypted (XEP-0448, and the ``aesgcm:`` addresses of XEP-0454) and
of stickers (XEP-0449); SIMS (XEP-0385); out-of-band data (XEP-0066) where the address is all there is; with the
metadata of XEP-0446 and XEP-0234, and thumbnails (XEP-0264), in the stanza itself (XEP-0231) or at an address.
Places: a ``geo:`` URI, or XEP-0080. Written: XEP-0447, with thumbnails, and XEP-0066, with the fallback of
XEP-0428 for the address.

The rule that must never break: an address that somebody merely mentions is text.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from dm_bridge.connectors.xmpp import relations, spoilers
from dm_bridge.connectors.xmpp.characters import xml_text
from dm_bridge.connectors.xmpp.styling import to_html
from dm_bridge.network.media import (
    MAX_THUMBNAIL,
    File,
    Media,
    MediaKind,
    OutgoingMedia,
    Place,
    kind_of,
    plain_type,
)

CLIENT = "{jabber:client}"
SFS_NAMESPACE = "urn:xmpp:sfs:0"
SIMS_NAMESPACE = "urn:xmpp:sims:1"
OOB_NAMESPACE = "jabber:x:oob"
SFS = f"{{{SFS_NAMESPACE}}}"
ESFS = "{urn:xmpp:esfs:0}"
SIMS = f"{{{SIMS_NAMESPACE}}}"
OOB = f"{{{OOB_NAMESPACE}}}"
REFERENCE = "{urn:xmpp:reference:0}reference"
METADATA = "{urn:xmpp:file:metadata:0}"
JINGLE_FILE = "{urn:xmpp:jingle:apps:file-transfer:5}file"
URL_DATA = "{http://jabber.org/protocol/url-data}url-data"
THUMBNAIL = "{urn:xmpp:thumbs:1}thumbnail"
BLURHASH = "image/blurhash"
BLURHASH_URL = f"data:{BLURHASH},"
HASH = "{urn:xmpp:hashes:2}hash"
STICKER = "{urn:xmpp:stickers:0}sticker"
BOB = "{urn:xmpp:bob}data"
GEOLOC = "{http://jabber.org/protocol/geoloc}"
UNSTYLED = "{urn:xmpp:styling:0}unstyled"

FEATURES = (SFS_NAMESPACE, SIMS_NAMESPACE, OOB_NAMESPACE, "urn:xmpp:file:metadata:0")
"""What service discovery says of all this."""
MAX_URL = 4096
_GCM = "urn:xmpp:ciphers:aes-256-gcm-nopadding:0"
_KEY = 64
_IVS = (24, 32)
_MAX_NAME = 200
_MAX_LENGTH = 65_535
"""Pixels, of which XEP-0264 has 16 bits."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a message is about, and what is said of it. ``attachment``: None when ``said`` has it all."""

    attachment: Media | Place | None
    said: str


def shared(stanza: Element, body: str) -> Shared:
    """The file or place of a message with this whole ``body``, and the rest of what it says."""
    found = _shared(stanza, body)
    if not isinstance(found.attachment, Media):
        return found
    return replace(found, attachment=replace(found.attachment, spoiler=spoilers.hint(stanza)))


def _shared(stanza: Element, body: str) -> Shared:
    namespaces = (
        relations.REPLY_NAMESPACE,
        SFS_NAMESPACE,
        SIMS_NAMESPACE,
        OOB_NAMESPACE,
        spoilers.NAMESPACE,
    )
    said = relations.without(body, relations.fallbacks(stanza, body, *namespaces)).strip("\n")
    files = [*_sfs(stanza), *_sims(stanza)]
    if files:
        return _with_files(files, said)
    alone = relations.without_quote(stanza, body)
    oob = (stanza.findtext(f"{OOB}x/{OOB}url") or "").strip()
    if (media := _at(oob, File(kind=MediaKind.FILE))) is not None:
        if alone.strip() in ("", oob):
            described = stanza.findtext(f"{OOB}x/{OOB}desc") or ""
            return Shared(media, "" if alone.strip() else described)
        if oob not in alone:
            alone = f"{alone}\n{oob}"
    first, _, rest = alone.strip().partition("\n")
    if first.startswith("aesgcm://") and (not rest or rest.startswith("data:")):
        media = _at(first, File(kind=MediaKind.FILE))
        if media is not None:
            return Shared(media, "")
    return _with_place(stanza, alone)


def _with_files(files: list[Media], said: str) -> Shared:
    """The first of them, with links to the others."""
    urls = {file.url for file in files}
    lines = [line for line in said.split("\n") if line.strip() not in urls]
    text = "\n".join(lines).strip("\n")
    others = [file.url for file in files[1:] if file.url != files[0].url]
    return Shared(files[0], "\n".join(filter(None, (text, *dict.fromkeys(others)))))


def _with_place(stanza: Element, body: str) -> Shared:
    place = Place.from_uri(body.strip())
    if place is not None:
        return Shared(place, "")
    where = stanza.find(f"{GEOLOC}geoloc")
    if where is None:
        return Shared(None, body)
    latitude, longitude = _decimal(where, "lat"), _decimal(where, "lon")
    if latitude is None or longitude is None:
        return Shared(None, body)
    place = Place.at(latitude, longitude, _decimal(where, "accuracy"))
    text = body or where.findtext(f"{GEOLOC}text") or where.findtext(f"{GEOLOC}description") or ""
    return Shared(place, text) if place is not None else Shared(None, body)


def _decimal(where: Element, name: str) -> float | None:
    try:
        number = float(where.findtext(f"{GEOLOC}{name}") or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _sfs(stanza: Element) -> Iterator[Media]:
    sticker = stanza.find(STICKER) is not None
    for sharing in stanza.findall(f"{SFS}file-sharing"):
        metadata = sharing.find(f"{METADATA}file")
        sources = sharing.find(f"{SFS}sources")
        if metadata is None or sources is None:
            continue
        file = _file(metadata, stanza, sticker=sticker)
        media = _first(sources, file, _sha256(metadata)) or _encrypted(sources, file)
        if media is not None:
            yield media


def _first(sources: Element, file: File, sha256: str | None) -> Media | None:
    """The file at the first address that can be one."""
    urls = (each.get("target", "") for each in sources.findall(URL_DATA))
    found = (_at(url, file, sha256) for url in urls)
    return next(filter(None, found), None)


def _encrypted(sources: Element, file: File) -> Media | None:
    for encrypted in sources.findall(f"{ESFS}encrypted"):
        inner = encrypted.find(f"{SFS}sources")
        key = _hexadecimal(encrypted.findtext(f"{ESFS}key"))
        iv = _hexadecimal(encrypted.findtext(f"{ESFS}iv"))
        known = encrypted.get("cipher") == _GCM and len(key) == _KEY and len(iv) in _IVS
        media = None if inner is None else _first(inner, file, _sha256(encrypted))
        if known and media is not None:
            return _made(file, url=media.url, sha256=media.sha256, key=key, iv=iv)
    return None


def _sims(stanza: Element) -> Iterator[Media]:
    for sharing in stanza.findall(f"{REFERENCE}/{SIMS}media-sharing"):
        metadata = sharing.find(JINGLE_FILE)
        sources = sharing.find(f"{SIMS}sources")
        if metadata is None or sources is None:
            continue
        file = _file(metadata, stanza, sticker=False)
        urls = (each.get("uri", "") for each in sources.findall(REFERENCE))
        media = next(filter(None, (_at(url, file, _sha256(metadata)) for url in urls)), None)
        if media is not None:
            yield media


def _at(url: str, file: File, sha256: str | None = None) -> Media | None:
    """``file``, at an address; None when no file can be there."""
    if len(url) > MAX_URL or any(char.isspace() for char in url):
        return None
    if url.startswith("aesgcm://"):
        address, _, secret = url.partition("#")
        key, iv = secret[-_KEY:].lower(), secret[:-_KEY].lower()
        if len(key) != _KEY or len(iv) not in _IVS or set(key + iv) - set("0123456789abcdef"):
            return None
        return _made(file, url=address.replace("aesgcm", "https", 1), key=key, iv=iv)
    if url.startswith(("https://", "http://")):
        return _made(file, url=url, sha256=sha256)
    return None


def _made(file: File, **where: Any) -> Media:
    said = {name: getattr(file, name) for name in File.__dataclass_fields__}
    return Media(**said, **where)


def _file(metadata: Element, stanza: Element, *, sticker: bool) -> File:
    """What its sender says of a file (XEP-0446, or XEP-0234), in any of the orders and versions there are."""
    found = {child.tag.rpartition("}")[2]: child for child in metadata}
    text = {name: (child.text or "").strip() for name, child in found.items()}
    width, height = _number(text.get("width")), _number(text.get("height"))
    if width is None and (sizes := text.get("dimensions", "").split("x"))[1:]:
        width, height = _number(sizes[0]), _number(sizes[1])
    length = _number(text.get("length"))
    mimetype = plain_type(text.get("media-type", ""))
    kind = kind_of(mimetype)
    return File(
        kind=MediaKind.STICKER if sticker and kind is MediaKind.IMAGE else kind,
        name=text.get("name", "")[:_MAX_NAME],
        mimetype=mimetype,
        size=_number(text.get("size")),
        width=width,
        height=height,
        duration=None if length is None else length / 1000,
        thumbnail=_thumbnail(metadata, stanza),
    )


def _thumbnail(metadata: Element, stanza: Element) -> str | None:
    """The first small image that can be had; a BlurHash only where there is none."""
    elements = (child for child in metadata if child.tag.endswith("}thumbnail"))
    uris = (_whole(element.get("uri", ""), stanza) for element in elements)
    usable = [uri for uri in uris if uri is not None]
    usable.sort(key=lambda uri: uri.startswith(BLURHASH_URL))
    return next(iter(usable), None)


def _whole(uri: str, stanza: Element) -> str | None:
    """``uri``, with what it refers to in the stanza; None when it is of no use."""
    if uri.startswith("cid:"):
        for data in stanza.findall(BOB):
            if data.get("cid") == uri.removeprefix("cid:"):
                content = "".join((data.text or "").split())
                uri = f"data:{data.get('type', 'image/png')};base64,{content}"
    if uri.startswith("https://"):
        return uri if len(uri) <= MAX_URL and not any(map(str.isspace, uri)) else None
    return uri if uri.startswith("data:image/") and len(uri) <= MAX_THUMBNAIL else None


def _sha256(metadata: Element) -> str | None:
    for element in metadata.findall(HASH):
        digest = _hexadecimal(element.text)
        if element.get("algo") == "sha-256" and len(digest) == 64:
            return digest
    return None


def _hexadecimal(text: str | None) -> str:
    """Base64 in hexadecimal; "" for what is none."""
    try:
        return base64.b64decode((text or "").strip(), validate=True).hex()
    except (binascii.Error, ValueError):
        return ""


def _number(text: str | None) -> int | None:
    usable = text is not None and text.isascii() and text.isdigit() and len(text) < 15
    return int(text or "0") if usable else None


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Where a file is now. ``size``: in bytes."""

    url: str
    size: int
    sha256: bytes


def share(
    payload: list[Element], file: OutgoingMedia, there: Uploaded, preview: Uploaded | None
) -> list[Element]:
    """``payload``, of a message that says something of a file or nothing, with the file itself.

    Its body then ends with the address, for clients that know nothing else, and is the address alone where
    nothing is said: only then do most of them show the file, and only then is there out-of-band data. Beside
    other words, that makes Converse show a picture twice.
    """
    url = there.url
    body = next(element for element in payload if element.tag == f"{CLIENT}body")
    said, hiding = spoilers.hiding_file(payload, body.text or "", file.spoiler)
    start = len(said)
    body.text = f"{said}\n{url}" if said else url
    only = relations.fallback(SFS_NAMESPACE, *((start, len(body.text)) if said else ()))
    sharing = Element(f"{SFS}file-sharing", {"disposition": _disposition(file.kind)})
    sharing.append(_metadata(file, there, preview))
    sources = SubElement(sharing, f"{SFS}sources")
    SubElement(sources, URL_DATA, {"target": url})
    more = [sharing, only, *hiding]
    if not said:
        oob = Element(f"{OOB}x")
        SubElement(oob, f"{OOB}url").text = url
        more.append(oob)
        if to_html(url) is not None:
            more.append(Element(UNSTYLED))
    return [*payload, *more]


def _disposition(kind: MediaKind) -> str:
    return "attachment" if kind is MediaKind.FILE else "inline"


def _metadata(file: OutgoingMedia, there: Uploaded, preview: Uploaded | None) -> Element:
    metadata = Element(f"{METADATA}file")
    length = None if file.duration is None else round(file.duration * 1000)
    known = {
        "media-type": file.mimetype,
        "name": file.name,
        "size": there.size,
        "width": file.width,
        "height": file.height,
        "length": length,
    }
    for name, value in known.items():
        if value not in (None, ""):
            SubElement(metadata, f"{METADATA}{name}").text = xml_text(str(value))
    SubElement(metadata, HASH, {"algo": "sha-256"}).text = base64.b64encode(there.sha256).decode()
    if preview is not None and file.preview is not None:
        metadata.append(_thumbnail_at(preview.url, file.preview))
    if file.thumbnail is not None and file.thumbnail.startswith(BLURHASH_URL):
        hashed = File(kind=MediaKind.IMAGE, mimetype=BLURHASH, width=file.width, height=file.height)
        metadata.append(_thumbnail_at(file.thumbnail, hashed))
    return metadata


def _thumbnail_at(uri: str, image: File) -> Element:
    """A small image, or what stands for one (XEP-0264)."""
    element = Element(THUMBNAIL, {"uri": uri, "media-type": image.mimetype})
    for name, length in (("width", image.width), ("height", image.height)):
        if length and length <= _MAX_LENGTH:
            element.set(name, str(length))
    return element
