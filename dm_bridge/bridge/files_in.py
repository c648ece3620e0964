"""Files and places of contacts, shown in Matrix.

A file is fetched from where its sender says it is, while it is put into the homeserver's repository. What
cannot be had is shown as a link, with the reason.

The rule that must never break: what strangers offer costs at most so much, whatever they do: bytes, time, memory,
connections; and no chat waits for the file of another one.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from urllib.parse import unquote

import aiohttp
import structlog

from dm_bridge.bridge.ciphers import TAG, exactly, hashed, opened_gcm
from dm_bridge.bridge.portal import OpenPortal
from dm_bridge.bridge.sniffing import HEAD, NoFile, look
from dm_bridge.errors import HomeserverAway, HomeserverError, NetworkError, NotYet, may_pass
from dm_bridge.ids import EventId, LoginId, UserId
from dm_bridge.matrix.attachments import STICKER, is_media, recaptioned, to_media, to_place
from dm_bridge.matrix.formatting import edit_of, in_parts, in_reply_to, mentions, to_content
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.matrix.media import DEADLINE, MediaRepository
from dm_bridge.matrix.rooms import event_of
from dm_bridge.network.events import RemoteEdit, RemoteMessage, Text
from dm_bridge.network.media import File, Media, MediaKind, Place
from dm_bridge.store.references import Known
from dm_bridge.texts import phrase
from dm_bridge.web import Web, body

log = structlog.get_logger(__name__)

MESSAGE = "m.room.message"
PATIENCE = 60.0
"""Seconds for which a file is tried that cannot be had at the moment."""
AT_ONCE = 40
"""Files under way at once, of which one login has at most `OF_ONE_LOGIN`."""
OF_ONE_LOGIN = 8
TURN = 1.0
"""Seconds until a chat looks again whether it is its turn."""
SLOWEST = 4096
"""Bytes a second that a server must send on the whole, once it had `START` seconds."""
START = 30.0
LARGEST_THUMBNAIL = 1_000_000
"""Bytes."""
THUMBNAIL_DEADLINE = 15.0


@dataclass(frozen=True, slots=True)
class Shown:
    """An event to send."""

    type: str
    content: Json


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message that is one event. ``attachment``: what ``text`` is said of."""

    text: Text
    attachment: Media | Place | None = None


def parts_of(message: RemoteMessage | RemoteEdit) -> list[Part]:
    """A message in parts that fit into an event each; what is said of a file comes after it where it is long."""
    texts = in_parts(message.content)
    if message.attachment is None:
        return [Part(text) for text in texts]
    if len(texts) == 1:
        return [Part(texts[0], message.attachment)]
    return [Part(Text(""), message.attachment), *map(Part, texts)]


class FilesIn:
    """``largest``: bytes of a file, if the homeserver takes as many; with 0, none is fetched."""

    def __init__(
        self, homeserver: Homeserver, repository: MediaRepository, web: Web, largest: int
    ) -> None:
        self._homeserver = homeserver
        self._repository = repository
        self._web = web
        self._largest = largest
        self._under_way: Counter[LoginId] = Counter()

    async def event(
        self,
        portal: OpenPortal,
        message: RemoteMessage | RemoteEdit,
        part: Part,
        about: Known | None,
        *,
        age: float,
    ) -> Shown:
        """The event for a part of a message, which edits or answers another one if ``about`` is given.

        Raises as `show` does.
        """
        target = None if about is None else about.event
        other = portal.ghost if message.from_self else portal.login.owner
        named = [other] if part.text.mention else []
        if about is None or target is None:
            shown = await self.show(part, portal.ghost, portal.key.login, age=age)
            return Shown(shown.type, shown.content | mentions(*named))
        if not isinstance(message, RemoteEdit):
            shown = await self.show(part, portal.ghost, portal.key.login, age=age)
            if about.from_self != message.from_self:  # who is answered is to notice
                named = [other]
            return Shown(shown.type, shown.content | mentions(*named) | in_reply_to(target))
        if about.media and part.attachment is None:
            content = await self._recaptioned(portal, target, part.text)
        else:
            content = (await self.show(part, portal.ghost, portal.key.login, age=age)).content
        edit = edit_of(content | mentions(*named), target)
        if named and await self._mentioned(portal, target, other):
            edit |= mentions()  # only who was not before is to notice
        return Shown(MESSAGE, edit)

    async def show(self, part: Part, ghost: UserId, login: LoginId, *, age: float) -> Shown:
        """The event for a part of a message that came ``age`` seconds ago.

        Raises `BridgeError` when it is to be tried again: `NotYet` when others have their turn, and for as long as
        `PATIENCE` where a file cannot be had for the moment.
        """
        said, attachment = part.text, part.attachment
        if attachment is None:
            return Shown(MESSAGE, to_content(said))
        if isinstance(attachment, Place):
            return Shown(MESSAGE, to_place(attachment, said))
        patient = age <= PATIENCE
        try:
            return await self._in_turn(attachment, said, ghost, login)
        except NoFile:
            return Shown(MESSAGE, to_content(_linked(attachment, said)))
        except NetworkError as error:
            if error.retry_after is not None and patient:
                raise
            log.info("a file is shown as a link", login=login, reason=str(error))
            return Shown(MESSAGE, to_content(_linked(attachment, said, str(error))))
        except HomeserverError as error:
            if isinstance(error, HomeserverAway) or error.status == 429:
                raise
            if may_pass(error) and patient:
                raise
            log.warning("the homeserver takes no file", login=login, reason=str(error))
            why = phrase("file-not-taken")
            return Shown(MESSAGE, to_content(_linked(attachment, said, why)))

    async def _mentioned(self, portal: OpenPortal, event: EventId, user: UserId) -> bool:
        there = await event_of(self._homeserver, portal.room, event, user=portal.ghost)
        listed = ((there or {}).get("content") or {}).get("m.mentions") or {}
        return user in listed.get("user_ids", [])

    async def _recaptioned(self, portal: OpenPortal, event: EventId, said: Text) -> Json:
        """The new content of an event with a file, of which other words are said; of any other, the words."""
        there = await event_of(self._homeserver, portal.room, event, user=portal.ghost)
        content = (there or {}).get("content")
        if not isinstance(content, dict) or not is_media(content):
            return to_content(said)
        return recaptioned(content, said)

    async def _in_turn(self, media: Media, said: Text, ghost: UserId, login: LoginId) -> Shown:
        if not self._largest:
            raise NetworkError(phrase("file-none-carried"))
        if self._under_way.total() >= AT_ONCE or self._under_way[login] >= OF_ONE_LOGIN:
            raise NotYet(phrase("file-others-first"), TURN)
        self._under_way[login] += 1
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._carry(media, said, ghost)
        except TimeoutError as error:
            raise NetworkError(phrase("file-not-in-time"), retry_after=10.0) from error
        finally:
            self._under_way[login] -= 1
            if not self._under_way[login]:
                del self._under_way[login]

    async def _carry(self, media: Media, said: Text, ghost: UserId) -> Shown:
        limit = await self._limit(ghost)
        _check_size(media.size, limit)
        async with self._web.get(media.url) as response:
            _check_status(response)
            there = _size(response, media)
            size = there if media.key is None else there - TAG
            _check_size(size, limit)
            chunks = _decrypted(exactly(_in_time(response), there), media)
            head, chunks = await _peeked(chunks)
            served_as = response.headers.get("Content-Type", "")
            file = look(head, replace(_described(media), size=size), served_as)
            if file.kind is MediaKind.STICKER and file.spoiler is not None:
                file = replace(file, kind=MediaKind.IMAGE)  # nobody hides stickers
            mxc = await self._repository.upload(chunks, size, file.mimetype, file.name, user=ghost)
        thumbnail = await self._thumbnail(media, ghost)
        kind = STICKER if file.kind is MediaKind.STICKER else MESSAGE
        return Shown(kind, to_media(file, mxc, said, thumbnail))

    async def _limit(self, ghost: UserId) -> int:
        of_homeserver = await self._repository.limit(ghost)
        return self._largest if of_homeserver is None else min(self._largest, of_homeserver)

    async def _thumbnail(self, media: Media, ghost: UserId) -> Json | None:
        """What a small image adds to the ``info`` of an event, if there is one that is one."""
        try:
            raw = await self._small_image(media.thumbnail or "")
            if not raw:
                return None
            file = look(raw, File(kind=MediaKind.IMAGE, size=len(raw)), "")
            if file.kind is not MediaKind.IMAGE:
                return None
            mxc = await self._repository.upload(_once(raw), len(raw), file.mimetype, "", user=ghost)
        except (NetworkError, HomeserverError, TimeoutError):
            return None  # it is no loss
        info: Json = {"mimetype": file.mimetype, "size": len(raw)}
        if file.width and file.height:
            info |= {"w": file.width, "h": file.height}
        return {"thumbnail_url": str(mxc), "thumbnail_info": info}

    async def _small_image(self, url: str) -> bytes:
        if not url.startswith("https://"):
            return _inline(url)
        raw = b""
        async with asyncio.timeout(THUMBNAIL_DEADLINE), self._web.get(url) as response:
            _check_status(response)
            async for chunk in body(response):
                raw += chunk
                _check_size(len(raw), LARGEST_THUMBNAIL)
        return raw


def _check_size(size: int | None, limit: int) -> None:
    if size is not None and size > limit:
        raise NetworkError(phrase("file-too-large", size=megabytes(size), largest=megabytes(limit)))


def megabytes(size: int) -> str:
    """A size as people say it."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{max(1, round(size / 1000))} kB"


def _check_status(response: aiohttp.ClientResponse) -> None:
    host = response.url.host or ""
    match response.status:
        case 200:
            return
        case 404 | 410:
            raise NetworkError(phrase("file-gone", host=host))
        case 401 | 403:
            raise NetworkError(phrase("file-not-given", host=host))
        case status if status >= 500 or status in (408, 425, 429):
            raise NetworkError(
                phrase("file-not-given-now", host=host, status=str(status)), retry_after=10.0
            )
        case status:
            raise NetworkError(phrase("file-not-given-status", host=host, status=str(status)))


def _size(response: aiohttp.ClientResponse, media: Media) -> int:
    """How many bytes come, which the homeserver has to be told before the first one."""
    if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise NetworkError(phrase("file-other-form"))
    size = response.content_length
    if size is None and media.key is None:
        size = media.size
    if size is None:
        raise NetworkError(phrase("file-of-no-size"))
    return size


async def _in_time(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    now = asyncio.get_running_loop().time
    start, received = now(), 0
    async for chunk in body(response):
        received += len(chunk)
        if now() - start > START and received < SLOWEST * (now() - start):
            raise NetworkError(phrase("file-too-slow", host=response.url.host or ""))
        yield chunk


def _decrypted(chunks: AsyncIterator[bytes], media: Media) -> AsyncIterator[bytes]:
    try:
        if media.sha256 is not None:
            chunks = hashed(chunks, bytes.fromhex(media.sha256))
        if media.key is not None and media.iv is not None:
            chunks = opened_gcm(chunks, bytes.fromhex(media.key), bytes.fromhex(media.iv))
    except ValueError as error:
        raise NetworkError(phrase("file-wrong-key")) from error
    return chunks


async def _peeked(chunks: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """The first bytes, and all of them once more."""
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= HEAD:
            break

    async def all_of_them() -> AsyncIterator[bytes]:
        if head:
            yield head
        async for chunk in chunks:
            yield chunk

    return head, all_of_them()


async def _once(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


def _described(media: Media) -> File:
    """What is said of a file; its name is that of its address where it has none."""
    name = media.name or unquote(media.url.partition("?")[0].partition("#")[0].rpartition("/")[2])
    name = "".join("_" if char == "/" else char for char in name if char.isprintable())
    return File(
        kind=media.kind,
        name=name.strip()[:200],
        mimetype=media.mimetype,
        width=media.width,
        height=media.height,
        duration=media.duration,
        thumbnail=media.thumbnail,
        spoiler=media.spoiler,
    )


def _linked(media: Media, said: Text, why: str = "") -> Text:
    """A message with a link to a file, in place of the file."""
    url = media.url
    if media.key is not None and media.iv is not None:  # with what it takes to read it (XEP-0454)
        url = f"aesgcm{url.removeprefix('https')}#{media.iv}{media.key}"
    because = phrase("file-is-a-link", why=why) if why else ""
    return Text("\n".join(filter(None, (said.body, url, because))))


def _inline(url: str) -> bytes:
    """The bytes of a ``data:`` URL with an image; none of any other."""
    meta, comma, data = url.partition(",")
    if not comma or not meta.startswith("data:image/") or not meta.endswith(";base64"):
        return b""
    try:
        return base64.b64decode(unquote(data), validate=True)
    except (binascii.Error, ValueError):
        return b""
