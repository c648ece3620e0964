"""An XMPP user for tests and the demo: a contact, or the bridge user's own other client.

It shares no code with the bridge's connector, so that neither hides the other's mistakes.

The rule that must never break: it does nothing by itself. Presence subscriptions are answered, and
carbons switched on, only when asked for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import functools
import hashlib
import io
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from xml.etree.ElementTree import Element, fromstring

from slixmpp import JID, ClientXMPP, Message
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.plugins.xep_0363.http_upload import FileUploadError
from slixmpp.xmlstream import StanzaBase
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from dm_bridge.errors import CredentialsError, NetworkError

NOTICES = (
    "{urn:xmpp:receipts}received",
    "{urn:xmpp:chat-markers:0}displayed",
    "{http://jabber.org/protocol/chatstates}composing",
    "{http://jabber.org/protocol/chatstates}active",
)
"""What makes a stanza without text one of `XmppUser.notices`."""
_REACTIONS = "{urn:xmpp:reactions:0}reactions"
_AVATAR_DATA = "urn:xmpp:avatar:data"
_AVATAR_METADATA = "urn:xmpp:avatar:metadata"
_CONNECT_SECONDS = 20.0
_CLOSE_SECONDS = 2.0
_REASONS = {
    "failed_all_auth": "the password was refused",
    "connection_failed": "there is no connection",
    "disconnected": "the connection was closed",
    "stream_negotiated": "the server offers no way to log in without TLS",
}
_SLIXMPP_LOGGERS = ("slixmpp", "slixmpp.xmlstream", "slixmpp.features")


@dataclass(frozen=True, slots=True)
class Received:
    """One message with a body, or a reaction (XEP-0444), as it arrived.

    ``carbon``: ``sent`` or ``received`` when it is a copy from the account's other client (XEP-0280).
    ``at``: `time.monotonic` at arrival. ``xml``: the (inner) stanza.
    """

    sender: str
    recipient: str
    body: str
    id: str
    type: str
    carbon: Literal["sent", "received"] | None
    at: float
    xml: str


@functools.cache
def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """One for all: to read the system's authorities takes longer than to connect."""
    return ssl.create_default_context(cafile=ca_file)


class XmppUser:
    """One connection of one account: ``async with XmppUser(...) as juliet``."""

    def __init__(
        self,
        jid: str,
        password: str,
        host: str,
        port: int,
        *,
        tls: Literal["none", "starttls", "direct"] = "none",
        ca_file: Path | None = None,
        carbons: bool = False,
        auto_authorize: bool | None = None,
        nickname: str | None = None,
    ) -> None:
        """``auto_authorize``: accept (True), refuse (False) or leave open presence subscriptions.

        ``nickname``: published to subscribers, and told to strangers in messages (XEP-0172).
        """
        self.received: list[Received] = []
        self.errors: list[Received] = []
        self.notices: list[Received] = []
        """Stanzas without text that are about messages, or about typing; see `NOTICES`."""
        self.presences: set[tuple[str, str, str]] = set()
        """What resources ever said of themselves: bare JID, show and status."""
        self.present: dict[str, tuple[str, str]] = {}
        """The resources that are there now, by full JID: show and status."""
        self._host, self._port = host, port
        self.subscriptions: list[tuple[str, str]] = []
        """What came about presence: ``subscribe``, ``subscribed``, ``unsubscribed``, and from whom."""
        self._arrived = asyncio.Event()
        self._carbons = carbons
        self._nickname = nickname
        self._client = ClientXMPP(
            jid,
            password,
            plugin_config={"feature_mechanisms": {"unencrypted_plain": tls == "none"}},
            sasl_mech="PLAIN",  # the library's SCRAM computes for a tenth of a second
            ssl_context=_tls_context(ca_file),
        )
        self._client.enable_plaintext = tls == "none"
        self._client.enable_starttls = tls == "starttls"
        self._client.enable_direct_tls = tls == "direct"
        self._client.auto_authorize = auto_authorize
        self._client.auto_subscribe = bool(auto_authorize)
        for plugin in (
            "xep_0030",
            "xep_0199",
            "xep_0280",
            "xep_0172",
            "xep_0163",
            "xep_0313",
            "xep_0363",
        ):
            self._client.register_plugin(plugin)
        self._client.add_event_handler("message", self._on_message)
        # Reactions have no text, so they are no event of slixmpp's.
        path = MatchXPath(f"{{jabber:client}}message/{_REACTIONS}")
        self._client.register_handler(Callback("reactions", path, self._on_reactions))
        self._client.add_event_handler("presence", self._on_presence)
        for tag in NOTICES:
            found = MatchXPath(f"{{jabber:client}}message/{tag}")
            self._client.register_handler(Callback(tag, found, self._on_notice))
        for kind in ("subscribe", "subscribed", "unsubscribed"):
            self._client.add_event_handler(f"presence_{kind}", self._on_subscription)
        self._client.add_event_handler("message_error", self._on_error)
        self._client.add_event_handler("carbon_received", self._on_carbon_received)
        self._client.add_event_handler("carbon_sent", self._on_carbon_sent)

    @property
    def jid(self) -> str:
        """The full JID while connected, the bare one before."""
        return str(self._client.boundjid)

    @property
    def bare_jid(self) -> str:
        """The account's address."""
        return str(self._client.boundjid.bare)

    @property
    def connected(self) -> bool:
        """Whether there is a stream to the server."""
        return bool(self._client.is_connected())

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.disconnect()

    async def connect(self) -> None:
        """Log in, fetch the roster and send presence, so that messages arrive.

        Raises `CredentialsError` when the password is refused, `NetworkError` on any other failure.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[str] = loop.create_future()

        def settle(name: str) -> Callable[[object], None]:
            def handler(_: object) -> None:
                if not outcome.done():
                    outcome.set_result(name)

            return handler

        handlers = {name: settle(name) for name in ("session_start", *_REASONS)}
        for name, handler in handlers.items():
            self._client.add_event_handler(name, handler)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                self._client.connect(self._host, self._port)
                result = await outcome
                if result == "session_start":
                    await self._prepare()
                    return
        except TimeoutError:
            result = "timeout"
        finally:
            for name, handler in handlers.items():
                self._client.del_event_handler(name, handler)
        await self.disconnect()
        if result == "failed_all_auth":
            raise CredentialsError(f"The password of {self.bare_jid} was refused.")
        reason = _REASONS.get(result, "the server did not answer in time")
        raise NetworkError(f"{self.bare_jid} could not log in: {reason}.")

    async def _prepare(self) -> None:
        await self._client.get_roster()
        if self._carbons:
            await self._client.plugin["xep_0280"].enable()
        self._client.send_presence()
        await self._client.plugin["xep_0199"].ping()  # by its answer, presence was taken
        if self._nickname is not None:
            await self._client.plugin["xep_0172"].publish_nick(self._nickname)

    async def disconnect(self) -> None:
        """Close the stream; returns when nothing of it is left."""
        self._client.cancel_connection_attempt()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS * 2):
                await self._client.disconnect(wait=_CLOSE_SECONDS)
        self._client.abort()
        leftover = self._client._run_out_filters
        if leftover is not None:
            leftover.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leftover

    def send(
        self,
        to: str,
        body: str,
        *,
        id: str | None = None,
        type: Literal["chat", "normal"] = "chat",
        receipt: bool = False,
    ) -> str:
        """Send a message; returns its stanza id. ``receipt``: ask to be told that it arrived (XEP-0184)."""
        message = self._client.make_message(JID(to), mbody=body, mtype=type)
        if id is not None:
            message["id"] = id
        if self._nickname is not None:
            message["nick"] = self._nickname
        if receipt:
            message.xml.append(Element("{urn:xmpp:receipts}request"))
        message.send()
        return str(message["id"])

    def send_xml(self, xml: str) -> None:
        """Send raw bytes of the stream: stanzas that no library would make."""
        self._client.send_raw(xml)

    async def request(
        self, kind: Literal["get", "set"], payload: Element, timeout: float = 10.0
    ) -> Element:
        """Ask the account's own server; the answer. Raises `NetworkError`."""
        iq: Any = self._client.Iq(stype=kind)
        iq.xml.append(payload)
        try:
            answer: Any = await iq.send(timeout=timeout)
        except (IqError, IqTimeout) as error:
            raise NetworkError(f"{self.bare_jid} was refused something: {error!r}") from error
        found: Element = answer.xml
        return found

    async def name_contact(self, jid: str, name: str) -> None:
        """Put a contact into the roster under a name."""
        future = self._client.update_roster(JID(jid), name=name)
        if future is not None:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await future

    async def publish(self, node: str, payload: str, item: str = "current") -> None:
        """Publish an item with a node of the account (XEP-0163). Raises `NetworkError`."""
        pubsub = fromstring(  # noqa: S314 - the test's own
            f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'><item id='{item}'>"
            f"{payload}</item></publish></pubsub>"
        )
        await self.request("set", pubsub)

    async def publish_avatar(self, picture: bytes, type: str = "image/png") -> str:
        """Publish a picture (XEP-0084); its id."""
        digest = hashlib.sha1(picture, usedforsecurity=False).hexdigest()
        text = base64.b64encode(picture).decode()
        await self.publish(_AVATAR_DATA, f"<data xmlns='{_AVATAR_DATA}'>{text}</data>", digest)
        info = f"<info id='{digest}' bytes='{len(picture)}' type='{type}'/>"
        metadata = f"<metadata xmlns='{_AVATAR_METADATA}'>{info}</metadata>"
        await self.publish(_AVATAR_METADATA, metadata, digest)
        return digest

    async def publish_vcard(self, name: str, picture: bytes | None = None) -> None:
        """Say who the account is by vCard (XEP-0054)."""
        photo = ""
        if picture is not None:
            text = base64.b64encode(picture).decode()
            photo = f"<PHOTO><TYPE>image/png</TYPE><BINVAL>{text}</BINVAL></PHOTO>"
        vcard = fromstring(  # noqa: S314 - the test's own
            f"<vCard xmlns='vcard-temp'><FN>{name}</FN>{photo}</vCard>"
        )
        await self.request("set", vcard)

    async def upload(self, name: str, content: bytes, mimetype: str) -> str:
        """Put a file where the account's own server keeps them (XEP-0363); its address.

        Raises `NetworkError` when there is no such place.
        """
        plugin: Any = self._client.plugin["xep_0363"]
        try:
            async with asyncio.timeout(_CONNECT_SECONDS * 3):
                return str(
                    await plugin.upload_file(
                        name,
                        size=len(content),
                        content_type=mimetype,
                        input_file=io.BytesIO(content),
                    )
                )
        except (TimeoutError, IqError, IqTimeout, FileUploadError) as error:
            raise NetworkError(f"{self.bare_jid} could not upload a file: {error!r}") from error

    async def upload_slot(self, name: str, size: int, mimetype: str) -> tuple[str, dict[str, str]]:
        """Where a file may be put, and with which headers. Raises `NetworkError`."""
        plugin: Any = self._client.plugin["xep_0363"]
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                info = await plugin.find_upload_service()
                answer = await plugin.request_slot(info["from"], name, size, mimetype)
        except (TimeoutError, IqError, IqTimeout) as error:
            raise NetworkError(f"{self.bare_jid} got no slot: {error!r}") from error
        put = answer["http_upload_slot"]["put"]
        headers = {str(each["name"]): str(each["value"]) for each in put["headers"]}
        return str(put["url"]), {**headers, "Content-Type": mimetype}

    def subscribe(self, jid: str) -> None:
        """Ask a contact to share presence."""
        self._client.send_presence_subscription(jid)

    def approve(self, jid: str) -> None:
        """Let somebody see our presence who has asked."""
        self._client.send_presence(pto=jid, ptype="subscribed")

    async def asked_by(self, jid: str, timeout: float = 60.0) -> None:
        """Return once somebody has asked to see our presence. Raises TimeoutError."""
        await self._until(lambda: ("subscribe", jid) in self.subscriptions, timeout)

    async def subscribed_to(self, jid: str, timeout: float = 60.0) -> None:
        """Return once somebody lets us see their presence. Raises TimeoutError."""
        await self._until(lambda: ("subscribed", jid) in self.subscriptions, timeout)

    async def refused_by(self, jid: str, timeout: float = 60.0) -> None:
        """Return once somebody does not let us see their presence. Raises TimeoutError."""
        await self._until(lambda: ("unsubscribed", jid) in self.subscriptions, timeout)

    async def error(self, timeout: float = 60.0) -> Received:
        """The first message that came back. Raises TimeoutError."""
        await self._until(lambda: bool(self.errors), timeout)
        return self.errors[0]

    async def _until(self, condition: Callable[[], bool], timeout: float) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                await self._arrived.wait()

    def _on_subscription(self, presence: Any) -> None:
        self.subscriptions.append((str(presence["type"]), str(presence["from"].bare)))
        self._arrive()

    async def archive(self, since: datetime.datetime) -> list[Received]:
        """What the account's own server has kept (XEP-0313), sent and received, in order.

        Raises `NetworkError` when the server does not say.
        """
        found = []
        plugin: Any = self._client.plugin["xep_0313"]
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                async for message in plugin.iterate(start=since, rsm={"max": "100"}):
                    kept = message["mam_result"]["forwarded"]["stanza"]
                    found.append(_received(kept, None))
        except (TimeoutError, IqError, IqTimeout) as error:
            raise NetworkError(
                f"The archive of {self.bare_jid} cannot be read: {error!r}"
            ) from error
        return found

    def mark(self) -> int:
        """A position in `received`; give it to `wait_for` to look only at what comes after it."""
        return len(self.received)

    async def wait_for(
        self, predicate: Callable[[Received], bool], timeout: float = 60.0, *, after: int = 0
    ) -> Received:
        """The first message, received already or still to come, that ``predicate`` accepts.

        Raises TimeoutError after ``timeout`` seconds.
        """
        position = after
        try:
            async with asyncio.timeout(timeout):
                while True:
                    while position < len(self.received):
                        received = self.received[position]
                        position += 1
                        if predicate(received):
                            return received
                    await self._arrived.wait()
        except TimeoutError:
            raise TimeoutError(
                f"{self.bare_jid} waited {timeout:.0f} s in vain, with"
                f" {len(self.received) - after} other messages and {len(self.errors)} errors"
            ) from None

    async def wait_for_notice(
        self, tag: str, target: str | None = None, timeout: float = 60.0
    ) -> Received:
        """The first stanza without text that has this child, with the id of ``target`` if given.

        Raises TimeoutError after ``timeout`` seconds.
        """
        position = 0
        async with asyncio.timeout(timeout):
            while True:
                while position < len(self.notices):
                    notice = self.notices[position]
                    position += 1
                    child = fromstring(notice.xml).find(tag)  # noqa: S314 - from our own server
                    if child is not None and target in (None, child.get("id")):
                        return notice
                await self._arrived.wait()

    async def wait_for_presence(
        self, sender: str, show: str, status: str, timeout: float = 60.0
    ) -> None:
        """Return once some resource of ``sender`` says this. Raises TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            while (sender, show, status) not in self.presences:
                await self._arrived.wait()

    async def wait_for_text(self, text: str, timeout: float = 60.0, *, after: int = 0) -> Received:
        """The first message whose body is ``text``."""
        return await self.wait_for(lambda received: received.body == text, timeout, after=after)

    def _on_message(self, message: Message) -> None:
        self._record(message, None)

    def _on_reactions(self, stanza: StanzaBase) -> None:
        assert isinstance(stanza, Message)
        self._record(stanza, None)

    def _on_presence(self, presence: Any) -> None:
        show = presence.xml.findtext("{jabber:client}show") or ""
        self.presences.add((presence["from"].bare, show, str(presence["status"])))
        who, kind = presence["from"], presence.xml.get("type")
        if kind is None:
            self.present[str(who)] = show, str(presence["status"])
        elif kind == "unavailable":
            self.present.pop(str(who), None)
        self._arrive()

    def _on_notice(self, stanza: StanzaBase) -> None:
        assert isinstance(stanza, Message)
        if not stanza["body"]:
            self.notices.append(_received(stanza, None))
            self._arrive()

    def _on_carbon_received(self, message: Message) -> None:
        self._record(message["carbon_received"], "received")

    def _on_carbon_sent(self, message: Message) -> None:
        self._record(message["carbon_sent"], "sent")

    def _on_error(self, message: Message) -> None:
        self.errors.append(_received(message, None))
        self._arrive()

    def _record(self, message: Message, carbon: Literal["sent", "received"] | None) -> None:
        if not message["body"] and message.xml.find(_REACTIONS) is None:
            return
        self.received.append(_received(message, carbon))
        self._arrive()

    def _arrive(self) -> None:
        self._arrived.set()
        self._arrived = asyncio.Event()


def _received(message: Message, carbon: Literal["sent", "received"] | None) -> Received:
    return Received(
        sender=str(message["from"]),
        recipient=str(message["to"]),
        body=str(message["body"]),
        id=str(message["id"]),
        type=str(message["type"]),
        carbon=carbon,
        at=time.monotonic(),
        xml=str(message),
    )


def quiet_slixmpp() -> None:
    """Keep slixmpp's own log lines out of a terminal."""
    for name in _SLIXMPP_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
