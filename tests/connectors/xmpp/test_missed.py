"""What happens while a session is away, on a real server with an archive, and on one without."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dm_bridge.connectors.xmpp.login import XmppLogin
from dm_bridge.connectors.xmpp.session import XmppSession
from dm_bridge.connectors.xmpp.transport import Routes
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.api import OutgoingMessage
from dm_bridge.network.events import RemoteMessage, SessionStatus, Text
from dm_bridge.network.login import LoginDone
from dm_bridge.testing.prosody import MODULES, Prosody
from dm_bridge.testing.xmpp_client import XmppUser
from tests.wire import Wire

from .support import Running, Sink, message, network_for, until


async def accounts(server: Prosody, *localparts: str) -> list[str]:
    return [await server.add_user(localpart, "pass") for localpart in localparts]


@asynccontextmanager
async def user(server: Prosody, jid: str) -> AsyncIterator[XmppUser]:
    """An account's client, with carbons, once the server counts it as available."""
    async with XmppUser(jid, "pass", server.host, server.port, carbons=True) as client:
        await client.name_contact("somebody@localhost", "Somebody")  # answered after the presence
        yield client


def forget_stream(session: XmppSession) -> None:
    """Make the next connection a new stream, as after a resumption that was refused."""
    assert session._client is not None
    session._client.acks.sm_id = None


async def settled(session: XmppSession) -> None:
    """Return once all that was missed is read and committed."""
    await until(lambda: session._catch_up.done)
    await session._intake.drained()


def written(sink: Sink) -> list[tuple[str, bool]]:
    """Texts, and whether they are the user's own; each message once, as the inbox takes them."""
    messages = [event for event in sink.events if isinstance(event, RemoteMessage)]
    once = {(event.chat, event.id): event for event in reversed(messages)}
    return [(event.content.body, event.from_self) for event in reversed(once.values())]


def texts(sink: Sink) -> list[str]:
    return [text for text, _ in written(sink)]


async def placed(sink: Sink) -> str:
    """The position of a session that has read all there is."""
    await until(lambda: sink.position is not None and json.loads(sink.position)["id"] != "")
    assert sink.position is not None
    return sink.position


async def test_what_both_sides_wrote_meanwhile_arrives_once_and_in_order(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "missed.me", "missed.other")
    async with user(prosody, other) as peer:
        async with Running(network_for(prosody), me, "pass") as (session, sink):
            await settled(session)  # what comes before has no position of its own
            peer.send(me, "before")
            position = await placed(sink)
        async with user(prosody, f"{me}/phone") as phone:
            for number in range(120):
                peer.send(me, f"question {number}")
                await phone.wait_for_text(f"question {number}")
                phone.send(other, f"answer {number}")
                await peer.wait_for_text(f"answer {number}")
        again = Running(network_for(prosody), me, "pass", position=position)
        async with again as (session, sink):
            for number in range(20):
                peer.send(me, f"live {number}")
            await until(lambda: "live 19" in sink.bodies)
            await settled(session)
            expected = [
                pair
                for n in range(120)
                for pair in ((f"question {n}", False), (f"answer {n}", True))
            ]
            assert written(sink) == expected + [(f"live {n}", False) for n in range(20)]
            ids = {event.id for event in sink.events if isinstance(event, RemoteMessage)}
            assert all(identifier.startswith("sid:") for identifier in ids)
            times = [
                event.sent_at for event in sink.events[:240] if isinstance(event, RemoteMessage)
            ]
            assert all(at is not None and abs(at - time.time()) < 120 for at in times)


async def test_a_message_has_the_same_id_live_as_a_copy_late_and_from_the_archive(
    prosody: Prosody,
) -> None:
    me, other = await accounts(prosody, "same.me", "same.other")
    async with user(prosody, other) as peer:
        async with Running(network_for(prosody), me, "pass") as (_, sink):
            await until(lambda: sink.position is not None)
            start = sink.position
            async with user(prosody, f"{me}/phone") as phone:
                peer.send(me, "to all", id="a")
                phone.send(other, "from the phone", id="b")
                await until(lambda: len(sink.events) == 2)
                peer.send(phone.jid, "to the phone", id="c")
                phone.send(me, "note", id="d")
                await until(lambda: "note" in sink.bodies)
            live = {e.content.body: e.id for e in sink.events if isinstance(e, RemoteMessage)}
        peer.send(me, "late", id="e")
        async with Running(network_for(prosody), me, "pass", position=start) as (_, sink):
            await until(lambda: "late" in sink.bodies)
            read = {e.content.body: e.id for e in sink.events if isinstance(e, RemoteMessage)}
        async with Running(network_for(prosody), me, "pass", position=start) as (_, sink):
            await until(lambda: "late" in sink.bodies)
            again = {e.content.body: e.id for e in sink.events if isinstance(e, RemoteMessage)}
        assert {body: read[body] for body in live} == live
        assert again == read


async def test_a_lost_stream_is_caught_up_by_the_running_session(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "lost.me", "lost.other")
    network = network_for(prosody, retry_min=0.5, retry_max=0.5)
    async with (
        Running(network, me, "pass") as (session, sink),
        user(prosody, other) as peer,
        user(prosody, f"{me}/phone") as phone,
    ):
        await until(lambda: session._catch_up.done)
        for round_ in range(3):
            state = len(sink.states)
            forget_stream(session)
            assert session._client is not None
            assert session._client.transport is not None
            session._client.transport.abort()
            peer.send(me, f"in {round_}")
            await phone.wait_for_text(f"in {round_}")
            phone.send(other, f"out {round_}")
            await peer.wait_for_text(f"out {round_}")
            await sink.status(SessionStatus.CONNECTED, after=state)
            await until(lambda n=round_: f"out {n}" in sink.bodies)  # type: ignore[misc]
        await settled(session)
        expected = [(f"{way} {n}", way == "out") for n in range(3) for way in ("in", "out")]
        assert written(sink) == expected


async def test_a_position_that_the_server_forgot_is_replaced_by_its_time(
    prosody: Prosody, capsys: pytest.CaptureFixture[str]
) -> None:
    me, other = await accounts(prosody, "forgot.me", "forgot.other")
    forgotten = json.dumps({"id": "no-such-id", "at": time.time()})
    async with user(prosody, other) as peer, user(prosody, me) as phone:
        peer.send(me, "one")
        peer.send(me, "two")
        await phone.wait_for_text("two")
        async with Running(network_for(prosody), me, "pass", position=forgotten) as (session, sink):
            await until(lambda: "two" in sink.bodies)
            await settled(session)
            assert texts(sink) == ["one", "two"]
            position = await placed(sink)
        assert json.loads(position)["id"] != "no-such-id"
        assert "does not know the last position" in capsys.readouterr().out


async def test_a_login_begins_at_the_end_of_the_archive(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "begin.me", "begin.other")
    network = network_for(prosody)
    async with user(prosody, other) as peer, user(prosody, me) as phone:
        peer.send(me, "history")
        await phone.wait_for_text("history")
        process = XmppLogin(network._config, Routes(dict(network._config.servers)))
        done = await process.submit({"jid": me, "password": "pass"})
        assert isinstance(done, LoginDone)
        assert done.position is not None
        peer.send(me, "between login and session")
        await phone.wait_for_text("between login and session")
        async with Running(network, me, "pass", position=done.position) as (session, sink):
            peer.send(me, "live")
            await until(lambda: "live" in sink.bodies)
            await settled(session)
            assert texts(sink) == ["between login and session", "live"]


async def test_a_session_without_a_position_begins_at_the_end_of_the_archive(
    prosody: Prosody,
) -> None:
    me, other = await accounts(prosody, "none.me", "none.other")
    async with user(prosody, other) as peer, user(prosody, me) as phone:
        peer.send(me, "history")
        await phone.wait_for_text("history")
        async with Running(network_for(prosody), me, "pass") as (_, sink):
            await placed(sink)
            peer.send(me, "live")
            await until(lambda: bool(sink.events))
            assert sink.bodies == ["live"]


async def test_without_an_archive_all_is_as_before(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    modules = [name for name in MODULES if name != "mam"]
    server = await Prosody.start(tmp_path_factory.mktemp("bare"), modules=modules)
    try:
        me, other = await accounts(server, "bare.me", "bare.other")
        async with user(server, other) as peer:
            async with Running(network_for(server), me, "pass") as (_, sink):
                peer.send(me, "live")
                await until(lambda: bool(sink.events))
                assert sink.position is None
            peer.send(me, "away 1")
            peer.send(me, "away 2")
            async with Running(network_for(server), me, "pass") as (session, sink):
                await until(lambda: "away 2" in sink.bodies)
                assert sink.bodies == ["away 1", "away 2"]
                again = OutgoingMessage(
                    ChatId(other), RemoteId("out"), Text("out"), attempted=time.time()
                )
                await session.send(again)
                await peer.wait_for_text("out")
    finally:
        await server.stop()


async def test_a_message_that_arrived_is_not_sent_again(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "once.me", "once.other")
    began = time.time()
    async with user(prosody, other) as peer:
        async with Running(network_for(prosody), me, "pass") as (session, _):
            await session.send(message(other, "hello", "out-1"))
        async with Running(network_for(prosody), me, "pass") as (session, _):
            for identifier in ("out-1", "out-2"):
                retry = OutgoingMessage(
                    ChatId(other), RemoteId(identifier), Text(identifier), attempted=began
                )
                assert await session.send(retry) == identifier
            await peer.wait_for_text("out-2")
        assert [(r.id, r.body) for r in peer.received] == [("out-1", "hello"), ("out-2", "out-2")]


@pytest.mark.parametrize("resumed", [True, False], ids=["resumed", "new stream"])
@pytest.mark.parametrize("arrived", [True, False], ids=["arrived", "lost"])
async def test_a_message_whose_connection_is_cut_after_the_write_arrives_once(
    prosody: Prosody, resumed: bool, arrived: bool
) -> None:
    case = f"{resumed}.{arrived}".lower()
    me, other = await accounts(prosody, f"cut.me.{case}", f"cut.other.{case}")
    async with (
        user(prosody, other) as peer,
        Wire(prosody.host, prosody.port) as wire,
        Running(network_for(prosody, port=wire.port), me, "pass") as (session, sink),
    ):
        await settled(session)
        began, state = time.time(), len(sink.states)
        wire.to_client = False
        wire.to_server = arrived
        sending = asyncio.create_task(session.send(message(other, "once", "out-1")))
        if arrived:
            await peer.wait_for_text("once")
        else:
            await until(lambda: bool(session._deliveries))
            await asyncio.sleep(0.1)
        if not resumed:
            forget_stream(session)
        wire.cut()
        wire.mend()
        await sink.status(SessionStatus.CONNECTED, after=state)
        if resumed:
            assert await sending == "out-1"
        else:
            with pytest.raises(NetworkError) as caught:
                await sending
            assert not caught.value.certain
            retry = OutgoingMessage(ChatId(other), RemoteId("out-1"), Text("once"), attempted=began)
            assert await session.send(retry) == "out-1"
        await session.send(message(other, "after"))
        await peer.wait_for_text("after")
        assert [r.body for r in peer.received] == ["once", "after"]
        await settled(session)
        assert sink.events == []


async def test_what_was_committed_but_not_acknowledged_comes_once(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "unacked.me", "unacked.other")
    async with user(prosody, other) as peer, Wire(prosody.host, prosody.port) as wire:
        async with Running(network_for(prosody, port=wire.port), me, "pass") as (session, first):
            await settled(session)
            wire.to_server = False
            for number in range(3):
                peer.send(me, f"committed {number}")
            await until(lambda: len(first.events) == 3)
            first.broken = True
            peer.send(me, "not committed")
            await until(lambda: first.refused > 0)
            wire.cut()
            wire.up = False
        again = Running(network_for(prosody), me, "pass", position=first.position)
        async with again as (session, second):
            await until(lambda: "not committed" in second.bodies)
            await settled(session)
        second.events[:0] = first.events
        assert texts(second) == [*(f"committed {n}" for n in range(3)), "not committed"]


async def test_a_connection_cut_while_the_archive_is_read_goes_on_where_it_was(
    prosody: Prosody,
) -> None:
    me, other = await accounts(prosody, "paging.me", "paging.other")
    async with user(prosody, other) as peer, user(prosody, me) as phone:
        async with Running(network_for(prosody), me, "pass") as (session, sink):
            await settled(session)
            position = sink.position
        for number in range(130):
            peer.send(me, f"missed {number}")
        await phone.wait_for_text("missed 129")
        async with Wire(prosody.host, prosody.port) as wire:
            network = network_for(prosody, port=wire.port)
            running = Running(network, me, "pass", position=position)
            running.sink.broken = True
            async with running as (session, sink):
                await until(lambda: sink.refused > 0)
                peer.send(me, "live, held")
                await phone.wait_for_text("live, held")
                state = len(sink.states)
                wire.cut()
                await sink.status(SessionStatus.CONNECTED, after=state)
                sink.broken = False
                await until(lambda: "live, held" in sink.bodies)
                await settled(session)
                assert texts(sink) == [*(f"missed {n}" for n in range(130)), "live, held"]
                peer.send(me, "live")
                await until(lambda: "live" in sink.bodies)
                assert texts(sink)[-1] == "live"
