"""Files both ways, where they are declared: what they are, what is said of them, and every byte of them.

The rule that must never break: a file is compared whole, as it is where its address says.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dm_bridge.errors import NetworkError
from dm_bridge.network.api import OutgoingMessage
from dm_bridge.network.events import RemoteMessage, SessionStatus, Text
from dm_bridge.network.media import Media, MediaKind, Opened, OutgoingMedia, kind_of
from dm_bridge.testing.conformance.adapter import Adapter, NotOffered, Person, Shared
from dm_bridge.testing.conformance.case import Case, Live, require
from dm_bridge.testing.conformance.incoming import crash

SIZE = 300_000
"""Bytes of a file, where that much is allowed: more than one piece."""
PIECE = 64 * 1024
_TURN = 0.02
UNREADABLE = "The homeserver does not have this file any more."
HOSTILE_NAMES = (
    "../../etc/passwd",
    "..\\..\\boot.ini",
    "name with blanks, 'quotes' & \"more\".png",
    "<x/>]]>&amp;.png",
    "a?b#c%2Fd;e=f.png",
    "before\r\nPRIVMSG {bystander} :injected\r\nafter.png",
    "before\0after.png",
    "before\ud800after.png",
    "\u202egnp.exe",
    "Grüße 名前 👋🏽.png",
    "n" * 1000 + ".png",
    "...",
    "",
)


def content_of(size: int, seed: int = 0) -> bytes:
    """Bytes of every value, the same each time."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - not secret


@dataclass
class Source:
    """A file of the homeserver. ``size``: what it says; ``broken``: it cannot be read to its end."""

    content: bytes
    size: int | None = None
    broken: bool = False
    taken: int = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        """See `MediaSource`."""
        yield Opened(len(self.content) if self.size is None else self.size, self._chunks())

    async def _chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.content), PIECE):
            if self.broken and start:
                raise NetworkError(UNREADABLE)
            self.taken += PIECE
            yield self.content[start : start + PIECE]


async def _meet(case: Case, *methods: str) -> tuple[Live, Person]:
    live, person = await case.meet()
    live.needs("media")
    if live.capabilities.largest_media == 0:
        raise NotOffered("this account can send no files")
    for method in methods:
        if getattr(type(case.adapter), method) is getattr(Adapter, method):
            raise NotOffered(f"the adapter has no `{method}`")
    return live, person


def _size(live: Live) -> int:
    return min(SIZE, live.capabilities.largest_media or SIZE)


def _file(name: str, mimetype: str, source: Source) -> OutgoingMedia:
    size = len(source.content) if source.size is None else source.size
    return OutgoingMedia(
        kind=kind_of(mimetype), name=name, mimetype=mimetype, size=size, source=source
    )


def _outgoing(live: Live, person: Person, file: OutgoingMedia, text: str = "") -> OutgoingMessage:
    return replace(live.message(person, Text(text)), attachment=file)


async def files_of_the_user_reach_the_contact(case: Case) -> None:
    """Where `Capabilities.media` is declared: every byte, with name, type and caption, as one message."""
    live, person = await _meet(case, "shared")
    files = (
        ("a balcony.png", "image/png", content_of(_size(live), 1), "Look: <this> & *that*"),
        ("notes.txt", "text/plain", b"\xef\xbb\xbfone\r\ntwo\0three", ""),
        ("data", "application/octet-stream", content_of(1000, 2), "two\nlines"),
    )
    for number, (name, mimetype, content, text) in enumerate(files):
        file = _file(name, mimetype, Source(content))
        await live.send(_outgoing(live, person, file, text))
        got = await _gets(case, person, number + 1)
        require(
            got.content == content,
            f"The file has {len(content)} bytes; the contact got {len(got.content)}, or other ones.",
        )
        require(
            (got.sender, got.name, got.mimetype) == (live.account.address, name, mimetype),
            f"The user sent {name!r}, {mimetype}; the contact got {got!r}.",
        )
        require(
            got.text.split() == text.split(),
            f"Of the file is said {text!r}; the contact reads {got.text!r}.",
        )
    require(
        len(await case.adapter.shared(person)) == len(files),
        "Each file should have come once.",
    )


async def files_of_a_contact_are_delivered(case: Case) -> None:
    """Where `Capabilities.media` is declared: `Media` with name, type, size, address; the caption as text."""
    live, person = await _meet(case, "share")
    files = (
        Shared("", "a balcony.png", "image/png", content_of(_size(live), 3), "Look: & see"),
        Shared("", "song.ogg", "audio/ogg", content_of(5000, 4)),
        Shared("", "notes.pdf", "application/pdf", content_of(1000, 5), "two\nlines"),
    )
    for number, file in enumerate(files):
        await case.adapter.share(person, live.account.address, file)
        message = await _arrives(case, live, number + 1)
        media = _media(message)
        require(
            (message.sender, message.from_self, message.chat)
            == (case.contact(person), False, live.chat(person)),
            f"{person.address!r} sent this, in their chat: {message!r}.",
        )
        require(
            (media.name, media.mimetype) == (file.name, file.mimetype),
            f"The contact sent {file!r}; the attachment says {media!r}.",
        )
        require(
            media.size in (None, len(file.content)),
            f"`Media.size` is in bytes, and there are {len(file.content)}; it is {media.size!r}.",
        )
        require(
            media.kind in (kind_of(file.mimetype), MediaKind.VOICE),
            f"`Media.kind` of {file.mimetype} is {kind_of(file.mimetype)!r}, not {media.kind!r}.",
        )
        require(
            message.content.body.split() == file.text.split(),
            f"Of the file is said {file.text!r}, and `content.body` is {message.content.body!r}: it is what is"
            " said, without the file's address, and empty where nothing is.",
        )
        await _is_whole(case, media, file.content)


async def files_are_delivered_once_and_meanwhile(case: Case) -> None:
    """Where `Capabilities.catches_up` is declared, too: what came meanwhile, with its file, and once."""
    live, person = await _meet(case, "share")
    live.needs("catches_up")
    await live.close()
    file = Shared("", "meanwhile.png", "image/png", content_of(2000, 6), "said meanwhile")
    await case.adapter.share(person, live.account.address, file)
    after = case.again(live.account, live.inbox)
    await after.connect()
    message = await _arrives(case, after, 1)
    media = _media(message)
    require(
        (media.name, media.mimetype, message.content.body) == (file.name, file.mimetype, file.text),
        f"While nobody was connected, the contact sent {file!r}; what was delivered is {message!r}.",
    )
    await _is_whole(case, media, file.content)
    last = await crash(case, after)
    await person.say(live.account.address, "the end")
    await last.arrives("the end")
    count = len(last.inbox.messages)
    require(count == 2, f"The file should have been delivered once: {last.inbox.messages!r}"[:2000])


async def a_file_that_is_too_large_is_refused(case: Case) -> None:
    """Where `Capabilities.largest_media` is known: refuse more for good, say how much is allowed, send nothing."""
    live, person = await _meet(case, "shared")
    await live.send(_outgoing(live, person, _file("one.txt", "text/plain", Source(b"one"))))
    await _gets(case, person, 1)
    largest = live.capabilities.largest_media  # some networks tell only when asked for a place
    if largest is None:
        raise NotOffered("no `Capabilities.largest_media` is known")
    source = Source(content_of(PIECE), size=largest + 1)
    file = _file("large.bin", "application/octet-stream", source)
    try:
        await live.send(_outgoing(live, person, file, "too large"))
    except NetworkError as error:
        require(
            error.retry_after is None and error.certain,
            "A file that is too large stays so: raise without `retry_after`, and with `certain`.",
        )
        require(
            any(char.isdigit() for char in str(error)),
            f"The user is told how much is allowed; this does not say it: {error}",
        )
    else:
        require(False, f"A file of {largest + 1} bytes was sent, and {largest} are declared.")
    await _goes_on(case, live, person, 1)


async def a_file_that_cannot_be_read_is_told(case: Case) -> None:
    """What `MediaSource.open` raises is for the user: let it pass, and nothing of the file to the contact."""
    live, person = await _meet(case, "shared")
    source = Source(content_of(4 * PIECE, 7), broken=True)
    if (live.capabilities.largest_media or SIZE) < 4 * PIECE:
        raise NotOffered("the files of this network are too small")
    try:
        await live.send(_outgoing(live, person, _file("gone.png", "image/png", source), "gone"))
    except NetworkError as error:
        require(
            str(error) == UNREADABLE,
            f"The source said: {UNREADABLE} The session said instead: {error}",
        )
    else:
        require(False, "A file was sent that could not be read to its end.")
    await _goes_on(case, live, person, 0)


async def hostile_names_of_files_do_no_harm(case: Case) -> None:
    """Encode the names of files: none ends a line or a stanza; the file is sent whole, or refused for good."""
    live, person, bystander = *await _meet(case, "shared"), await case.person()
    expected = 0
    for number, hostile in enumerate((*HOSTILE_NAMES, *case.adapter.hostile)):
        name = hostile.replace("{bystander}", bystander.address)
        content = content_of(100, number)
        file = _file(name, "image/png", Source(content))
        try:
            await live.send(_outgoing(live, person, file))
        except NetworkError as error:
            require(
                error.retry_after is None and error.certain,
                f"A file of the name {name!r} can never be sent: raise without `retry_after`, and with `certain`.",
            )
        else:
            expected += 1
            got = await _gets(case, person, expected)
            require(got.content == content, f"With the name {name!r} came other bytes.")
        with contextlib.suppress(NotOffered):
            before = len(live.inbox.messages)
            await case.adapter.share(
                person, live.account.address, Shared("", name, "image/png", content)
            )
            message = await _arrives(case, live, before + 1)
            await _is_whole(case, _media(message), content)
        await live.send(live.message(person, f"plain {number}"))
        await live.hears(person, f"plain {number}")
    require(
        not bystander.heard and not await case.adapter.shared(bystander),
        f"A name became a message to somebody else: {bystander.heard!r}",
    )
    require(
        live.sink.status is SessionStatus.CONNECTED and len(live.sink.states) <= 2,
        f"A name broke the connection: {[state.status.name for state in live.sink.states]}",
    )


async def _gets(case: Case, person: Person, count: int) -> Shared:
    """The newest file that somebody got, once there are so many."""
    deadline = time.monotonic() + case.adapter.patience
    while len(got := await case.adapter.shared(person)) < count:
        require(
            time.monotonic() < deadline,
            f"The contact should have got a file; they got {list(got)!r}, and {list(person.heard)[-2:]!r}.",
        )
        await asyncio.sleep(_TURN)
    return got[-1]


async def _arrives(case: Case, live: Live, count: int) -> RemoteMessage:
    """The newest message, once there are so many."""
    await case.until(
        lambda: len(live.inbox.messages) >= count,
        f"A file should have been delivered; what was is {live.inbox.events[-2:]!r}.",
    )
    return live.inbox.messages[-1]


def _media(message: RemoteMessage) -> Media:
    media = message.attachment
    require(
        isinstance(media, Media),
        f"A contact sent a file: `attachment` is a `Media`, with its address; the message is {message!r}.",
    )
    assert isinstance(media, Media)
    return media


async def _is_whole(case: Case, media: Media, content: bytes) -> None:
    """What is at the address of a file is what was sent."""
    require(
        media.url.startswith(("https://", "http://")), f"`Media.url` is no address: {media.url!r}"
    )
    there = await case.adapter.fetch(media.url)
    digest = hashlib.sha256(there).hexdigest()
    require(
        media.sha256 in (None, digest),
        f"`Media.sha256` is {media.sha256!r}, and that of what is there is {digest!r}.",
    )
    if media.key is not None and media.iv is not None:
        with contextlib.suppress(InvalidTag, ValueError):
            there = AESGCM(bytes.fromhex(media.key)).decrypt(bytes.fromhex(media.iv), there, None)
    require(
        there == content,
        f"The file has {len(content)} bytes; at `Media.url` are {len(there)}, or other ones.",
    )


async def _goes_on(case: Case, live: Live, person: Person, count: int) -> None:
    """What comes after a refused file arrives, and nothing of the file has."""
    await live.send(live.message(person, "the end"))
    await live.hears(person, "the end")
    shared = await case.adapter.shared(person)
    heard = [one.text for one in person.heard]
    require(
        len(shared) == count and "too large" not in heard and "gone" not in heard,
        f"Nothing of a file that was refused reaches the contact; they got {list(shared)[-1:]!r}, {heard!r}.",
    )


CHECKS = (
    files_of_the_user_reach_the_contact,
    files_of_a_contact_are_delivered,
    files_are_delivered_once_and_meanwhile,
    a_file_that_is_too_large_is_refused,
    a_file_that_cannot_be_read_is_told,
    hostile_names_of_files_do_no_harm,
)
