"""One connection to one XMPP account: from the first packet to the end of the stream.

slixmpp supplies stanzas, SASL and feature negotiation. Connecting, parsing, TLS and the end of a
connection are ours, because slixmpp reconnects by itself, logs what it read, expands entities,
and leaves tasks behind. A `Client` connects once; the session makes a new one for each attempt.

The rule that must never break: nothing that arrives before the server has proved itself and
accepted the login reaches the session, and no task of a client outlives `dispose`.
"""

# slixmpp annotates only part of what it is called with.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any, Literal
from xml.etree.ElementTree import Element

import structlog
from slixmpp import ClientXMPP, Message
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.stanza import Iq
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from dm_bridge.connectors.xmpp import failures, identity
from dm_bridge.connectors.xmpp.acks import (
    ACK_REQUEST,
    PLUGIN,
    Resumption,
    StreamManagement,
    register_stream_management,
)
from dm_bridge.connectors.xmpp.parser import StanzaRead, StreamBroken, StreamClosed, StreamParser
from dm_bridge.connectors.xmpp.sasl import MECHANISM_NAMES
from dm_bridge.connectors.xmpp.stanzas import Account, ping, presence_payload, roster_names
from dm_bridge.connectors.xmpp.transport import Route, Target
from dm_bridge.errors import NetworkError

_log = structlog.get_logger(__name__)
_CLOSE_SECONDS = 1.0
_PROCEED = "{urn:ietf:params:xml:ns:xmpp-tls}proceed"
_TLS_FAILURE = "{urn:ietf:params:xml:ns:xmpp-tls}failure"
_ROSTER = "{jabber:iq:roster}query"


class Client(ClientXMPP):
    """See the module. Callbacks, all synchronous:

    ``on_message``: a message stanza, in stream order, of an authenticated stream.
    ``on_accepted``: the server accepted the message with this id (with stream management only).
    ``on_resume_refused``: the server cannot continue ``previous``; the argument says whether all it
    had accepted of the old stream has been passed to ``on_accepted``.
    ``on_roster``: names from a roster push; the roster itself is asked for by the session.
    """

    def __init__(
        self,
        jid: str,
        password: str,
        route: Route,
        *,
        previous: Resumption | None = None,
        on_message: Callable[[Element], None] = lambda _: None,
        on_accepted: Callable[[str], None] = lambda _: None,
        on_resume_refused: Callable[[bool], None] = lambda _: None,
        on_roster: Callable[[dict[str, str | None], str | None], None] = lambda _, __: None,
    ) -> None:
        self._route = route
        register_stream_management()
        super().__init__(
            jid,
            password,
            plugin_config={
                "feature_mechanisms": {
                    "use_mechs": set(MECHANISM_NAMES),
                    "unencrypted_plain": not route.encrypted,
                    "unencrypted_scram": not route.encrypted,
                }
            },
            ssl_context=route.starttls_context,
            loop=asyncio.get_running_loop(),
        )
        self.failure: NetworkError | None = None
        self.closed = asyncio.Event()
        self.last_received = 0.0
        self._doing = "connecting"
        self._closing = False
        self._may_resume = True
        self._ready: asyncio.Future[bool | None] = self.loop.create_future()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._requests: set[asyncio.Future[Any]] = set()
        self._stream_parser: StreamParser | None = None
        self._previous = previous
        self._on_message, self._on_accepted, self._on_roster = on_message, on_accepted, on_roster
        self._on_resume_refused = on_resume_refused
        self.register_plugin(PLUGIN)
        plugin: Any = self.plugin[PLUGIN]  # type: ignore[literal-required]
        self.acks: StreamManagement = plugin
        if previous is not None:
            self.acks.continue_from(previous)
        self._replace_handlers()

    def _replace_handlers(self) -> None:
        """Messages come to us; presence is not read at all, so no subscription is ever answered."""
        for name in ("IM", "IMError", "Presence"):
            self.remove_handler(name)
        for name, path, handler in (
            ("message", "{jabber:client}message", self._on_message_stanza),
            ("disco", f"{{jabber:client}}iq/{identity.DISCO_INFO}", self._on_disco),
            ("ping", "{jabber:client}iq/{urn:xmpp:ping}ping", self._on_ping),
        ):
            self.register_handler(Callback(f"dm_bridge {name}", MatchXPath(path), handler))
        for event, react in (
            ("auth_success", lambda _: self._phase("starting the session")),
            ("failed_auth", self._on_failed_auth),
            ("failed_all_auth", lambda _: self.fail(failures.no_mechanism(self.domain))),
            ("stream_negotiated", self._on_negotiated),
            ("session_resumed", lambda _: self._become_ready(True)),
            ("stanza_acked", self._on_stanza_acked),
            ("sm_failed", lambda _: self._on_resume_refused(self.acks.resume_refused_exactly)),
            ("sm_inconsistent", self._on_sm_inconsistent),
        ):
            self.add_event_handler(event, react)

    @property
    def domain(self) -> str:
        return self._route.domain

    @property
    def account(self) -> Account:
        """Whose stream this is."""
        return Account(self.boundjid.bare, self.boundjid.full, self.boundjid.domain)

    # -- the life of the connection

    async def open(self, timeout: float) -> bool:
        """Connect, encrypt, authenticate, and bind or resume; returns whether a stream was resumed.

        Raises `CredentialsError` when the server refuses the login, `NetworkError` otherwise. The
        client must be disposed of in any case.
        """
        try:
            async with asyncio.timeout(timeout):
                self._run_out_filters = asyncio.ensure_future(self.run_filters())
                await self._connect()
                resumed = await self._ready
        except TimeoutError:
            self.fail(failures.timed_out(self.domain))
            resumed = None
        except NetworkError as error:
            self.fail(error)
            resumed = None
        if resumed is None:
            raise self.failure or failures.closed(self.domain, self._doing)
        self._doing = ""
        return resumed

    async def _connect(self) -> None:
        errors: list[NetworkError] = []
        for target in await self._route.targets():
            error = await self._try(target)
            if error is None:
                return
            errors.append(error)
        raise errors[0] if errors else failures.not_found(self.domain, self.domain)

    async def _try(self, target: Target) -> NetworkError | None:
        self.enable_starttls = self._route.encrypted and not target.direct
        self._current_connection_attempt = self.loop.create_future()
        try:
            await self.loop.create_connection(
                lambda: self,
                target.host,
                target.port,
                ssl=self._route.direct_context if target.direct else None,
                server_hostname=self.domain if target.direct else None,
            )
        except OSError as error:
            return failures.unreachable(self.domain, f"{target.host}:{target.port}", error)
        return None

    async def close(self) -> None:
        """Say goodbye and end the stream; waits about a second for the server, then goes."""
        if self.transport is not None and self._ready.done() and self.failure is None:
            self._closing = True
            goodbye = self.Presence()
            goodbye["type"] = "unavailable"
            self.send(goodbye)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self.waiting_queue.join()
                    if self.transport is not None:
                        if self.acks.enabled_in:
                            self.acks.send_ack()
                        self.send_raw(self.stream_footer)
                    await self.closed.wait()
        await self.dispose()

    async def dispose(self) -> None:
        """End whatever is left: transport, tasks, timers. Idempotent."""
        self._closing = True
        for handle in self.scheduled_events.values():
            handle.cancel()
        self.scheduled_events.clear()
        if self.transport is not None:
            self.transport.abort()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self.closed.wait()
        self._finish()
        tasks = {task for task in self._tasks if task is not asyncio.current_task()}
        if isinstance(self._run_out_filters, asyncio.Task):
            tasks.add(self._run_out_filters)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def fail(self, error: NetworkError) -> None:
        """End the connection because of ``error``; the first error is the one that counts."""
        if self.failure is None and not self._closing:
            self.failure = error
        if self.transport is not None:
            self.transport.abort()
        else:
            self._finish()

    def _finish(self) -> None:
        self._stream_parser = None
        if self.failure is None and not self._closing:
            self.failure = failures.closed(self.domain, self._doing)
        if not self._ready.done():
            self._ready.set_result(None)
        for request in self._requests:
            if not request.done():
                request.set_exception(self.failure or failures.closed(self.domain, ""))
        self.closed.set()

    def resumption(self) -> Resumption | None:
        """What a later client needs to continue this stream, if the server will know it."""
        if not self._may_resume or self._closing_in_order():
            return None
        if self.acks.enabled_in:
            return self.acks.resumption(self.boundjid.full)
        return self._previous if self.acks.sm_id else None

    def _closing_in_order(self) -> bool:
        return self._closing and self.failure is None

    def unsent(self) -> set[str]:
        """Ids of messages that never left: after the connection ended, nobody has seen them."""
        ids = set()
        while not self.waiting_queue.empty():
            data, _ = self.waiting_queue.get_nowait()
            self.waiting_queue.task_done()
            if isinstance(data, Message):
                ids.add(data.xml.get("id", ""))
        return ids

    def pause(self, paused: bool) -> None:
        """Stop or go on reading from the server."""
        if self.transport is not None and not self.transport.is_closing():
            if paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # -- what the session sends

    async def request(
        self, kind: Literal["get", "set"], payload: Element, timeout: float
    ) -> Element:
        """Ask the account's server; returns the answering ``iq``. Raises `NetworkError`."""
        iq = self.Iq()
        iq["type"] = kind
        iq.xml.append(payload)
        try:
            answer = await self._sent(iq, timeout)
        except IqError as error:
            raise failures.rejected(self.domain, self._doing, error.condition) from None
        return answer.xml

    async def ping(self, timeout: float) -> None:
        """Return once the server has handled all we sent before. Raises `NetworkError`."""
        iq = self.Iq()
        iq["type"] = "get"
        iq.xml.append(ping())
        with contextlib.suppress(IqError):
            await self._sent(iq, timeout)

    async def _sent(self, iq: Iq, timeout: float) -> Iq:
        if self.closed.is_set():
            raise self.failure or failures.closed(self.domain, "")
        future: asyncio.Future[Iq] = iq.send(timeout=timeout)
        self._requests.add(future)
        try:
            return await future
        except IqTimeout:
            raise failures.timed_out(self.domain) from None
        finally:
            self._requests.discard(future)

    def send_available(self) -> None:
        """Send the initial presence."""
        presence = self.Presence()
        for child in presence_payload(identity.capabilities()):
            presence.xml.append(child)
        self.send(presence)

    def send_chat(self, to: str, identifier: str, payload: list[Element]) -> None:
        """Send a message of type chat, and ask for its acknowledgement where there are any."""
        message = Message(self)
        message.xml.attrib.clear()
        message.xml.attrib.update({"to": to, "type": "chat", "id": identifier})
        for child in payload:
            message.xml.append(child)
        self.send(message)
        if self.acks.active:
            self.send(ACK_REQUEST)

    # -- what arrives

    def init_parser(self) -> None:
        self._stream_parser = StreamParser()

    def connection_made(self, transport: asyncio.BaseTransport, send_event: bool = True) -> None:
        if self._closing or self.failure is not None:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        super().connection_made(transport, send_event)
        encrypted = isinstance(self.socket, ssl.SSLObject)
        self._phase(
            "logging in" if encrypted or not self._route.encrypted else "starting encryption"
        )

    def data_received(self, data: bytes | str) -> None:
        parser = self._stream_parser
        if parser is None or isinstance(data, str):
            return
        self.last_received = self.loop.time()
        for item in parser.feed(data):
            if parser is not self._stream_parser:
                return
            match item:
                case StanzaRead(element):
                    self._spawn_event(element)
                    if element.tag == _PROCEED:
                        self._stream_parser = None  # what follows in plain text is not the server's
                    elif element.tag == _TLS_FAILURE:
                        self.fail(failures.no_encryption(self.domain))
                case StreamBroken(reason):
                    self._may_resume = False
                    self.fail(failures.broken(self.domain, reason))
                case StreamClosed():
                    if not self._closing and self.transport is not None:
                        self.send_raw(self.stream_footer)
                    if self.transport is not None:
                        self.transport.close()

    def connection_lost(self, exception: BaseException | None) -> None:
        self.transport = None
        self.socket = None
        self._finish()

    def eof_received(self) -> None:
        return

    async def start_tls(self) -> bool:
        self._adopt_task()
        transport = self.transport
        if transport is None:
            return False
        self._current_connection_attempt = self.loop.create_future()
        try:
            encrypted = await self.loop.start_tls(
                transport, self, self._route.starttls_context, server_hostname=self.domain
            )
        except OSError as error:
            self.fail(failures.unreachable(self.domain, self.domain, error))
            return False
        if encrypted is None:
            self.fail(failures.closed(self.domain, self._doing))
            return False
        self.connection_made(encrypted, send_event=False)
        return True

    async def _handle_stream_features(self, features: Any) -> bool | None:
        self._adopt_task()
        plain = not isinstance(self.socket, ssl.SSLObject)
        if plain and self._route.encrypted and "starttls" not in features["features"]:
            self.fail(failures.no_encryption(self.domain))
            return None
        try:
            return await super()._handle_stream_features(features)
        except IqError as error:
            self.fail(failures.rejected(self.domain, self._doing, error.condition))
        except IqTimeout:
            self.fail(failures.timed_out(self.domain))
        except Exception as error:
            _log.warning("stream negotiation failed", domain=self.domain, error=repr(error))
            self.fail(failures.closed(self.domain, self._doing))
        return None

    def _handle_stream_error(self, error: Any) -> None:
        self.fail(failures.stream_error(self.domain, error["condition"]))

    def _handle_roster(self, iq: Any) -> None:
        """A roster push; slixmpp has checked that it comes from the account itself."""
        query = iq.xml.find(_ROSTER)
        if iq["type"] != "set" or query is None:
            return
        self._on_roster(roster_names(query), query.get("ver"))
        self.Iq(stype="result", sto=iq["from"], sid=iq["id"]).send()

    def _on_message_stanza(self, stanza: Any) -> None:
        if self.authenticated and (self.bound or self.acks.enabled_in):
            self._on_message(stanza.xml)

    def _on_disco(self, iq: Any) -> None:
        if iq["type"] != "get":
            return
        answer = identity.answer(iq.xml.find(identity.DISCO_INFO).get("node"))
        reply = iq.reply()
        if answer is None:
            reply["type"] = "error"
            reply["error"]["condition"] = "item-not-found"
        else:
            reply.xml.append(answer)
        reply.send()

    def _on_ping(self, iq: Any) -> None:
        if iq["type"] == "get":
            iq.reply().send()

    def _on_stanza_acked(self, stanza: Any) -> None:
        if isinstance(stanza, Message):
            self._on_accepted(stanza.xml.get("id", ""))

    def _on_failed_auth(self, stanza: Any) -> None:
        """Stop at the first refusal: slixmpp would offer the password by every other mechanism."""
        condition = str(stanza["condition"])
        if condition not in failures.OTHER_MECHANISM:
            plugin: Any = self.plugin["feature_mechanisms"]
            plugin.mech_list = set()
            self.fail(failures.refused(self.requested_jid.bare, self.domain, condition))

    def _on_negotiated(self, _: object) -> None:
        if not self.authenticated:
            self.fail(failures.no_mechanism(self.domain))
        elif not self.bound:
            self.fail(failures.closed(self.domain, self._doing))
        else:
            self._become_ready(False)

    def _on_sm_inconsistent(self, _: object) -> None:
        self._may_resume = False
        self.fail(failures.broken(self.domain, "an acknowledgement for what was never sent to it"))

    def _become_ready(self, resumed: bool) -> None:
        if not self._ready.done():
            self._ready.set_result(resumed)

    def _phase(self, doing: str) -> None:
        self._doing = doing

    def _adopt_task(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    # -- what slixmpp would do by itself

    def disconnect(
        self, wait: float | int = 2.0, reason: str | None = None, ignore_send_queue: bool = False
    ) -> asyncio.Future[Any]:
        """slixmpp gives up on the stream."""
        self.fail(failures.closed(self.domain, self._doing))
        done: asyncio.Future[Any] = self.loop.create_future()
        done.set_result(None)
        return done

    def exception(self, exception: BaseException) -> None:
        _log.warning("a stanza handler failed", domain=self.domain, error=type(exception).__name__)
