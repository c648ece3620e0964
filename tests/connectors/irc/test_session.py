"""Sessions with real servers."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import time
from pathlib import Path

import pytest

from dm_bridge.connectors.irc.config import ServerConfig
from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.network.events import RemoteMessage, SessionStatus, Text
from dm_bridge.testing.inspircd import InspIrcd
from dm_bridge.testing.irc_server import IrcServer
from dm_bridge.testing.ngircd import NgIrcd

from .support import message, network_for, running, until, user


async def test_messages_go_both_ways(server: IrcServer) -> None:
    before = asyncio.all_tasks()
    network = await network_for(server)
    async with running(network, "romeo1") as (session, sink), user(server, "Juliet1") as juliet:
        juliet.say("romeo1", "good \x02pilgrim\x02")
        await until(lambda: bool(sink.messages))
        event = sink.messages[0]
        assert (event.chat, event.sender, event.from_self) == ("juliet1@net", "juliet1@net", False)
        assert event.content == Text("good pilgrim", "good <strong>pilgrim</strong>")
        assert event.sender_name == "Juliet1"
        assert (await session.contact(event.sender)).name == "Juliet1"

        out = message("juliet1", "ein Gruß \U0001f600 :) ")
        sent = await session.send(out)
        assert sent.startswith("id:") if session.capabilities.replies else sent == out.id
        assert (await juliet.wait_for_text("ein Gruß \U0001f600 :)")).nick == "romeo1"
        await session.send(message("juliet1", Text("waves", "<b>waves</b>", emote=True)))
        await juliet.wait_for_text("\x01ACTION \x02waves\x02\x01")
        juliet.say("romeo1", "\x01ACTION bows\x01")
        await until(lambda: len(sink.messages) == 2)
        assert sink.messages[1].content == Text("bows", emote=True)
    assert [state.status for state in sink.states] == [
        SessionStatus.CONNECTING,
        SessionStatus.CONNECTED,
    ]
    await until(lambda: asyncio.all_tasks() <= before)


async def test_what_was_sent_is_not_sent_again_and_is_no_message_of_another_client(
    server: IrcServer,
) -> None:
    network = await network_for(server)
    async with running(network, "romeo2") as (session, sink), user(server, "juliet2") as juliet:
        out = message("juliet2", "once")
        await asyncio.gather(session.send(out), session.send(message("juliet2", "twice")))
        await session.send(out)
        juliet.say("romeo2", "end")
        await until(lambda: bool(sink.messages))
        await juliet.settled()
        assert sorted(juliet.texts("romeo2")) == ["once", "twice"]
        assert sink.bodies == ["end"]


async def test_a_long_message_arrives_whole_in_lines_that_fit(server: IrcServer) -> None:
    words = " ".join(f"wörter{number}\U0001f600" for number in range(120))
    network = await network_for(server)
    async with running(network, "romeo3") as (session, _), user(server, "juliet3") as juliet:
        await session.send(message("juliet3", f"{words}\n\nsecond"))
        await juliet.wait_for_text("second")
        assert " ".join(juliet.texts("romeo3")) == f"{words} second"
        assert len(juliet.texts("romeo3")) > 3


@pytest.mark.parametrize(
    "body", ["a\r\nQUIT :b", "a\nPRIVMSG juliet4 :forged", "a\0b\rOPER x y", "\x01DCC\x01"]
)
async def test_nothing_in_a_message_becomes_a_command(server: IrcServer, body: str) -> None:
    network = await network_for(server)
    async with running(network, "romeo4") as (session, sink), user(server, "juliet4") as juliet:
        await session.send(message("juliet4", body))
        await session.send(message("juliet4", "end"))
        await juliet.wait_for_text("end")
        said = juliet.texts("romeo4")
        assert "forged" not in said
        assert not any(text.startswith("\x01") for text in said)
        assert sink.states[-1].status is SessionStatus.CONNECTED


async def test_who_is_not_there_gets_nothing_and_the_user_is_told(server: IrcServer) -> None:
    network = await network_for(server)
    async with running(network, "romeo5") as (session, _):
        with pytest.raises(NetworkError, match="nobody5 is not on net at the moment") as caught:
            await session.send(message("nobody5", "hello?"))
        assert caught.value.certain
        assert caught.value.retry_after is None
        async with user(server, "nobody5") as late:
            await session.send(message("nobody5", "hello?"))
            await late.wait_for_text("hello?")


async def test_who_is_away_gets_the_message(server: IrcServer) -> None:
    network = await network_for(server)
    async with running(network, "romeo6") as (session, _), user(server, "juliet6") as juliet:
        juliet.send_raw("AWAY :asleep")
        await juliet.settled()
        await session.send(message("juliet6", "wake up"))
        await juliet.wait_for_text("wake up")


async def test_who_takes_messages_from_few_only_does_so(inspircd: InspIrcd) -> None:
    network = await network_for(inspircd)
    async with running(network, "romeo7") as (session, _), user(inspircd, "juliet7") as juliet:
        juliet.send_raw("MODE juliet7 +g")
        await juliet.settled()
        with pytest.raises(NetworkError, match="only from people whom they have allowed") as caught:
            await session.send(message("juliet7", "hello?"))
        assert caught.value.certain
        assert juliet.texts("romeo7") == []


async def test_questions_of_clients_are_answered_a_few_times(server: IrcServer) -> None:
    network = await network_for(server)
    async with running(network, "romeo8") as (_, sink), user(server, "juliet8") as juliet:
        juliet.say("romeo8", "\x01PING 123\x01")
        await juliet.wait_for_text("\x01PING 123\x01")
        juliet.say("romeo8", "\x01VERSION\x01")
        assert "dm_bridge" in (await juliet.wait_for(lambda line: "VERSION" in line.text)).text
        juliet.say("romeo8", "\x01DCC SEND poison\x02.exe 1 2 3\x01")
        await juliet.wait_for(lambda line: line.command == "NOTICE" and "no files" in line.text)
        for _ in range(5):
            juliet.say("romeo8", "\x01PING 456\x01")
        juliet.say("romeo8", "\x01UNKNOWN\x01")
        juliet.say("romeo8", "end")
        await until(lambda: "end" in sink.bodies)
        await juliet.settled()
        answers = [line for line in juliet.received if line.text == "\x01PING 456\x01"]
        assert len(answers) == 1
        assert sink.messages[0].content.emote
        assert "(poison.exe)" in sink.bodies[0]
        assert len(sink.bodies) == 2


async def test_a_notice_begins_no_chat_but_is_part_of_one(server: IrcServer) -> None:
    network = await network_for(server)
    async with running(network, "romeo9") as (_, sink), user(server, "juliet9") as juliet:
        juliet.send_raw("NOTICE romeo9 :unasked")
        juliet.say("romeo9", "hello")
        juliet.send_raw("NOTICE romeo9 :asked")
        await until(lambda: len(sink.messages) == 2)
        assert sink.bodies == ["hello", "asked"]


async def test_text_in_an_old_encoding_is_read(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd, encoding="cp1252")
    async with running(network, "romeo10") as (_, sink), user(ngircd, "juliet10") as juliet:
        juliet.send_raw("PRIVMSG romeo10 :20 € für Käse".encode("cp1252"))
        await until(lambda: bool(sink.messages))
        assert sink.bodies == ["20 € für Käse"]


async def test_a_server_that_comes_back_is_used_again(tmp_path: Path) -> None:
    server = await NgIrcd.start(tmp_path)
    try:
        async with running(await network_for(server), "romeo") as (session, sink):
            mark = len(sink.states)
            await server.restart()
            await sink.status(SessionStatus.TRANSIENT_DISCONNECT, after=mark)
            await sink.status(SessionStatus.CONNECTED, after=mark)
            async with user(server, "juliet") as juliet:
                await session.send(message("juliet", "again"))
                await juliet.wait_for_text("again")
    finally:
        await server.stop()


@pytest.mark.parametrize("kind", [NgIrcd, InspIrcd])
async def test_a_message_is_uncertain_when_the_connection_is_lost_before_an_answer(
    kind: type[NgIrcd | InspIrcd], tmp_path: Path
) -> None:
    server = await kind.start(tmp_path)
    try:
        async with (
            running(await network_for(server), "romeo") as (session, _),
            user(server, "juliet"),
        ):
            await session.send(message("juliet", "first"))
            server.signal(signal.SIGSTOP)
            sending = asyncio.create_task(session.send(message("juliet", "second")))
            await asyncio.sleep(0.2)
            assert not sending.done()
            await server.kill()
            with pytest.raises(NetworkError, match="does not tell whether it arrived") as caught:
                await sending
            assert not caught.value.certain
            assert caught.value.retry_after is None
            with pytest.raises(NetworkError, match="not connected") as waiting:
                await session.send(message("juliet", "third"))
            assert waiting.value.certain
            assert waiting.value.retry_after is not None
    finally:
        await server.stop()


async def test_a_message_whose_earlier_attempt_was_interrupted_is_not_sent_again(
    ngircd: NgIrcd,
) -> None:
    network = await network_for(ngircd)
    async with running(network, "romeo11") as (session, _), user(ngircd, "juliet11") as juliet:
        with pytest.raises(NetworkError, match="interrupted") as caught:
            await session.send(message("juliet11", "twice?", attempted=time.time() - 5))
        assert not caught.value.certain
        assert caught.value.retry_after is None
        wanted = message("juliet11", "all the same", attempted=time.time() - 5)
        await session.send(dataclasses.replace(wanted, insisted=True))
        await juliet.wait_for_text("all the same")
        assert juliet.texts("romeo11") == ["all the same"]


async def test_a_long_message_does_not_hold_up_others(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd, rate=20.0, burst=2)
    async with (
        running(network, "romeo12") as (session, _),
        user(ngircd, "juliet12") as juliet,
        user(ngircd, "nurse12") as nurse,
    ):
        long = asyncio.create_task(
            session.send(message("juliet12", "\n".join(f"line {number}" for number in range(20))))
        )
        await juliet.wait_for_text("line 1")
        await session.send(message("nurse12", "quick"))
        assert not long.done()
        await long
        await nurse.wait_for_text("quick")
        await juliet.settled()
        assert juliet.texts("romeo12") == [f"line {number}" for number in range(20)]


async def test_two_hundred_messages_arrive_in_order(server: IrcServer) -> None:
    network = await network_for(server)
    async with running(network, "romeo13") as (_, sink), user(server, "juliet13") as juliet:
        for number in range(200):
            juliet.say("romeo13", f"message {number}")
        await until(lambda: len(sink.messages) >= 200)
        assert sink.bodies == [f"message {number}" for number in range(200)]
        ids = {event.id for event in sink.events if isinstance(event, RemoteMessage)}
        assert len(ids) == 200


async def test_while_the_store_is_down_messages_wait(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd)
    async with running(network, "romeo14") as (_, sink), user(ngircd, "juliet14") as juliet:
        sink.broken = True
        juliet.say("romeo14", "one")
        await until(lambda: sink.refused > 0)
        juliet.say("romeo14", "two")
        await juliet.settled()
        sink.broken = False
        await until(lambda: len(sink.messages) == 2)
        assert sink.bodies == ["one", "two"]


async def test_a_taken_nick_is_taken_back_when_it_is_free(server: IrcServer) -> None:
    network = await network_for(server, settings={"presence_interval": 0.1})
    async with user(server, "romeo15") as other, running(network, "romeo15") as (_, sink):
        assert "you are romeo15_ until" in sink.states[-1].reason
        await other.quit()
        await until(lambda: sink.states[-1].reason == "")
        assert sink.states[-1].status is SessionStatus.CONNECTED


async def test_a_wrong_server_password_ends_all_attempts(tmp_path: Path) -> None:
    server = await NgIrcd.start(tmp_path, password="montague")
    try:
        network = await network_for(server)
        async with running(
            network, "romeo", credentials={"method": "server", "password": "montague"}
        ) as (_, sink):
            assert sink.states[-1].status is SessionStatus.CONNECTED
        async with running(
            network,
            "romeo",
            connected=False,
            credentials={"method": "server", "password": "capulet"},
        ) as (session, sink):
            state = await sink.status(SessionStatus.BAD_CREDENTIALS)
            assert "capulet" not in state.reason
            with pytest.raises(CredentialsError):
                await session.send(message("juliet", "x"))
    finally:
        await server.stop()


async def test_the_usual_pace_is_what_servers_take_by_default(tmp_path: Path) -> None:
    async def one(kind: type[NgIrcd | InspIrcd]) -> None:
        directory = tmp_path / kind.name
        directory.mkdir()
        server = await kind.start(directory, throttled=True)
        try:
            usual = ServerConfig(host=server.host)
            network = await network_for(server, rate=usual.rate, burst=usual.burst)
            async with (
                running(network, "romeo") as (session, sink),
                user(server, "juliet") as juliet,
            ):
                lines = [f"line {number}" for number in range(20)]
                began = time.monotonic()
                await session.send(message("juliet", "\n".join(lines)))
                assert 15 < time.monotonic() - began < 60
                await juliet.wait_for_text(lines[-1])
                assert juliet.texts("romeo") == lines
                assert sink.states[-1].status is SessionStatus.CONNECTED
        finally:
            await server.stop()

    await asyncio.gather(one(NgIrcd), one(InspIrcd))
