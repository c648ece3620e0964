"""What the XMPP tests share: a sink, short-lived sessions, and a server that follows a script."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from dm_bridge.connectors.xmpp.config import XmppConfig
from dm_bridge.connectors.xmpp.network import XmppNetwork
from dm_bridge.connectors.xmpp.session import XmppSession
from dm_bridge.errors import StorageError
from dm_bridge.ids import ChatId, ContactId, LoginId, RemoteId
from dm_bridge.network.api import Login, OutgoingMessage
from dm_bridge.network.events import RemoteEvent, RemoteMessage, SessionState, SessionStatus, Text
from dm_bridge.network.signals import Signal
from dm_bridge.testing.prosody import Prosody

FAST = {"retry_min": 0.05, "retry_max": 0.2, "connect_timeout": 5.0}


class Sink:
    """Remembers what a session delivers and reports. ``broken``: refuse to store anything."""

    def __init__(self) -> None:
        self.events: list[RemoteEvent] = []
        self.batches: list[int] = []
        self.position: str | None = None
        self.signals: list[Signal] = []
        self.states: list[SessionState] = []
        self.broken = False
        self.refused = 0

    async def deliver(self, events: Sequence[RemoteEvent], position: str | None = None) -> None:
        await asyncio.sleep(0)
        if self.broken:
            self.refused += 1
            raise StorageError("The database cannot be reached.")
        self.events.extend(events)
        self.position = position or self.position
        self.batches.append(len(events))

    def signal(self, signal: Signal) -> None:
        self.signals.append(signal)

    def report(self, state: SessionState) -> None:
        self.states.append(state)

    @property
    def messages(self) -> list[RemoteMessage]:
        return [event for event in self.events if isinstance(event, RemoteMessage)]

    @property
    def bodies(self) -> list[str]:
        return [event.content.body for event in self.messages]

    async def status(self, status: SessionStatus, *, after: int = 0) -> SessionState:
        """The first state with this status reported at position ``after`` or later."""
        await until(lambda: any(state.status is status for state in self.states[after:]))
        return next(state for state in self.states[after:] if state.status is status)


async def until(condition: Callable[[], bool], timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not happen")
        await asyncio.sleep(0.01)


def network_for(server: Prosody, *, port: int | None = None, **settings: Any) -> XmppNetwork:
    entry = {
        "host": server.host,
        "port": port or server.port,
        "tls": server.tls,
        "ca_file": server.ca_file,
    }
    return XmppNetwork(
        XmppConfig.model_validate({**FAST, "servers": {server.domain: entry}, **settings})
    )


class Running:
    """``async with Running(network, jid, password) as (session, sink)``: a connected session."""

    def __init__(
        self,
        network: XmppNetwork,
        jid: str,
        password: str,
        login: str = "login1",
        position: str | None = None,
    ) -> None:
        self.sink = Sink()
        self.sink.position = position
        credentials = {"jid": jid, "password": password}
        self.session = network.open_session(
            Login(LoginId(login), ContactId(jid), credentials, position), self.sink
        )

    async def __aenter__(self) -> tuple[XmppSession, Sink]:
        await self.session.connect()
        try:
            await self.sink.status(SessionStatus.CONNECTED)
        except BaseException:
            await self.session.disconnect()
            raise
        return self.session, self.sink

    async def __aexit__(self, *_: object) -> None:
        await self.session.disconnect()


def message(to: str, body: str, identifier: str = "") -> OutgoingMessage:
    return OutgoingMessage(ChatId(to), RemoteId(identifier or f"id-{body}"), Text(body))


class ScriptedServer:
    """An XMPP server for ``localhost`` that logs in anybody, and does what a test makes it do.

    ``read``: everything clients sent. ``sm``: offer stream management; ``resume``: what to answer to
    a resumption: ``accept``, ``refuse``, or ``refuse h=<count>``. ``silent``: acknowledge nothing.
    """

    def __init__(self, *, sm: bool = True, resume: str = "accept", features: str = "") -> None:
        self.sm, self.resume, self.features = sm, resume, features
        self.silent = False
        self.read = ""
        self.connections = 0
        self.handled = 0
        self._writer: asyncio.StreamWriter | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def network(self, **settings: Any) -> XmppNetwork:
        entry = {"host": "127.0.0.1", "port": self.port, "tls": "none"}
        return XmppNetwork(
            XmppConfig.model_validate({**FAST, "servers": {"localhost": entry}, **settings})
        )

    def write(self, xml: str) -> None:
        assert self._writer is not None
        self._writer.write(xml.encode())

    def cut(self) -> None:
        """Break the connection without a word."""
        assert self._writer is not None
        self._writer.transport.abort()

    async def saw(self, text: str, times: int = 1) -> None:
        await until(lambda: self.read.count(text) >= times)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writer = writer
        self.connections += 1
        buffer, authenticated = "", False
        try:
            while data := await reader.read(65536):
                self.read += data.decode()
                buffer += data.decode()
                while match := re.match(
                    r"\s*(<stream:stream[^>]*>|</stream:stream>|<(\w+)[^>]*?/>|<(\w+).*?</\3>)",
                    buffer,
                    re.DOTALL,
                ):
                    buffer = buffer[match.end() :]
                    authenticated = self._answer(match[1], writer, authenticated)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    def _answer(self, xml: str, writer: asyncio.StreamWriter, authenticated: bool) -> bool:
        def say(text: str) -> None:
            writer.write(text.encode())

        if xml.startswith("<stream:stream"):
            say(
                "<stream:stream xmlns='jabber:client' version='1.0' id='x' from='localhost'"
                " xmlns:stream='http://etherx.jabber.org/streams'>"
            )
            sm = "<sm xmlns='urn:xmpp:sm:3'/>" if self.sm else ""
            bind = f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>{sm}"
            login = (
                "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                "<mechanism>PLAIN</mechanism></mechanisms>"
            )
            offered = bind if authenticated else self.features or login
            say(f"<stream:features>{offered}</stream:features>")
        elif xml.startswith("</stream:stream"):
            say("</stream:stream>")
        elif xml.startswith("<auth"):
            say("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
            return True
        elif xml.startswith("<enable"):
            self.handled = 0
            say("<enabled xmlns='urn:xmpp:sm:3' id='sm-1' resume='true'/>")
        elif xml.startswith("<resume"):
            if self.resume == "accept":
                say(f"<resumed xmlns='urn:xmpp:sm:3' previd='sm-1' h='{self.handled}'/>")
            else:
                count = self.resume.removeprefix("refuse").strip()
                say(f"<failed xmlns='urn:xmpp:sm:3' {count}/>")
        elif xml.startswith("<r ") and not self.silent:
            say(f"<a xmlns='urn:xmpp:sm:3' h='{self.handled}'/>")
        elif xml.startswith(("<iq", "<message", "<presence")):
            if not self.silent:
                self.handled += 1
            self._answer_iq(xml, say)
        return authenticated

    def _answer_iq(self, xml: str, say: Callable[[str], None]) -> None:
        identifier = re.search(r'\bid="([^"]*)"', xml)
        if not xml.startswith("<iq") or identifier is None or self.silent:
            return
        body = ""
        if "xmpp-bind" in xml:
            resource = re.search(r"<resource>(.*?)</resource>", xml)
            assert resource is not None
            body = (
                "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                f"<jid>romeo@localhost/{resource[1]}</jid></bind>"
            )
        if 'type="result"' not in xml and 'type="error"' not in xml:
            say(f"<iq type='result' id='{identifier[1]}'>{body}</iq>")


@asynccontextmanager
async def mute_server() -> AsyncIterator[int]:
    """The port of a server that takes connections and says nothing."""
    released = asyncio.Event()
    done: list[asyncio.Task[None] | None] = []

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done.append(asyncio.current_task())
        await released.wait()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            released.set()
            await asyncio.gather(*(task for task in done if task is not None))
