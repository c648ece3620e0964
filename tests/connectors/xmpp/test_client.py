"""Hostile and broken servers."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

import pytest

from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.connectors.xmpp.quiet import quiet_slixmpp
from dm_bridge.connectors.xmpp.transport import Routes
from dm_bridge.network.events import RemoteMessage, SessionStatus

from .support import Running, ScriptedServer, until


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<message><body>a &unknown; b</body></message>", "malformed XML"),
        ("<message></iq>", "malformed XML"),
        ("<!-- hello -->", "a comment"),
        ("<?php ?>", "processing instruction"),
        ("<message><body>" + "x" * (1 << 20) + "</body></message>", "more than 1024 KiB"),
    ],
)
async def test_a_stream_that_breaks_the_rules_is_closed_and_tried_anew(
    xml: str, expected: str
) -> None:
    async with (
        ScriptedServer() as server,
        Running(server.network(), "romeo@localhost", "x") as (
            _,
            sink,
        ),
    ):
        server.write(xml)
        state = await sink.status(SessionStatus.TRANSIENT_DISCONNECT)
        assert expected.removeprefix("a ") in state.reason
        await server.saw("<presence", 2)
        assert "<resume" not in server.read
        assert sink.events == []


async def test_a_doctype_is_refused_before_anything_is_expanded() -> None:
    class Bomb(ScriptedServer):
        def _answer(self, xml: str, writer: asyncio.StreamWriter, authenticated: bool) -> bool:
            if xml.startswith("<stream:stream"):
                writer.write(
                    b"<?xml version='1.0'?><!DOCTYPE s [<!ENTITY a 'aaaaaaaaaa'>"
                    b"<!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
                )
            return super()._answer(xml, writer, authenticated)

    async with Bomb() as server:
        running = Running(server.network(), "romeo@localhost", "x")
        await running.session.connect()
        try:
            state = await running.sink.status(SessionStatus.TRANSIENT_DISCONNECT)
            assert "document type declaration" in state.reason
            assert "<auth" not in server.read
        finally:
            await running.session.disconnect()


async def test_what_comes_in_plain_text_before_or_after_starttls_is_not_believed() -> None:
    class Injecting(ScriptedServer):
        def _answer(self, xml: str, writer: asyncio.StreamWriter, authenticated: bool) -> bool:
            evil = "<message from='juliet@localhost/x' type='chat'><body>evil</body></message>"
            if xml.startswith("<starttls"):
                proceed = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
                writer.write(f"{evil}{proceed}{evil}".encode())
                return False
            return super()._answer(xml, writer, authenticated)

    offer = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    async with Injecting(features=offer) as server:
        entry = {"host": "127.0.0.1", "port": server.port, "tls": "starttls"}
        running = Running(server.network(servers={"localhost": entry}), "romeo@localhost", "x")
        await running.session.connect()
        try:
            await running.sink.status(SessionStatus.TRANSIENT_DISCONNECT)
            assert running.sink.events == []
        finally:
            await running.session.disconnect()


async def test_strange_stanzas_neither_stop_the_stream_nor_become_messages() -> None:
    deep = "<x>" * 20_000 + "</x>" * 20_000
    strange = (
        "<message from='a b@@c' type='chat'><body>x</body></message>",
        "<message from='juliet@localhost/x' to='@@' type='chat'><body/></message>",
        f"<message from='juliet@localhost/x' type='chat'>{deep}</message>",
        "<message type='error'/>",
        "<presence from='@@' type='subscribe'/>",
        "<presence from='juliet@localhost' type='subscribe'/>",
        "<iq type='set' id='1' from='mallory@localhost/x'><query xmlns='jabber:iq:roster'>"
        "<item jid='juliet@localhost' name='Mallory'/></query></iq>",
        "<iq type='get' id='2' from='x@localhost/y'><query xmlns='urn:unknown'/></iq>",
        "<a xmlns='urn:xmpp:sm:3' h='many'/>",
        "<unknown xmlns='urn:what'/>",
        "   ",
    )
    async with (
        ScriptedServer() as server,
        Running(server.network(), "romeo@localhost", "x") as (
            session,
            sink,
        ),
    ):
        await server.saw("<presence")
        for xml in strange[:8] + strange[9:]:
            server.write(xml)
        server.write("<message from='juliet@localhost/x' type='chat'><body>end</body></message>")
        await until(lambda: bool(sink.events))
        assert sink.bodies == ["end"]
        assert isinstance(sink.events[0], RemoteMessage)
        contact = await session.contact(sink.events[0].sender)
        assert contact.private_name is None
        assert "subscribed" not in server.read
        assert server.connections == 1


async def test_it_says_honestly_what_it_is_and_answers_pings() -> None:
    async with ScriptedServer() as server, Running(server.network(), "romeo@localhost", "x"):
        server.write(
            "<iq type='get' id='disco-1' from='juliet@localhost/x'>"
            "<query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
            "<iq type='get' id='disco-2' from='juliet@localhost/x'>"
            "<query xmlns='http://jabber.org/protocol/disco#info' node='other'/></iq>"
            "<iq type='get' id='ping-1' from='localhost'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
        await server.saw('id="ping-1"')
        assert 'category="client" type="bot" name="dm_bridge"' in server.read
        assert 'hash="sha-1"' in server.read
        assert "item-not-found" in server.read.partition('id="disco-2"')[2]


async def test_a_stream_error_gives_its_reason_and_a_new_attempt() -> None:
    async with (
        ScriptedServer() as server,
        Running(server.network(), "romeo@localhost", "x") as (
            _,
            sink,
        ),
    ):
        server.write(
            "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
            "</stream:error></stream:stream>"
        )
        state = await sink.status(SessionStatus.TRANSIENT_DISCONNECT)
        assert "shutting down" in state.reason
        await until(lambda: server.connections == 2)
        await sink.status(SessionStatus.CONNECTED, after=2)


async def test_a_message_that_never_left_is_known() -> None:
    client = Client("a@localhost/x", "x", Routes({}).to("localhost"))
    client._set_session_start(None)
    client.send_chat("b@localhost", "m1", [])
    assert client.unsent() == {"m1"}
    assert client.unsent() == set()
    await client.dispose()


async def test_reading_stops_while_too_much_waits_and_goes_on_after() -> None:
    one = "<message from='juliet@localhost/x' type='chat' id='{0}'><body>{0}</body></message>"
    async with (
        ScriptedServer() as server,
        Running(server.network(), "romeo@localhost", "x") as (
            session,
            sink,
        ),
    ):
        sink.broken = True
        for number in range(20_000):
            server.write(one.format(number))
        await until(lambda: session._intake.pressed)
        await asyncio.sleep(0.3)
        assert len(session._intake._waiting) < 10_000
        sink.broken = False
        await until(lambda: len(sink.events) == 20_000, 30)
        assert sink.bodies == [str(number) for number in range(20_000)]


def test_slixmpp_says_nothing_of_what_it_sees(caplog: pytest.LogCaptureFixture) -> None:
    quiet_slixmpp()
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        logger = logging.getLogger("slixmpp.xmlstream.xmlstream")
        assert not logger.isEnabledFor(logging.INFO)
        assert not logging.getLogger("slixmpp").propagate
    finally:
        root.setLevel(before)


class Archiving(ScriptedServer):
    """A server with an archive, whose answers a test writes. ``mute``: queries that get none.

    ``forget``: a request that holds this text gets no answer, once.
    """

    mute = 0
    forget = ""
    results = ""

    def _answer_iq(self, xml: str, say: Callable[[str], None]) -> None:
        identifier = re.search(r'\bid="([^"]*)"', xml)
        query = re.search(r'queryid="([^"]*)"', xml)
        if self.forget and self.forget in xml:
            self.forget = ""
        elif identifier and "disco#info" in xml:
            say(
                f"<iq type='result' id='{identifier[1]}' from='romeo@localhost'>"
                "<query xmlns='http://jabber.org/protocol/disco#info'>"
                "<feature var='urn:xmpp:mam:2'/></query></iq>"
            )
        elif identifier and query:
            if self.mute:
                self.mute -= 1
                return
            say(self.results.replace("QUERY", query[1]))
            say(
                f"<iq type='result' id='{identifier[1]}'>"
                "<fin xmlns='urn:xmpp:mam:2' complete='true'/></iq>"
            )
        else:
            super()._answer_iq(xml, say)


POSITION = '{"id": "a", "at": 1714979289.0}'
RESULT = (
    "<message{sender}><result xmlns='urn:xmpp:mam:2' queryid='{query}' id='{body}'>"
    "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' type='chat'"
    " from='juliet@localhost/x' to='romeo@localhost' id='{body}'><body>{body}</body></message>"
    "</forwarded></result></message>"
)


async def test_archived_messages_come_from_the_own_account_and_for_this_query_only() -> None:
    async with Archiving() as server:
        server.results = "".join(
            RESULT.format(sender=sender, query=query, body=body)
            for body, sender, query in (
                ("other sender", " from='mallory@localhost/x'", "QUERY"),
                ("server", " from='localhost'", "QUERY"),
                ("own resource", " from='romeo@localhost/phone'", "QUERY"),
                ("other query", "", "guess"),
                ("malformed", " from='@@'", "QUERY"),
                ("honest", "", "QUERY"),
                ("also honest", " from='romeo@localhost'", "QUERY"),
            )
        )
        async with Running(server.network(), "romeo@localhost", "x", position=POSITION) as (
            _,
            sink,
        ):
            await until(lambda: len(sink.events) >= 2)
            server.write("<message from='juliet@localhost/x'><body>live</body></message>")
            await until(lambda: "live" in sink.bodies)
            assert sink.bodies == ["honest", "also honest", "live"]


async def test_an_archive_that_does_not_answer_costs_the_connection_and_no_message() -> None:
    async with Archiving() as server:
        server.mute = 1
        server.results = RESULT.format(sender="", query="QUERY", body="missed")
        network = server.network(connect_timeout=0.5)
        async with Running(network, "romeo@localhost", "x", position=POSITION) as (_, sink):
            server.write("<message from='juliet@localhost/x'><body>live</body></message>")
            state = await sink.status(SessionStatus.TRANSIENT_DISCONNECT)
            assert "did not answer in time" in state.reason
            await until(lambda: "live" in sink.bodies)
            assert sink.bodies == ["missed", "live"]
            assert server.read.count("<after>a</after>") == 2
            assert "<resume" in server.read


@pytest.mark.parametrize("forgotten", ["jabber:iq:roster", "urn:xmpp:carbons:2", "disco#info"])
async def test_a_session_that_was_not_set_up_is_set_up_after_its_stream_is_resumed(
    forgotten: str,
) -> None:
    async with Archiving() as server:
        server.forget = forgotten
        server.results = RESULT.format(sender="", query="QUERY", body="missed")
        network = server.network(connect_timeout=0.5)
        async with Running(network, "romeo@localhost", "x", position=POSITION) as (_, sink):
            await until(lambda: sink.bodies == ["missed"])
            assert "<resume" in server.read
            assert "<presence" in server.read
            assert "urn:xmpp:carbons:2" in server.read.partition("<resume")[2]
