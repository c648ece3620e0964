"""Puts files where contacts can fetch them: HTTP File Upload (XEP-0363).

The rule that must never break: wherever a server sends us with a file, it goes by https to a public address, or to
where the admin said that the user's server is; and with no header that the XEP does not name.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from collections.abc import AsyncIterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import structlog

from dm_bridge.connectors.xmpp.characters import xml_text
from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.connectors.xmpp.failures import PASSING, RejectedError
from dm_bridge.connectors.xmpp.files import Uploaded
from dm_bridge.connectors.xmpp.transport import Route
from dm_bridge.errors import NetworkError
from dm_bridge.network.media import File, Opened, OutgoingMedia, plain_type
from dm_bridge.texts import phrase
from dm_bridge.web import Web

log = structlog.get_logger(__name__)

UPLOAD = "{urn:xmpp:http:upload:0}"
DISCO_ITEMS = "{http://jabber.org/protocol/disco#items}"
DISCO_INFO = "{http://jabber.org/protocol/disco#info}"
DATA = "{jabber:x:data}"
MAX_ITEMS = 20
"""Parts of a server that are asked whether they take files."""
DEADLINE = 600.0
"""Seconds for one file."""
MAX_PREVIEW = 1_000_000
"""Bytes; a larger one would be no help."""
_HEADERS = {"authorization": "Authorization", "cookie": "Cookie", "expires": "Expires"}
_MAX_HEADER = 8192
_MAX_NAME = 100
UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Service:
    """What takes files. ``largest``: in bytes; None when it does not say."""

    jid: str
    largest: int | None


class Uploads:
    """The connections on which files leave, of all logins."""

    def __init__(self) -> None:
        self._public = Web()
        self._named: dict[str, Web] = {}

    def to(self, route: Route) -> Web:
        """For the files of one server's users. One that the admin named may have private addresses."""
        server, domain = route.server, route.dns_name
        if server is None:
            return self._public
        if domain not in self._named:
            self._named[domain] = Web(
                lambda host: host in (domain, server.host) or host.endswith(f".{domain}")
            )
        return self._named[domain]

    async def close(self) -> None:
        """End all connections."""
        for web in (self._public, *self._named.values()):
            await web.close()


class UploadService:
    """Of one login. It is looked for on each new session, and again with a file if that came to nothing."""

    def __init__(self, route: Route, web: Web, timeout: float) -> None:
        self._route = route
        self._web = web
        self._timeout = timeout
        self._found: Service | None = None
        self._looked = False

    async def look(self, client: Client) -> None:
        """There is a new session, and the server may be another one."""
        self._looked = False
        try:
            await self._service(client)
        except NetworkError as error:
            log.info("whether the server takes files is not known yet", error=str(error))

    @property
    def largest(self) -> int | None:
        """Bytes of a file, as far as is known; 0 when there is no service."""
        if self._found is None:
            return 0 if self._looked else None
        return self._found.largest

    async def upload(self, client: Client, file: OutgoingMedia) -> Uploaded:
        """Put a file there. Raises `NetworkError`."""
        service = await self._service(client)
        if service is None:
            raise NetworkError(phrase("xmpp-no-files", domain=self._route.domain))
        try:
            async with asyncio.timeout(DEADLINE), file.source.open() as opened:
                _check_size(opened.size, service, self._route.domain)
                return await self._put(client, service, file, opened)
        except TimeoutError as error:
            raise NetworkError(
                phrase("xmpp-file-in-time", domain=self._route.domain), retry_after=30.0
            ) from error

    async def upload_with_preview(
        self, client: Client, file: OutgoingMedia
    ) -> tuple[Uploaded, Uploaded | None]:
        """Put a file there, and then its preview, if there is one and it can be: it is no loss.

        Raises `NetworkError` for the file.
        """
        there, small = await self.upload(client, file), file.preview
        if small is None or small.size is None or small.size > MAX_PREVIEW:
            return there, None
        try:
            return there, await self.upload(client, small)
        except NetworkError:
            return there, None

    async def _put(
        self, client: Client, service: Service, file: OutgoingMedia, opened: Opened
    ) -> Uploaded:
        mimetype = plain_type(file.mimetype) or UNKNOWN
        request = Element(
            f"{UPLOAD}request",
            {
                "filename": slot_name(file),
                "size": str(opened.size),
                "content-type": mimetype,
            },
        )
        try:
            answer = await client.request("get", request, self._timeout, to=service.jid)
        except RejectedError as error:
            raise self._refused(error, opened.size) from error
        slot = _slot(answer)
        if slot is None:
            raise NetworkError(phrase("xmpp-file-no-place", domain=self._route.domain))
        put, get, headers = slot
        headers |= {"Content-Type": mimetype, "Content-Length": str(opened.size)}
        digest = hashlib.sha256()

        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in opened.chunks:
                digest.update(chunk)
                yield chunk

        async with self._web.put(put, chunks(), headers, self._route.starttls_context) as response:
            status = response.status
        if status not in (200, 201, 204):
            raise _not_taken(self._route.domain, status)
        return Uploaded(get, opened.size, digest.digest())

    def _refused(self, error: RejectedError, size: int) -> NetworkError:
        domain = self._route.domain
        match error.condition:
            case "not-acceptable":
                return NetworkError(phrase("xmpp-file-not-wanted", domain=domain))
            case "resource-constraint":
                return NetworkError(phrase("xmpp-files-too-many", domain=domain))
            case condition if condition in PASSING:
                return error
            case condition:
                return NetworkError(
                    phrase("xmpp-files-not-allowed", domain=domain, condition=condition)
                )

    async def _service(self, client: Client) -> Service | None:
        if not self._looked or self._found is None:
            self._found = await self._look(client)
            self._looked = True
        return self._found

    async def _look(self, client: Client) -> Service | None:
        """The first part of the server that takes files (XEP-0363, section 4)."""
        domain = client.account.domain
        jids = [domain]
        try:
            items = await client.request(
                "get", Element(f"{DISCO_ITEMS}query"), self._timeout, to=domain
            )
            found = items.findall(f"{DISCO_ITEMS}query/{DISCO_ITEMS}item")
            jids = [each.get("jid", "") for each in found[:MAX_ITEMS]] + jids
        except RejectedError:
            pass  # then the server itself, at least
        services = await asyncio.gather(*(self._at(client, jid) for jid in filter(None, jids)))
        return next(filter(None, services), None)

    async def _at(self, client: Client, jid: str) -> Service | None:
        try:
            info = await client.request("get", Element(f"{DISCO_INFO}query"), self._timeout, to=jid)
        except RejectedError:
            return None
        features = {each.get("var") for each in info.iter(f"{DISCO_INFO}feature")}
        return Service(jid, _largest(info)) if UPLOAD[1:-1] in features else None


def _check_size(size: int, service: Service, domain: str) -> None:
    if service.largest is not None and size > service.largest:
        raise NetworkError(
            phrase(
                "xmpp-file-too-large",
                domain=domain,
                most=f"{service.largest / 1e6:.1f}",
                size=f"{size / 1e6:.1f}",
            )
        )


def _not_taken(domain: str, status: int) -> NetworkError:
    if status >= 500 or status in (408, 429):
        return NetworkError(
            phrase("xmpp-files-not-now", domain=domain, status=str(status)), retry_after=30.0
        )
    return NetworkError(phrase("xmpp-file-not-taken", domain=domain, status=str(status)))


def _largest(info: Element) -> int | None:
    for form in info.iter(f"{DATA}x"):
        values = {
            each.get("var"): (each.findtext(f"{DATA}value") or "").strip()
            for each in form.findall(f"{DATA}field")
        }
        size = values.get("max-file-size") or ""
        if values.get("FORM_TYPE") == UPLOAD[1:-1] and size.isascii() and size.isdigit():
            return int(size[:18])
    return None


def _slot(answer: Element) -> tuple[str, str, dict[str, str]] | None:
    """Where to put the file, where it is to be had then, and the headers for the former."""
    put, get = answer.find(f"{UPLOAD}slot/{UPLOAD}put"), answer.find(f"{UPLOAD}slot/{UPLOAD}get")
    if put is None or get is None or not put.get("url") or not get.get("url"):
        return None
    headers = {}
    for header in put.findall(f"{UPLOAD}header"):
        name = _HEADERS.get(header.get("name", "").strip().lower())
        value = "".join((header.text or "").splitlines()).strip()
        if name is not None and len(value) <= _MAX_HEADER:
            headers[name] = value
    return put.get("url", ""), get.get("url", ""), headers


def slot_name(file: File) -> str:
    """A name for a file in an address: short, of one piece, and with the ending that tells its type."""
    name = "".join(
        "_" if char in '/\\?#%*:|"<>' or not char.isprintable() else char for char in file.name
    )
    name = xml_text(name).strip(". ")
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 10:
        stem, ending = name, (mimetypes.guess_extension(file.mimetype) or "").lstrip(".")
    stem = stem[: _MAX_NAME - 11] or file.kind.value
    return f"{stem}.{ending}" if ending else stem
