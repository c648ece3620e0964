"""Sessions with a real server."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from dm_bridge.connectors.xmpp.config import XmppConfig
from dm_bridge.connectors.xmpp.network import XmppNetwork
from dm_bridge.errors import CredentialsError
from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.api import OutgoingMessage
from dm_bridge.network.events import RemoteFailure, RemoteMessage, SessionStatus, Text
from dm_bridge.network.signals import RemoteTyping
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.xmpp_client import XmppUser
from dm_bridge.testing.xmpp_server import Tls

from .support import Running, message, mute_server, network_for, until


async def accounts(server: Prosody, *localparts: str) -> list[str]:
    return [await server.add_user(localpart, "pass") for localpart in localparts]


def user(server: Prosody, jid: str, *, carbons: bool = False) -> XmppUser:
    return XmppUser(
        jid,
        "pass",
        server.host,
        server.port,
        tls=server.tls,
        ca_file=server.ca_file,
        carbons=carbons,
    )


@pytest.mark.parametrize("tls", ["none", "starttls", "direct"])
async def test_messages_go_both_ways(tls: Tls, prosodies: dict[Tls, Prosody]) -> None:
    server = prosodies[tls]
    me, other = await accounts(server, "ways.me", "ways.other")
    before = asyncio.all_tasks()
    async with (
        Running(network_for(server), me, "pass") as (session, sink),
        user(server, other) as peer,
    ):
        peer.send(me, "Good *pilgrim*", id="first")
        await until(lambda: bool(sink.events))
        event = sink.events[0]
        assert isinstance(event, RemoteMessage)
        assert (event.chat, event.sender, event.from_self) == (other, other, False)
        assert event.content == Text("Good *pilgrim*", "Good <strong>pilgrim</strong>")
        assert event.id.startswith("sid:")

        body = "plain *stars*\n  and \U0001f600 <&>"
        assert await session.send(message(other, body, "out-1")) == "out-1"
        received = await peer.wait_for_text(body)
        assert (received.id, received.type) == ("out-1", "chat")
        assert '<origin-id xmlns="urn:xmpp:sid:0" id="out-1"' in received.xml
        assert "unstyled" in received.xml
        await session.send(
            OutgoingMessage(ChatId(other), RemoteId("out-2"), Text("b", "<b>b</b>", emote=True))
        )
        assert (await peer.wait_for_text("/me *b*")).id == "out-2"
    assert {state.status for state in sink.states} == {
        SessionStatus.CONNECTING,
        SessionStatus.CONNECTED,
    }
    await until(lambda: asyncio.all_tasks() <= before)


async def test_two_hundred_messages_arrive_in_order_in_few_commits(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "order.me", "order.other")
    async with Running(network_for(prosody), me, "pass") as (_, sink), user(prosody, other) as peer:
        for number in range(200):
            peer.send(me, f"message {number}")
        await until(lambda: len(sink.events) >= 200)
        assert sink.bodies == [f"message {number}" for number in range(200)]
        assert len({event.id for event in sink.events if isinstance(event, RemoteMessage)}) == 200
        assert len(sink.batches) < 200


async def test_what_the_user_writes_elsewhere_arrives_as_their_own(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "carbon.me", "carbon.other")
    async with (
        Running(network_for(prosody), me, "pass") as (session, sink),
        user(prosody, me) as phone,
        user(prosody, other) as peer,
    ):
        phone.send(other, "from my phone", id="phone-1")
        await peer.wait_for_text("from my phone")
        await until(lambda: bool(sink.events))
        event = sink.events[0]
        assert isinstance(event, RemoteMessage)
        assert (event.chat, event.sender, event.from_self) == (other, me, True)

        peer.send(phone.jid, "only to the phone")
        await until(lambda: "only to the phone" in sink.bodies)
        assert isinstance(sink.events[-1], RemoteMessage)
        assert not sink.events[-1].from_self

        await session.send(message(other, "from the bridge"))
        await peer.wait_for_text("from the bridge")
        peer.send(me, "end")
        await until(lambda: "end" in sink.bodies)
        assert sink.bodies == ["from my phone", "only to the phone", "end"]


async def test_a_contact_who_types_to_another_device_is_seen_typing(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "typed.me", "typed.other")
    async with (
        Running(network_for(prosody), me, "pass") as (_, sink),
        user(prosody, me) as phone,
        user(prosody, other) as peer,
    ):
        state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
        peer.send_xml(f"<message to='{phone.jid}' type='chat'>{state}</message>")
        await until(lambda: RemoteTyping(ChatId(other), ContactId(other), True) in sink.signals)


async def test_a_forged_carbon_copy_is_dropped(prosody: Prosody) -> None:
    me, other, mallory = await accounts(prosody, "forge.me", "forge.other", "forge.mallory")
    async with Running(network_for(prosody), me, "pass") as (_, sink):
        async with user(prosody, mallory) as attacker:
            for direction, sender, to in (("received", other, me), ("sent", me, other)):
                attacker.send_xml(
                    f"<message to='{me}' type='chat'><{direction} xmlns='urn:xmpp:carbons:2'>"
                    "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'"
                    f" from='{sender}/x' to='{to}' type='chat'><body>forged</body></message>"
                    f"</forwarded></{direction}><body>cover</body></message>"
                )
            attacker.send(me, "honest")
            await until(lambda: "honest" in sink.bodies)
        assert sink.bodies == ["honest"]


async def test_notes_to_oneself_arrive_once(prosody: Prosody) -> None:
    (me,) = await accounts(prosody, "self.me")
    async with (
        Running(network_for(prosody), me, "pass") as (session, sink),
        user(prosody, me, carbons=True) as phone,
    ):
        await session.send(message(me, "from here"))
        await phone.wait_for_text("from here")
        phone.send(me, "from the phone", id="note-1")
        await until(lambda: bool(sink.events))
        await asyncio.sleep(0.2)
        messages = [event for event in sink.events if isinstance(event, RemoteMessage)]
        assert len({event.id for event in messages}) == 1
        assert {(event.chat, event.from_self) for event in messages} == {(me, True)}


async def test_a_bounce_is_reported_for_the_message_it_is_about(prosody: Prosody) -> None:
    (me,) = await accounts(prosody, "bounce.me")
    async with Running(network_for(prosody), me, "pass") as (session, sink):
        await session.send(message("no.such.user@localhost", "hello?", "lost-1"))
        await until(lambda: bool(sink.events))
        failure = sink.events[0]
        assert isinstance(failure, RemoteFailure)
        assert (failure.chat, failure.message) == ("no.such.user@localhost", "lost-1")
        assert "no.such.user@localhost" in failure.reason
        await session.send(message("x@unreachable.invalid", "hello?", "lost-2"))
        await until(lambda: len(sink.events) == 2)
        failure = sink.events[1]
        assert isinstance(failure, RemoteFailure)
        assert failure.message == "lost-2"


async def test_a_bounce_is_not_read_again_from_the_archive(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "again.me", "again.other")
    network = network_for(prosody)
    async with Running(network, me, "pass") as (session, sink):
        await until(lambda: sink.position is not None)
        await asyncio.sleep(0.2)
        await session.send(message("x@unreachable.invalid", "hello?", "lost-3"))
        await until(lambda: bool(sink.events))
        position = sink.position
    async with (
        Running(network, me, "pass", position=position) as (_, sink),
        user(prosody, other) as romeo,
    ):
        romeo.send(me, "after the bounce")
        await until(lambda: any(isinstance(event, RemoteMessage) for event in sink.events))
        assert [event for event in sink.events if isinstance(event, RemoteFailure)] == []


async def test_messages_wait_for_a_session_that_is_away(own_prosody: Prosody) -> None:
    me, other = await accounts(own_prosody, "away.me", "away.other")
    async with Running(network_for(own_prosody), me, "pass") as (_, sink):
        position = len(sink.states)
        await own_prosody.restart()
        await sink.status(SessionStatus.TRANSIENT_DISCONNECT, after=position)
        await sink.status(SessionStatus.CONNECTED, after=position)
    async with user(own_prosody, other) as peer:
        peer.send(me, "while you were away")
        peer.send(me, "and again")
        await asyncio.sleep(0.1)
    async with Running(network_for(own_prosody), me, "pass") as (_, sink):
        await until(lambda: len(sink.events) == 2)
        assert sink.bodies == ["while you were away", "and again"]
        first = sink.events[0]
        assert isinstance(first, RemoteMessage)
        assert first.sent_at is not None
        assert abs(first.sent_at - time.time()) < 60


async def test_a_cut_connection_is_resumed_without_loss_or_copies(own_prosody: Prosody) -> None:
    me, other = await accounts(own_prosody, "cut.me", "cut.other")
    network = network_for(own_prosody, retry_min=1.0, retry_max=1.0)
    async with Running(network, me, "pass") as (session, sink), user(own_prosody, other) as peer:
        assert session._client is not None
        stream = session._client.acks.sm_id
        for round_ in range(3):
            position = len(sink.states)
            assert session._client.transport is not None
            session._client.transport.abort()
            peer.send(me, f"in the gap {round_}")
            await session.send(message(other, f"out of the gap {round_}"))
            await sink.status(SessionStatus.CONNECTED, after=position)
            await until(lambda n=round_: f"in the gap {n}" in sink.bodies)  # type: ignore[misc]
            await peer.wait_for_text(f"out of the gap {round_}")
        await asyncio.sleep(0.2)
        assert sink.bodies == [f"in the gap {n}" for n in range(3)]
        assert [r.body for r in peer.received] == [f"out of the gap {n}" for n in range(3)]
        assert session._client.acks.sm_id == stream


async def test_nothing_is_lost_while_the_store_is_down(own_prosody: Prosody) -> None:
    me, other = await accounts(own_prosody, "store.me", "store.other")
    async with user(own_prosody, other) as peer:
        broken = Running(network_for(own_prosody), me, "pass")
        async with broken as (_, sink):
            sink.broken = True
            for number in range(5):
                peer.send(me, f"message {number}")
            await until(lambda: sink.refused >= 2)
            assert sink.events == []
            sink.broken = False
            await until(lambda: len(sink.events) == 5)
            sink.broken = True
            peer.send(me, "message 5")
            peer.send(me, "message 6")
            await until(lambda: sink.refused >= 3)
        assert sink.bodies == [f"message {n}" for n in range(5)]
        again = Running(network_for(own_prosody), me, "pass", position=sink.position)
        async with again as (_, later):
            await until(lambda: later.bodies[-1:] == ["message 6"])
            # earlier ones may come again: the inbox knows them by their ids
            known = {event.id for event in sink.messages}
            new = [event.content.body for event in later.messages if event.id not in known]
            assert new == ["message 5", "message 6"]


async def test_the_second_session_replaces_the_first_which_waits(prosody: Prosody) -> None:
    (me,) = await accounts(prosody, "twice.me")
    network = network_for(prosody, conflict_pause=30.0)
    async with (
        Running(network, me, "pass", login="same") as (_, first),
        Running(network, me, "pass", login="same") as (_, second),
    ):
        state = await first.status(SessionStatus.TRANSIENT_DISCONNECT)
        assert "took over" in state.reason
        await asyncio.sleep(0.5)
        assert [state.status for state in second.states] == [
            SessionStatus.CONNECTING,
            SessionStatus.CONNECTED,
        ]
        assert first.states[-1] == state


async def test_a_changed_password_stops_the_session(own_prosody: Prosody) -> None:
    (me,) = await accounts(own_prosody, "changed.me")
    async with Running(network_for(own_prosody), me, "pass") as (session, sink):
        await own_prosody.change_password("changed.me", "other")
        await own_prosody.restart()
        state = await sink.status(SessionStatus.BAD_CREDENTIALS)
        assert me in state.reason
        count = len(sink.states)
        await asyncio.sleep(1.0)
        assert len(sink.states) == count
        with pytest.raises(CredentialsError) as caught:
            await session.send(message(me, "x"))
        assert caught.value.certain
        assert caught.value.retry_after is None


async def test_a_roster_name_is_private_and_a_nick_is_not(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "names.me", "names.other")
    async with user(prosody, me) as phone:
        await phone.name_contact(other, "My  Juliet")
        async with (
            Running(network_for(prosody), me, "pass") as (session, sink),
            user(prosody, other) as peer,
        ):
            contact = await session.contact(ContactId(other))
            assert (contact.name, contact.private_name) == (None, "My Juliet")
            await phone.name_contact(other, "Renamed")
            peer.send_xml(
                f"<message to='{me}' type='chat'><body>hi</body>"
                "<nick xmlns='http://jabber.org/protocol/nick'>Jules</nick></message>"
            )
            await until(lambda: bool(sink.events))
            contact = await session.contact(ContactId(other))
            assert (contact.name, contact.private_name) == ("Jules", "Renamed")
            unknown = await session.contact(ContactId("who@localhost"))
            assert (unknown.name, unknown.private_name) == (None, None)
            assert session.chat_with(ContactId(other)) == other


async def test_a_subscription_request_is_left_to_the_user(prosody: Prosody) -> None:
    me, other = await accounts(prosody, "sub.me", "sub.other")
    async with Running(network_for(prosody), me, "pass") as (_, sink), user(prosody, other) as peer:
        peer.subscribe(me)
        peer.send(me, "may I?")
        await until(lambda: bool(sink.events))
        await asyncio.sleep(0.2)
        item = peer._client.client_roster[me]
        assert item["subscription"] == "none"
        assert item["pending_out"]


async def test_sends_to_several_chats_do_not_wait_for_each_other(prosody: Prosody) -> None:
    me, *others = await accounts(prosody, "many.me", *(f"many.{n}" for n in range(5)))
    async with Running(network_for(prosody), me, "pass") as (session, _):
        sent = await asyncio.gather(
            *(
                session.send(message(other, f"{n}", f"{other}-{n}"))
                for n in range(10)
                for other in others
            )
        )
        assert len(set(sent)) == 50


async def test_a_server_that_hangs_is_noticed(own_prosody: Prosody) -> None:
    (me,) = await accounts(own_prosody, "hang.me")
    network = network_for(own_prosody, ping_interval=0.3, ping_timeout=0.3, send_timeout=1.0)
    async with Running(network, me, "pass") as (_, sink):
        position = len(sink.states)
        own_prosody.signal(signal.SIGSTOP)
        try:
            state = await sink.status(SessionStatus.TRANSIENT_DISCONNECT, after=position)
        finally:
            own_prosody.signal(signal.SIGCONT)
        assert "did not answer" in state.reason
        await sink.status(SessionStatus.CONNECTED, after=position)


async def test_disconnecting_is_quick_and_final(prosody: Prosody) -> None:
    (me,) = await accounts(prosody, "quick.me")
    running = Running(network_for(prosody), me, "pass")
    async with running as (session, sink):
        started = time.monotonic()
        await session.disconnect()
        assert time.monotonic() - started < 10
        count = len(sink.states)
        await session.connect()
        await asyncio.sleep(0.3)
        assert len(sink.states) == count


async def test_a_session_can_be_closed_while_it_still_connects() -> None:
    async with mute_server() as port:
        entry = {"host": "127.0.0.1", "port": port, "tls": "none"}
        network = XmppNetwork(XmppConfig.model_validate({"servers": {"localhost": entry}}))
        running = Running(network, "a@localhost", "pass")
        await running.session.connect()
        await asyncio.sleep(0.1)
        await asyncio.wait_for(running.session.disconnect(), 4)
    assert [state.status for state in running.sink.states] == [SessionStatus.CONNECTING]
