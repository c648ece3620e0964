"""Connectors that do harm to files.

The rule that must never break: all else about them is the honest connector.
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from dm_bridge.errors import NetworkError
from dm_bridge.ids import RemoteId
from dm_bridge.network.api import Outgoing, OutgoingMessage
from dm_bridge.network.events import RemoteEvent, RemoteMessage, Text
from dm_bridge.network.media import Media, MediaKind, OutgoingMedia
from dm_bridge.testing.conformance import Shared

from .loft import RETRY, Link, Note
from .pigeons import PigeonSession
from .sabotage import found_by


@found_by("files_of_the_user_reach_the_contact")
class SendsFilesCut(PigeonSession):
    async def post_file(self, link: Link, message: Outgoing, text: str, file: Shared) -> str:
        cut = replace(file, content=file.content[:65536])
        return await super().post_file(link, message, text, cut)


@found_by("files_of_the_user_reach_the_contact")
class SendsTextAsText(PigeonSession):
    """It makes lines of what are bytes."""

    async def post_file(self, link: Link, message: Outgoing, text: str, file: Shared) -> str:
        if file.mimetype.startswith("text/"):
            file = replace(file, content=file.content.replace(b"\r\n", b"\n"))
        return await super().post_file(link, message, text, file)


@found_by("files_of_the_user_reach_the_contact")
class SendsFilesWithoutANameOfTheirOwn(PigeonSession):
    async def post_file(self, link: Link, message: Outgoing, text: str, file: Shared) -> str:
        return await super().post_file(link, message, text, replace(file, name="file.bin"))


@found_by("files_of_the_user_reach_the_contact")
class SendsFilesWithoutACaption(PigeonSession):
    async def post_file(self, link: Link, message: Outgoing, text: str, file: Shared) -> str:
        return await super().post_file(link, message, "", replace(file, text=""))


@found_by("files_of_the_user_reach_the_contact")
class SendsWhatIsSaidOnly(PigeonSession):
    async def send_file(self, message: OutgoingMessage, file: OutgoingMedia) -> RemoteId:
        return await self.send(replace(message, attachment=None))


@found_by("files_of_a_contact_are_delivered")
class DeliversLinks(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteMessage) and isinstance(event.attachment, Media):
            return replace(event, attachment=None, content=Text(event.attachment.url))
        return event


class ChangesFiles(PigeonSession):
    """Makes something else of a file that came."""

    def media(self, file: Shared) -> Media:
        return self.changed(super().media(file), file)

    def changed(self, media: Media, file: Shared) -> Media:
        raise NotImplementedError


@found_by("files_of_a_contact_are_delivered")
class LosesNames(ChangesFiles):
    def changed(self, media: Media, file: Shared) -> Media:
        return replace(media, name="")


@found_by("files_of_a_contact_are_delivered")
class CountsInKilobytes(ChangesFiles):
    def changed(self, media: Media, file: Shared) -> Media:
        return replace(media, size=len(file.content) // 1000)


@found_by("files_of_a_contact_are_delivered")
class TakesAllForPictures(ChangesFiles):
    def changed(self, media: Media, file: Shared) -> Media:
        return replace(media, kind=MediaKind.IMAGE)


@found_by("files_of_a_contact_are_delivered")
class NamesTheAddressOfAnotherFile(ChangesFiles):
    def changed(self, media: Media, file: Shared) -> Media:
        return replace(media, url=self.loft.keep(b"another"))


@found_by("files_of_a_contact_are_delivered")
class GivesAWrongDigest(ChangesFiles):
    def changed(self, media: Media, file: Shared) -> Media:
        return replace(media, sha256="00" * 32)


@found_by("files_of_a_contact_are_delivered")
class GivesAKeyThatDoesNotFit(ChangesFiles):
    def changed(self, media: Media, file: Shared) -> Media:
        return replace(
            media, url=self.loft.keep(bytes(len(file.content))), key="0" * 64, iv="0" * 24
        )


@found_by("files_of_a_contact_are_delivered")
class SaysTheAddressToo(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if isinstance(event, RemoteMessage) and isinstance(event.attachment, Media):
            return replace(event, content=Text(f"{event.content.body}\n{event.attachment.url}"))
        return event


@found_by("files_are_delivered_once_and_meanwhile")
class ReadsNoFilesOfTheRecord(PigeonSession):
    """What came before it connected has no file."""

    def listen(self) -> None:
        super().listen()
        self.live = len(self.box.log)

    def event(self, note: Note) -> RemoteEvent | None:
        return super().event(replace(note, file=None) if note.number <= self.live else note)


@found_by("files_are_delivered_once_and_meanwhile")
class GivesFilesNewIds(PigeonSession):
    """And it begins anew with each session."""

    def event(self, note: Note) -> RemoteEvent | None:
        event = super().event(note)
        if note.file is not None and isinstance(event, RemoteMessage):
            return replace(event, id=RemoteId(secrets.token_hex(4)))
        return event

    def listen(self) -> None:
        super().listen()
        self.position = min([note.number - 1 for note in self.box.log if note.file], default=0)


@found_by("a_file_that_is_too_large_is_refused")
class SendsWhateverItGets(PigeonSession):
    async def send_file(self, message: OutgoingMessage, file: OutgoingMedia) -> RemoteId:
        async with file.source.open() as opened:
            content = b"".join([chunk async for chunk in opened.chunks])
        shared = Shared(self.box.address, file.name, file.mimetype, content)
        return RemoteId(await self.post_file(self.linked(), message, "", shared))


@found_by("a_file_that_is_too_large_is_refused")
class TriesLargeFilesAgain(PigeonSession):
    async def send_file(self, message: OutgoingMessage, file: OutgoingMedia) -> RemoteId:
        try:
            return await super().send_file(message, file)
        except NetworkError as error:
            raise NetworkError(str(error), retry_after=RETRY) from error


@found_by("a_file_that_is_too_large_is_refused")
class DoesNotSayHowMuchIsAllowed(PigeonSession):
    async def send_file(self, message: OutgoingMessage, file: OutgoingMedia) -> RemoteId:
        try:
            return await super().send_file(message, file)
        except NetworkError as error:
            raise NetworkError("This cannot be sent.") from error


@found_by("a_file_that_is_too_large_is_refused")
class SaysTheCaptionOfWhatItRefuses(PigeonSession):
    async def send_file(self, message: OutgoingMessage, file: OutgoingMedia) -> RemoteId:
        if message.content.body:
            self.loft.write(self.box.address, message.chat, message.content.body)
        return await super().send_file(message, file)


@found_by("a_file_that_cannot_be_read_is_told")
class SendsWhatItCouldRead(PigeonSession):
    async def send_file(self, message: OutgoingMessage, file: OutgoingMedia) -> RemoteId:
        content = b""
        try:
            async with file.source.open() as opened:
                async for chunk in opened.chunks:
                    content += chunk
        except NetworkError:
            pass
        shared = Shared(self.box.address, file.name, file.mimetype, content)
        return RemoteId(await self.post_file(self.linked(), message, "", shared))


@found_by("a_file_that_cannot_be_read_is_told")
class HidesWhyItFailed(PigeonSession):
    async def send_file(self, message: OutgoingMessage, file: OutgoingMedia) -> RemoteId:
        try:
            return await super().send_file(message, file)
        except NetworkError as error:
            raise NetworkError("Something went wrong with this file.") from error


@found_by("hostile_names_of_files_do_no_harm")
class ObeysNames(PigeonSession):
    async def post_file(self, link: Link, message: Outgoing, text: str, file: Shared) -> str:
        for line in file.name.splitlines()[1:]:
            if line.startswith("TO "):
                _, to, said = line.split(" ", 2)
                self.loft.write(self.box.address, to, said)
        return await super().post_file(link, message, text, file)


@found_by("hostile_names_of_files_do_no_harm")
class BreaksOnNames(PigeonSession):
    async def post_file(self, link: Link, message: Outgoing, text: str, file: Shared) -> str:
        try:
            file.name.encode()
        except UnicodeError:
            self.unlink()
            raise NetworkError("The connection was lost.", retry_after=RETRY) from None
        return await super().post_file(link, message, text, file)


@found_by("hostile_names_of_files_do_no_harm")
class PassesOverFilesWithoutAName(PigeonSession):
    def event(self, note: Note) -> RemoteEvent | None:
        return None if note.file is not None and not note.file.name else super().event(note)
