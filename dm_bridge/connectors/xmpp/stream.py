"""One XMPP stream: from the first packet to the end, encrypted and logged in on the way.

slixmpp supplies stanzas, SASL and feature negotiation. Connecting, parsing, TLS and the end of a
connection are ours, because slixmpp reconnects by itself, logs what it read, expands entities,
offers a refused password by every other mechanism, and leaves tasks behind.

The rule that must never break: the password goes only to a server that proved to be the domain's,
and no task of a stream outlives `Stream.dispose`.
"""

# slixmpp annotates only part of what it is called with.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Any

import structlog
from slixmpp import ClientXMPP
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.features.feature_mechanisms.stanza import Challenge
from slixmpp.xmlstream.handler import CoroutineCallback
from slixmpp.xmlstream.matcher import MatchXPath

from dm_bridge.connectors.xmpp import failures
from dm_bridge.connectors.xmpp.failures import Doing
from dm_bridge.connectors.xmpp.parser import StanzaRead, StreamBroken, StreamClosed, StreamParser
from dm_bridge.connectors.xmpp.sasl import MECHANISM_NAMES, BoundedScram
from dm_bridge.connectors.xmpp.transport import Route, Target
from dm_bridge.errors import NetworkError
from dm_bridge.texts import phrase

_log = structlog.get_logger(__name__)
_CLOSE_SECONDS = 1.0
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only
_PROCEED = "{urn:ietf:params:xml:ns:xmpp-tls}proceed"
_TLS_FAILURE = "{urn:ietf:params:xml:ns:xmpp-tls}failure"


class Stream(ClientXMPP):
    """See the module. It connects once: `open`, then `dispose`; never again.

    ``failure``: why it ended, unless we ended it. ``closed``: set once it has ended.
    ``last_received``: loop time of the last bytes. ``broken_rules``: the server sent what it must not.
    """

    def __init__(self, jid: str, password: str, route: Route) -> None:
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
        self.broken_rules = False
        self.closing = False
        self.ready: asyncio.Future[bool | None] = self.loop.create_future()
        self.requests: set[asyncio.Future[Any]] = set()
        self.doing = Doing.CONNECTING
        self._route = route
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stream_parser: StreamParser | None = None
        self.remove_handler("SASL Challenge")
        self.register_handler(
            CoroutineCallback(
                "SASL Challenge", MatchXPath(Challenge.tag_name()), self._on_challenge
            )
        )
        self.add_event_handler("auth_success", self._on_auth_success)
        self.add_event_handler("failed_auth", self._on_failed_auth)
        self.add_event_handler("failed_all_auth", self._on_no_mechanism)
        self.add_event_handler("stream_negotiated", self._on_negotiated)

    @property
    def domain(self) -> str:
        return self._route.domain

    # -- opening

    async def open(self, timeout: float) -> bool:
        """Connect, encrypt, authenticate, and bind or resume; returns whether a stream was resumed.

        Raises `CredentialsError` when the server refuses the login, `NetworkError` otherwise. The
        stream must be disposed of in any case.
        """
        try:
            async with asyncio.timeout(timeout):
                self._run_out_filters = asyncio.ensure_future(self.run_filters())
                await self._connect()
                resumed = await self.ready
        except TimeoutError:
            self.fail(failures.timed_out(self.domain))
            resumed = None
        except NetworkError as error:
            self.fail(error)
            resumed = None
        if resumed is None:
            raise self.failure or failures.closed(self.domain, self.doing)
        self.doing = Doing.NOTHING
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
                server_hostname=self._route.dns_name if target.direct else None,
            )
        except OSError as error:
            return failures.unreachable(self.domain, f"{target.host}:{target.port}", error)
        return None

    def connection_made(self, transport: asyncio.BaseTransport, send_event: bool = True) -> None:
        if self.closing or self.failure is not None:
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        super().connection_made(transport, send_event)
        plain = self._route.encrypted and not self._is_encrypted()
        self.doing = Doing.ENCRYPTING if plain else Doing.LOGGING_IN

    def _acknowledge_at_once(self) -> None:
        """Tell the kernel not to put off its next TCP acknowledgement; it forgets, so after each read.

        A server that leaves Nagle's algorithm on, as Prosody does, sends the next stanza only when the last
        one is acknowledged; a delayed acknowledgement then costs 40 ms a message.
        """
        sock = None if self.transport is None else self.transport.get_extra_info("socket")
        if _QUICKACK is not None and sock is not None and sock.fileno() >= 0:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    async def start_tls(self) -> bool:
        self._adopt_task()
        transport = self.transport
        if transport is None:
            return False
        self._current_connection_attempt = self.loop.create_future()
        try:
            encrypted = await self.loop.start_tls(
                transport, self, self._route.starttls_context, server_hostname=self._route.dns_name
            )
        except OSError as error:
            self.fail(failures.unreachable(self.domain, self.domain, error))
            return False
        if encrypted is None:
            self.fail(failures.closed(self.domain, self.doing))
            return False
        self.connection_made(encrypted, send_event=False)
        return True

    def _is_encrypted(self) -> bool:
        return isinstance(self.socket, ssl.SSLObject)

    async def _handle_stream_features(self, features: Any) -> bool | None:
        self._adopt_task()
        offered = features["features"]
        if self._route.encrypted and not self._is_encrypted() and "starttls" not in offered:
            self.fail(failures.no_encryption(self.domain))
            return None
        try:
            return await super()._handle_stream_features(features)
        except IqError as error:
            self.fail(failures.rejected(self.domain, "session", error.condition))
        except IqTimeout:
            self.fail(failures.timed_out(self.domain))
        except Exception as error:
            _log.warning(
                "stream negotiation failed", domain=self.domain, error=type(error).__name__
            )
            self.fail(failures.closed(self.domain, self.doing))
        return None

    async def _on_challenge(self, stanza: Any) -> None:
        """Answer as slixmpp does, once a thread has done what takes long."""
        self._adopt_task()
        plugin: Any = self.plugin["feature_mechanisms"]
        try:
            if isinstance(plugin.mech, BoundedScram):
                await plugin.mech.derive(stanza["value"])
            plugin._handle_challenge(stanza)
        except (ValueError, KeyError):
            self.break_off(phrase("xmpp-sent-challenge"))

    def _on_auth_success(self, _: object) -> None:
        self.doing = Doing.BEGINNING

    def _on_failed_auth(self, stanza: Any) -> None:
        """Stop at the first refusal: slixmpp would offer the password by every other mechanism."""
        condition = str(stanza["condition"])
        if condition not in failures.OTHER_MECHANISM:
            plugin: Any = self.plugin["feature_mechanisms"]
            plugin.mech_list = set()
            self.fail(failures.refused(self.requested_jid.bare, self.domain, condition))

    def _on_no_mechanism(self, _: object) -> None:
        self.fail(failures.no_mechanism(self.domain))

    def _on_negotiated(self, _: object) -> None:
        if not self.authenticated:
            self.fail(failures.no_mechanism(self.domain))
        elif not self.bound:
            self.fail(failures.closed(self.domain, self.doing))
        else:
            self.become_ready(False)

    def become_ready(self, resumed: bool) -> None:
        """The session can be used; `open` returns."""
        if not self.ready.done():
            self.ready.set_result(resumed)

    # -- reading

    def init_parser(self) -> None:
        self._stream_parser = StreamParser()

    def data_received(self, data: bytes | str) -> None:
        parser = self._stream_parser
        if parser is None or isinstance(data, str):
            return
        self.last_received = self.loop.time()
        self._acknowledge_at_once()
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
                    self.break_off(reason)
                case StreamClosed():
                    if not self.closing and self.transport is not None:
                        self.send_raw(self.stream_footer)
                    if self.transport is not None:
                        self.transport.close()

    def pause(self, paused: bool) -> None:
        """Stop or go on reading from the server."""
        if self.transport is not None and not self.transport.is_closing():
            if paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # -- ending

    def connection_lost(self, exception: BaseException | None) -> None:
        self.transport = None
        self.socket = None
        self._finish()

    def eof_received(self) -> None:
        return

    def _handle_stream_error(self, error: Any) -> None:
        self.fail(failures.stream_error(self.domain, error["condition"]))

    def break_off(self, reason: str) -> None:
        """The server sent what no honest server sends. ``reason`` says what that is."""
        self.broken_rules = True
        self.fail(failures.broken(self.domain, reason))

    def fail(self, error: NetworkError) -> None:
        """End the connection because of ``error``; the first error is the one that counts."""
        if self.failure is None and not self.closing:
            self.failure = error
        if self.transport is not None:
            self.transport.abort()
        else:
            self._finish()

    async def dispose(self) -> None:
        """End whatever is left: transport, tasks, timers. Idempotent."""
        self.closing = True
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

    def _finish(self) -> None:
        self._stream_parser = None
        if self.failure is None and not self.closing:
            self.failure = failures.closed(self.domain, self.doing)
        if not self.ready.done():
            self.ready.set_result(None)
        for request in self.requests:
            if not request.done():
                request.set_exception(self.failure or failures.closed(self.domain))
        self.closed.set()

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
        self.fail(failures.closed(self.domain, self.doing))
        done: asyncio.Future[Any] = self.loop.create_future()
        done.set_result(None)
        return done

    def exception(self, exception: BaseException) -> None:
        _log.warning("a stanza handler failed", domain=self.domain, error=type(exception).__name__)
