"""An XMPP user for tests and the demo: a contact, or the bridge user's own other client.

It shares no code with the bridge's connector, so that neither hides the other's mistakes.

The rule that must never break: it does nothing by itself. Presence subscriptions are answered, and
carbons switched on, only when asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from slixmpp import JID, ClientXMPP, Message
from slixmpp.exceptions import IqError, IqTimeout

from dm_bridge.errors import CredentialsError, NetworkError

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
    """One message with a body as it arrived.

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
        self._host, self._port = host, port
        self._arrived = asyncio.Event()
        self._carbons = carbons
        self._nickname = nickname
        context = ssl.create_default_context(cafile=ca_file)
        self._client = ClientXMPP(
            jid,
            password,
            plugin_config={"feature_mechanisms": {"unencrypted_scram": tls == "none"}},
            ssl_context=context,
        )
        self._client.enable_plaintext = tls == "none"
        self._client.enable_starttls = tls == "starttls"
        self._client.enable_direct_tls = tls == "direct"
        self._client.auto_authorize = auto_authorize
        self._client.auto_subscribe = bool(auto_authorize)
        for plugin in ("xep_0030", "xep_0199", "xep_0280", "xep_0172", "xep_0163", "xep_0313"):
            self._client.register_plugin(plugin)
        self._client.add_event_handler("message", self._on_message)
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
        self, to: str, body: str, *, id: str | None = None, type: Literal["chat", "normal"] = "chat"
    ) -> str:
        """Send a message; returns its stanza id."""
        message = self._client.make_message(JID(to), mbody=body, mtype=type)
        if id is not None:
            message["id"] = id
        if self._nickname is not None:
            message["nick"] = self._nickname
        message.send()
        return str(message["id"])

    def send_xml(self, xml: str) -> None:
        """Send raw bytes of the stream: stanzas that no library would make."""
        self._client.send_raw(xml)

    async def name_contact(self, jid: str, name: str) -> None:
        """Put a contact into the roster under a name."""
        future = self._client.update_roster(JID(jid), name=name)
        if future is not None:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await future

    def subscribe(self, jid: str) -> None:
        """Ask a contact to share presence."""
        self._client.send_presence_subscription(jid)

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
        self, predicate: Callable[[Received], bool], timeout: float = 20.0, *, after: int = 0
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

    async def wait_for_text(self, text: str, timeout: float = 20.0, *, after: int = 0) -> Received:
        """The first message whose body is ``text``."""
        return await self.wait_for(lambda received: received.body == text, timeout, after=after)

    def _on_message(self, message: Message) -> None:
        self._record(message, None)

    def _on_carbon_received(self, message: Message) -> None:
        self._record(message["carbon_received"], "received")

    def _on_carbon_sent(self, message: Message) -> None:
        self._record(message["carbon_sent"], "sent")

    def _on_error(self, message: Message) -> None:
        self.errors.append(_received(message, None))

    def _record(self, message: Message, carbon: Literal["sent", "received"] | None) -> None:
        if not message["body"]:
            return
        self.received.append(_received(message, carbon))
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
