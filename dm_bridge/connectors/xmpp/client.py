"""What a session says and hears on a stream: messages, requests, acknowledgements.

A `Client` connects once; the session makes a new one for each attempt, and hands on what a new
stream needs to continue the old one.

The rule that must never break: nothing that arrives before the server has accepted the login
reaches the session.
"""

# slixmpp annotates only part of what it is called with.
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Literal
from xml.etree.ElementTree import Element

from slixmpp import InvalidJID, Message
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
from dm_bridge.connectors.xmpp.addresses import normal_jid
from dm_bridge.connectors.xmpp.stanzas import Account, ping, presence_payload
from dm_bridge.connectors.xmpp.stream import Stream
from dm_bridge.connectors.xmpp.transport import Route
from dm_bridge.texts import phrase

_GOODBYE_SECONDS = 1.0
_ROSTER = "{jabber:iq:roster}query"
RESULT = "{urn:xmpp:mam:2}result"
MAX_RESULTS = 1000
"""Results of one archive query that are kept; more are asked for by nobody."""


class Client(Stream):
    """See the module. Callbacks, all synchronous:

    ``on_message``: a message stanza, in stream order, of an authenticated stream.
    ``on_accepted``: the server accepted the message with this id (with stream management only).
    ``on_resume_refused``: the server cannot continue ``previous``; the argument says whether all it
    had accepted of the old stream has been passed to ``on_accepted``.
    ``on_presence``: a presence stanza. ``on_roster``: the query of a roster push; the roster itself is asked for
    by the session.
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
        on_roster: Callable[[Element], None] = lambda _: None,
        on_presence: Callable[[Element], None] = lambda _: None,
    ) -> None:
        super().__init__(jid, password, route)
        self._previous = previous
        self._on_message, self._on_accepted, self._on_roster = on_message, on_accepted, on_roster
        self._on_resume_refused, self._on_presence = on_resume_refused, on_presence
        self._searches: dict[str, list[Element]] = {}
        register_stream_management()
        self.register_plugin(PLUGIN)
        plugin: Any = self.plugin[PLUGIN]  # type: ignore[literal-required]
        self.acks: StreamManagement = plugin
        if previous is not None:
            self.acks.continue_from(previous)
        self._replace_handlers()

    def _replace_handlers(self) -> None:
        """Messages and presence come to us: slixmpp would answer subscriptions."""
        for name in ("IM", "IMError", "Presence"):
            self.remove_handler(name)
        for name, path, handler in (
            ("message", "{jabber:client}message", self._on_message_stanza),
            ("presence", "{jabber:client}presence", self._on_presence_stanza),
            ("disco", f"{{jabber:client}}iq/{identity.DISCO_INFO}", self._on_disco),
            ("ping", "{jabber:client}iq/{urn:xmpp:ping}ping", self._on_ping),
        ):
            self.register_handler(Callback(f"dm_bridge {name}", MatchXPath(path), handler))
        self.add_event_handler("session_resumed", lambda _: self.become_ready(True))
        self.add_event_handler("stanza_acked", self._on_stanza_acked)
        self.add_event_handler("sm_failed", self._on_sm_failed)
        self.add_event_handler("sm_inconsistent", self._on_sm_inconsistent)

    @property
    def account(self) -> Account:
        """Whose stream this is, in normal form, however the server spells it."""
        jid = normal_jid(self.boundjid.full)
        return Account(jid.bare, jid.full, jid.domain)

    async def close(self) -> None:
        """Say goodbye and end the stream; waits about a second for the server, then goes."""
        if self.transport is not None and self.ready.done() and self.failure is None:
            self.closing = True
            goodbye = self.Presence()
            goodbye["type"] = "unavailable"
            self.send(goodbye)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_SECONDS):
                    await self.waiting_queue.join()
                    if self.transport is not None:
                        if self.acks.enabled_in:
                            self.acks.send_ack()
                        self.send_raw(self.stream_footer)
                    await self.closed.wait()
        await self.dispose()

    def resumption(self) -> Resumption | None:
        """What a later client needs to continue this stream, if the server will know it."""
        ended_in_order = self.closing and self.failure is None
        if ended_in_order or self.broken_rules:
            return None
        if self.acks.enabled_in:
            return self.acks.resumption(self.boundjid.full)
        return self._previous if self.acks.sm_id else None

    def unsent(self) -> set[str]:
        """Ids of messages that never left: after the connection ended, nobody has seen them."""
        ids = set()
        while not self.waiting_queue.empty():
            data, _ = self.waiting_queue.get_nowait()
            self.waiting_queue.task_done()
            if isinstance(data, Message):
                ids.add(data.xml.get("id", ""))
        return ids

    # -- what the session sends

    async def request(
        self, kind: Literal["get", "set"], payload: Element, timeout: float, to: str | None = None
    ) -> Element:
        """Ask the account's server, or another address; returns the answering ``iq``.

        Raises `RejectedError` when it answers with an error, `NetworkError` when it does not answer.
        """
        try:
            return (await self._ask(kind, payload, timeout, to)).xml
        except IqError as error:
            raise failures.rejected(self.domain, "request", error.condition) from None

    async def search(self, query: Element, timeout: float) -> tuple[Element, list[Element]]:
        """Send an archive query; returns the answering ``iq``, and the results in their order.

        ``query`` has a ``queryid``. Only what comes from the account itself is a result (XEP-0313,
        section 4.2), and at most `MAX_RESULTS`. Raises like `request`.
        """
        results: list[Element] = []
        self._searches[query.get("queryid", "")] = results
        try:
            return await self.request("set", query, timeout), results
        finally:
            del self._searches[query.get("queryid", "")]

    async def ping(self, timeout: float) -> None:
        """Return once the server has handled all we sent before. Raises `NetworkError`."""
        with contextlib.suppress(IqError):
            await self._ask("get", ping(), timeout)

    async def _ask(
        self,
        kind: Literal["get", "set"],
        payload: Element,
        timeout: float,
        to: str | None = None,
    ) -> Iq:
        if self.closed.is_set():
            raise self.failure or failures.closed(self.domain)
        iq = self.Iq()
        iq["type"] = kind
        if to is not None:
            iq["to"] = to
        iq.xml.append(payload)
        future: asyncio.Future[Iq] = iq.send(timeout=timeout)
        self.requests.add(future)
        try:
            return await future
        except IqTimeout:
            raise failures.timed_out(self.domain) from None
        finally:
            self.requests.discard(future)

    def send_available(self, appearance: Sequence[Element] = ()) -> None:
        """Send the initial presence, or another one: ``appearance`` is what it says of the user."""
        presence = self.Presence()
        for child in (*appearance, *presence_payload(identity.capabilities())):
            presence.xml.append(child)
        self.send(presence)

    def send_subscription(self, kind: str, to: str) -> None:
        """Ask for somebody's presence, or answer somebody who asks (RFC 6121, section 3)."""
        presence = self.Presence()
        presence["type"] = kind
        presence["to"] = to
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

    def send_notice(self, to: str, payload: list[Element]) -> None:
        """Send a message of type chat that nobody waits for. It has no id, so nobody reports its fate."""
        notice = Message(self)
        notice.xml.attrib.clear()
        notice.xml.attrib.update({"to": to, "type": "chat"})
        for child in payload:
            notice.xml.append(child)
        self.send(notice)

    # -- what arrives

    def _on_message_stanza(self, stanza: Any) -> None:
        if not self.authenticated or not (self.bound or self.acks.enabled_in):
            return
        result = stanza.xml.find(RESULT)
        if result is None:
            self._on_message(stanza.xml)
        elif self.is_own_account(stanza.xml.get("from")):
            results = self._searches.get(result.get("queryid", ""), [])
            if len(results) < MAX_RESULTS:
                results.append(result)

    def _on_presence_stanza(self, stanza: Any) -> None:
        if self.authenticated:
            self._on_presence(stanza.xml)

    def is_own_account(self, address: str | None) -> bool:
        """Whether a stanza with this ``from`` comes from the account itself."""
        try:
            return address is None or normal_jid(address).full == self.account.bare
        except (InvalidJID, UnicodeError):
            return False

    def _handle_roster(self, iq: Any) -> None:
        """A roster push; slixmpp has checked that it comes from the account itself."""
        query = iq.xml.find(_ROSTER)
        if iq["type"] != "set" or query is None:
            return
        self._on_roster(query)
        self.Iq(stype="result", sto=iq["from"], sid=iq["id"]).send()

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

    def _on_sm_failed(self, _: object) -> None:
        self._on_resume_refused(self.acks.resume_refused_exactly)

    def _on_sm_inconsistent(self, _: object) -> None:
        self.break_off(phrase("xmpp-sent-acknowledgement"))
