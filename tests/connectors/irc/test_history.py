"""What was missed is read from a server that keeps it, and what happens when that goes wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import structlog

from dm_bridge.connectors.irc import history as reading
from dm_bridge.connectors.irc.position import Position
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.abilities import OutgoingReactions, Reference
from dm_bridge.network.events import ContactMoved, RemoteMessage, RemoteReactions, SessionStatus

from .scripted import KeepingServer, history, keeping, stamp
from .support import Sink, message, network_for, running, until

QUICK = {"record_timeout": 0.3}
HOUR = 3600.0


def before(seconds: float = HOUR) -> str:
    """A position from some time ago."""
    return Position.text({}, time.time() - seconds)


def new(*sinks: Sink) -> list[RemoteMessage]:
    """What the bridge makes of what the sinks got, one after the other: what it has had, it drops."""
    seen: dict[tuple[str, str], RemoteMessage] = {}
    for sink in sinks:
        for event in sink.messages:
            seen.setdefault((event.chat, event.id), event)
    return list(seen.values())


def bodies(*sinks: Sink) -> list[str]:
    return [event.content.body for event in new(*sinks)]


async def caught_up(sink: Sink, since: str | None) -> None:
    """Wait until the record was read: the position has moved."""
    await until(lambda: _time(sink.position) > _time(since))


def _time(position: str | None) -> float:
    return Position.parse(position).time or 0.0


KINDS = {
    "ids": {},
    "no ids": {"ids": False},
    "ids live, seconds and nicks in the record": {"coarse": True},
}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_missed_is_read_once_in_order_with_its_time(kind: str) -> None:
    began = time.time() - 600
    async with keeping(**KINDS[kind]) as server:
        for number in range(23):
            at = began + number * 0.3
            sender, target = ("romeo", "juliet") if number % 5 == 2 else ("juliet", "romeo")
            server.wrote(sender, f"line {number}", target=target, at=at)
        for _ in range(3):
            server.wrote("nurse", "again and again", at=began + 5.25)
        server.wrote("nurse", "long ago", at=began - 2 * HOUR)
        server.wrote("benvolio", "in a channel", target="#verona", at=began)
        network = await network_for(server)
        position = before(1000)
        async with running(network, "romeo", position=position) as (session, first):
            await caught_up(first, position)
            assert session.capabilities.catches_up
            assert session.capabilities.own_messages
            server.wrote("juliet", "live", at=time.time(), live=True)
            await until(lambda: "live" in first.bodies)
        async with running(network, "romeo", position=first.position) as (_, second):
            server.wrote("juliet", "later", at=time.time(), live=True)
            await until(lambda: "later" in second.bodies)
        juliets = [event for event in new(first, second) if event.chat == "juliet@net"]
        lines = [f"line {number}" for number in range(23)]
        assert [event.content.body for event in juliets] == [*lines, "live", "later"]
        assert [event.from_self for event in juliets[:23]] == [n % 5 == 2 for n in range(23)]
        assert juliets[4].sent_at == pytest.approx(
            began + 4 * 0.3, abs=1.0 if "seconds" in kind else 0.002
        )
        assert bodies(first, second).count("again and again") == 3
        assert bodies(first, second).count("long ago") == 0
        assert {event.chat for event in new(first, second)} == {"juliet@net", "nurse@net"}
        assert second.bodies == ["later"]  # what the position knows is not even delivered again
        assert not any(isinstance(event, ContactMoved) for event in first.events + second.events)


async def test_more_lines_in_one_second_than_a_page_has_are_read() -> None:
    async with keeping(limit=4) as server:
        began = float(int(time.time()) - 300)
        for number in range(30):
            server.wrote("juliet", f"line {number}", at=began + number * 0.01)
        position = before(1000)
        async with running(await network_for(server), "romeo", position=position) as (_, sink):
            await caught_up(sink, position)
        assert bodies(sink) == [f"line {number}" for number in range(30)]


async def test_more_chats_than_a_page_has_are_read() -> None:
    async with keeping(limit=3) as server:
        for number in range(11):
            server.wrote(f"friend{number}", "hello", at=time.time() - 300 + number // 2)
        position = before(1000)
        async with running(await network_for(server), "romeo", position=position) as (_, sink):
            await caught_up(sink, position)
        assert {event.chat for event in new(sink)} == {f"friend{n}@net" for n in range(11)}


async def test_what_is_live_waits_for_what_was_missed() -> None:
    gate: list[str] = []

    def withheld(server: KeepingServer, params: list[str]) -> Iterable[str]:
        gate.extend(history(server, params))
        return ()

    async with keeping(script={"AFTER": withheld}) as server:
        server.deaf_to = "PING"
        server.wrote("juliet", "missed", at=time.time() - 300)
        position = before()
        network = await network_for(server, settings={"send_wait": 0.2})
        async with running(network, "romeo", position=position) as (session, sink):
            await until(lambda: bool(gate))
            server.wrote("juliet", "live", at=time.time(), live=True)
            server.send(":juliet!juliet@host NICK julia")
            server.wrote("julia", "and renamed", at=time.time() + 0.01, live=True)
            with pytest.raises(NetworkError, match="still being read") as caught:
                await session.send(message("nurse", "too early"))
            assert (caught.value.certain, caught.value.retry_after is None) == (True, False)
            assert sink.bodies == []
            server.deaf_to = ""
            server.send(*gate)
            await until(lambda: "and renamed" in sink.bodies)
            assert sink.bodies == ["missed", "live", "and renamed"]
            kinds = [type(event) for event in sink.events]
            assert kinds.index(ContactMoved) == 2


async def test_who_changed_their_nick_meanwhile_keeps_the_chat() -> None:
    async with keeping() as server:
        at = time.time() - 300
        server.wrote("juliet", "I am Juliet", at=at, account="capulet")
        server.wrote("julia", "call me Julia", at=at + 60, account="capulet")
        position = before()
        async with running(await network_for(server), "romeo", position=position) as (_, sink):
            await caught_up(sink, position)
            kinds = [type(event) for event in sink.events]
            assert kinds == [RemoteMessage, ContactMoved, RemoteMessage]
            assert sink.bodies == ["I am Juliet", "call me Julia"]


async def test_the_overlap_is_known_even_where_the_chat_has_moved() -> None:
    async with keeping() as server:
        position = before()
        network = await network_for(server)
        async with running(network, "romeo", position=position) as (_, first):
            await until(lambda: len(server.asked) > 0)
            server.wrote("juliet", "as Juliet", at=time.time(), live=True)
            await until(lambda: bool(first.bodies))
            server.send(":juliet!juliet@host NICK julia")
            server.wrote("julia", "as Julia", at=time.time(), live=True)
            await until(lambda: len(first.bodies) == 2)
        asked = len(server.asked)
        async with running(network, "romeo", position=first.position) as (_, second):
            await until(lambda: len(server.asked) >= asked + 3)
            server.wrote("julia", "live", at=time.time(), live=True)
            await until(lambda: bool(second.bodies))
            assert second.bodies == ["live"]
            assert {event.chat for event in second.messages} == {"julia@net"}


async def test_answers_and_reactions_are_read_too() -> None:
    async with keeping(caps=f"{KeepingServer.caps} draft/event-playback") as server:
        at, position = time.time() - 300, before()
        network = await network_for(server)
        first = server.wrote("juliet", "missed", at=at)
        about = f"+draft/reply={first.msgid}"
        server.wrote("juliet", "an answer", at=at + 1, tags=about)
        reaction = f"{about} +draft/react=\N{THUMBS UP SIGN}"
        server.wrote("juliet", "", at=at + 2, command="TAGMSG", tags=reaction)
        server.wrote("romeo", "", at=at + 3, command="TAGMSG", tags=reaction, target="juliet")
        async with running(network, "romeo", position=position) as (session, sink):
            await caught_up(sink, position)
            assert sink.messages[1].reply_to == f"id:{first.msgid}"
            found = [event for event in sink.events if isinstance(event, RemoteReactions)]
            assert [(event.from_self, event.emojis) for event in found] == [
                (False, ("\N{THUMBS UP SIGN}",)),
                (True, ("\N{THUMBS UP SIGN}",)),
            ]
            live = server.wrote("juliet", "live", at=time.time(), live=True)
            await until(lambda: "live" in sink.bodies)
            await session.react(
                OutgoingReactions(
                    ChatId("juliet@net"),
                    RemoteId("out-1"),
                    Reference(RemoteId(f"id:{live.msgid}"), False, ""),
                    ("\N{THUMBS UP SIGN}",),
                    ("\N{THUMBS UP SIGN}",),
                    (),
                )
            )
        async with running(network, "romeo", position=sink.position) as (_, second):
            server.wrote("juliet", "later", at=time.time(), live=True)
            await until(lambda: "later" in second.bodies)
        assert len(second.events) == 1


# -- what the bridge sends itself


async def test_what_the_bridge_sent_does_not_come_back() -> None:
    async with keeping() as server:
        position = before()
        network = await network_for(server)
        async with running(network, "romeo", position=position) as (session, first):
            await session.send(message("juliet", "from the bridge\nin two lines"))
            await session.send(message("juliet", "from the bridge"))
            server.wrote("romeo", "from the bridge", target="juliet", at=time.time(), live=True)
            await until(lambda: bool(first.bodies))
        async with running(network, "romeo", position=first.position) as (_, second):
            server.wrote("juliet", "live", at=time.time(), live=True)
            await until(lambda: bool(second.bodies))
        assert first.bodies == ["from the bridge"]
        assert first.messages[0].from_self
        assert second.bodies == ["live"]


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_message_whose_fate_is_unknown_is_looked_for_in_the_record(arrives: bool) -> None:
    async with keeping() as server:
        network = await network_for(server)
        out = message("juliet", "did it\narrive?")
        async with running(network, "romeo", position=before()) as (session, first):
            await session.send(message("juliet", "first"))
            server.deaf_to = "PRIVMSG"
            sending = asyncio.create_task(session.send(out))
            await until(lambda: any("did it" in line for line in server.heard))
            stored = first.position  # as it is when the process is killed now
            sending.cancel()
        server.deaf_to = ""
        if arrives:
            for text in ("did it", "arrive?"):
                server.wrote("romeo", text, target="juliet", at=time.time())
        async with running(network, "romeo", position=stored) as (session, second):
            again = dataclasses.replace(out, attempted=time.time() - 5)
            if arrives:
                assert await session.send(again) == out.id
            else:
                with pytest.raises(NetworkError, match="was interrupted"):
                    await session.send(again)
            server.wrote("juliet", "live", at=time.time(), live=True)
            await until(lambda: bool(second.bodies))
            assert second.bodies == ["live"]
        assert sum("did it" in line for line in server.heard) == 1


async def test_nothing_is_sent_before_it_is_written_down_that_it_is() -> None:
    async with keeping() as server:
        network = await network_for(server, settings={"send_timeout": 0.5})
        async with running(network, "romeo", position=before()) as (session, sink):
            await until(lambda: bool(server.asked))
            sink.broken = True
            with pytest.raises(NetworkError, match="could not write down") as caught:
                await session.send(message("juliet", "too early"))
            assert (caught.value.certain, caught.value.retry_after is None) == (True, False)
            assert not any("too early" in line for line in server.heard)
            sink.broken = False


# -- what is offered


async def test_chathistory_is_preferred_to_playback() -> None:
    caps = f"{KeepingServer.caps} znc.in/playback znc.in/self-message"
    async with keeping(caps=caps) as server:
        server.wrote("juliet", "missed", at=time.time() - 300)
        position = before()
        async with running(await network_for(server), "romeo", position=position) as (_, sink):
            await caught_up(sink, position)
        assert sink.bodies == ["missed"]
        assert not any("*playback" in line for line in server.heard)


@pytest.mark.parametrize("missing", ["draft/chathistory", "batch", "server-time"])
async def test_nothing_is_declared_that_is_not_offered(missing: str) -> None:
    caps = " ".join(cap for cap in KeepingServer.caps.split() if cap != missing)
    async with keeping(caps=caps) as server:
        server.wrote("juliet", "missed", at=time.time() - 300)
        async with running(await network_for(server), "romeo", position=before()) as (
            session,
            sink,
        ):
            server.wrote("juliet", "live", at=time.time(), live=True)
            await until(lambda: bool(sink.bodies))
            assert not session.capabilities.catches_up
            assert not session.capabilities.own_messages
            assert sink.bodies == ["live"]
            assert server.asked == []


# -- what goes wrong


async def test_a_server_that_is_slow_is_waited_for_while_it_goes_on() -> None:
    def withheld(server: KeepingServer, params: list[str]) -> Iterable[str]:
        gate.extend(history(server, params))
        return ()

    gate: list[str] = []
    async with keeping(limit=100, script={"AFTER": withheld}) as server:
        server.deaf_to = "PING"
        for number in range(8):
            server.wrote("juliet", f"line {number}", at=time.time() - 300 + number)
        position = before()
        network = await network_for(server, settings={"record_timeout": 2.0})
        with structlog.testing.capture_logs() as logs:
            async with running(network, "romeo", position=position) as (_, sink):
                await until(lambda: bool(gate))
                began = time.monotonic()
                for line in gate:
                    await asyncio.sleep(0.25)
                    server.send(line)
                assert time.monotonic() - began > 2.0
                await caught_up(sink, position)
        assert "was not read" not in str(logs)
        assert bodies(sink) == [f"line {number}" for number in range(8)]


def _nothing(server: KeepingServer, params: list[str]) -> Iterable[str]:
    return ()


def _refusal(server: KeepingServer, params: list[str]) -> Iterable[str]:
    yield f":s FAIL CHATHISTORY MESSAGE_ERROR {params[0]} :Messages could not be retrieved"


def _unknown(server: KeepingServer, params: list[str]) -> Iterable[str]:
    yield ":s 421 romeo CHATHISTORY :Unknown command"


def _silence(server: KeepingServer, params: list[str]) -> Iterable[str]:
    server.deaf_to = "PING"
    return ()


def _no_end(server: KeepingServer, params: list[str]) -> Iterable[str]:
    yield from list(history(server, params))[:-1]


def _only_an_end(server: KeepingServer, params: list[str]) -> Iterable[str]:
    yield list(history(server, params))[-1]


def _another_batch(server: KeepingServer, params: list[str]) -> Iterable[str]:
    yield ":s BATCH +n netjoin one two"
    yield ":s BATCH -n"


FAILURES: dict[str, Callable[[KeepingServer, list[str]], Iterable[str]]] = {
    "no batch": _nothing,
    "a refusal": _refusal,
    "an unknown command": _unknown,
    "silence": _silence,
    "a batch without an end": _no_end,
    "an end without a batch": _only_an_end,
    "another batch": _another_batch,
}


@pytest.mark.parametrize("command", ["TARGETS", "AFTER"])
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_record_that_cannot_be_read_stops_nothing_and_is_read_next_time(
    command: str, failure: str
) -> None:
    async with keeping(limit=100, script={command: FAILURES[failure]}) as server:
        network = await network_for(server, settings=QUICK)
        server.wrote("juliet", "missed", at=time.time() - 300)
        server.wrote("juliet", "missed, too", at=time.time() - 290)
        position = before()
        with structlog.testing.capture_logs() as logs:
            async with running(network, "romeo", position=position) as (session, first):
                server.wrote("juliet", "live", at=time.time(), live=True)
                await until(lambda: "live" in first.bodies)
                server.deaf_to = ""
                await session.send(message("juliet", "sent"))
                assert not session.capabilities.catches_up
                assert first.states[-1].status is SessionStatus.CONNECTED
        assert [log["event"] for log in logs].count("what was missed was not read") == 1
        assert _time(first.position) == _time(position)
        server.script.clear()
        patient = await network_for(server)
        async with running(patient, "romeo", position=first.position) as (session, second):
            await caught_up(second, first.position)
            assert session.capabilities.catches_up
        read = (
            ["missed", "missed, too"]
            if (command, failure) == ("AFTER", "a batch without an end")
            else []
        )
        assert first.bodies == [*read, "live"]
        assert sorted(bodies(first, second)) == ["live", "missed", "missed, too"]
        assert not any(event.from_self for event in new(first, second))


async def test_a_page_that_comes_again_and_again_is_given_up() -> None:
    def same(server: KeepingServer, params: list[str]) -> Iterable[str]:
        return history(server, [*params[:2], f"timestamp={stamp(time.time() - HOUR)}", params[3]])

    async with keeping(script={"AFTER": same}) as server:
        for number in range(12):
            server.wrote("juliet", f"line {number}", at=time.time() - 300 + number * 3)
        network = await network_for(server)
        with structlog.testing.capture_logs() as logs:
            async with running(network, "romeo", position=before()) as (_, sink):
                server.wrote("nurse", "live", at=time.time(), live=True)
                await until(lambda: "live" in sink.bodies)
        assert "again and again" in str(logs)
        assert len([params for params in server.asked if params[0] == "AFTER"]) < 10
        assert bodies(sink) == [*(f"line {number}" for number in range(5)), "live"]


async def test_a_list_of_chats_that_comes_again_and_again_ends() -> None:
    def same(server: KeepingServer, params: list[str]) -> Iterable[str]:
        return history(server, [params[0], f"timestamp={stamp(time.time() - HOUR)}", *params[2:]])

    async with keeping(limit=2, script={"TARGETS": same}) as server:
        for number in range(5):
            server.wrote(f"friend{number}", "hello", at=time.time() - 300 + number * 3)
        position = before()
        async with running(await network_for(server), "romeo", position=position) as (_, sink):
            await caught_up(sink, position)
        assert len(server.asked) < 10
        assert bodies(sink) == ["hello", "hello"]


async def test_what_can_be_no_chat_is_passed_over() -> None:
    def with_others(server: KeepingServer, params: list[str]) -> Iterable[str]:
        lines = list(history(server, params))
        reference = lines[-1].rpartition("-")[2]
        yield lines[0]
        for target in ("#verona", "romeo", "two:words", ":three more words", "", "x" * 99):
            yield f"@batch={reference} :s CHATHISTORY TARGETS {target} {stamp(time.time() - 200)}"
        yield f"@batch={reference} :s CHATHISTORY TARGETS nurse yesterday"
        yield from lines[1:]

    async with keeping(script={"TARGETS": with_others}) as server:
        server.wrote("juliet", "missed", at=time.time() - 300)
        position = before()
        with structlog.testing.capture_logs() as logs:
            async with running(await network_for(server), "romeo", position=position) as (_, sink):
                await caught_up(sink, position)
        assert sink.bodies == ["missed"]
        assert [log for log in logs if log["log_level"] in ("warning", "error")] == []
        assert {params[1] for params in server.asked if params[0] == "AFTER"} == {"juliet"}


async def test_too_many_chats_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_CHATS", 4)
    async with keeping(limit=3) as server:
        for number in range(7):
            server.wrote(f"friend{number}", "hello", at=time.time() - 300 + number)
        position = before()
        with structlog.testing.capture_logs() as logs:
            async with running(await network_for(server), "romeo", position=position) as (_, sink):
                await caught_up(sink, position)
        assert "there are too many chats" in str(logs)
        assert sink.bodies == ["hello"] * 4


@pytest.mark.parametrize("ends", [True, False])
async def test_a_chat_without_end_is_given_up(ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def flood(server: KeepingServer, params: list[str]) -> Iterable[str]:
        yield ":s BATCH +f chathistory juliet"
        for _ in range(100):
            said = server.wrote("juliet", "flood", at=time.time() - 300 + len(server.said) * 0.1)
            yield server.line(said, batch="f")
        if ends:
            yield ":s BATCH -f"

    monkeypatch.setattr(reading, "MAX_LINES", 50)
    async with keeping(limit=100, script={"AFTER": flood}) as server:
        server.wrote("juliet", "first", at=time.time() - 300)
        network = await network_for(server)
        with structlog.testing.capture_logs() as logs:
            async with running(network, "romeo", position=before()) as (_, sink):
                server.wrote("nurse", "live", at=time.time(), live=True)
                await until(lambda: "live" in sink.bodies)
        assert "what was missed was not read" in str(logs)


async def test_one_chat_that_the_server_does_not_show_is_passed_over() -> None:
    def but_juliet(server: KeepingServer, params: list[str]) -> Iterable[str]:
        if params[1] == "juliet":
            return [
                ":s FAIL CHATHISTORY INVALID_TARGET AFTER juliet :Messages could not be retrieved"
            ]
        return history(server, params)

    async with keeping(script={"AFTER": but_juliet}) as server:
        server.wrote("juliet", "secret", at=time.time() - 300)
        server.wrote("nurse", "open", at=time.time() - 200)
        position = before()
        with structlog.testing.capture_logs() as logs:
            async with running(await network_for(server), "romeo", position=position) as (_, sink):
                await caught_up(sink, position)
        assert sink.bodies == ["open"]
        assert "does not show a chat" in str(logs)


def _nested(server: KeepingServer, params: list[str]) -> Iterable[str]:
    lines = list(history(server, params))
    reference = lines[-1].rpartition("-")[2]
    yield lines[0]
    yield f"@batch={reference} :s BATCH +inner draft/multiline romeo"
    yield from (line.replace(f"batch={reference}", "batch=inner") for line in lines[1:-1])
    yield ":s BATCH -inner"
    yield lines[-1]


def _reused(server: KeepingServer, params: list[str]) -> Iterable[str]:
    lines = list(history(server, params))
    reference = lines[-1].rpartition("-")[2]
    yield from (line.replace(reference, "1") for line in lines)


def _with_strangers(server: KeepingServer, params: list[str]) -> Iterable[str]:
    lines = list(history(server, params))
    reference = lines[-1].rpartition("-")[2]
    yield lines[0]
    yield ":s NOTICE romeo :between"
    at = stamp(server.said[0].at)
    yield f"@batch={reference};time={at} :HistServ!h@s PRIVMSG * :juliet sent you a TAGMSG"
    yield f"@batch={reference};time={at} :s 372 romeo :what"
    yield f"@batch={reference} :juliet!juliet@host TAGMSG romeo"
    yield ":s BATCH +other chathistory nurse"
    yield from lines[1:]
    yield ":s BATCH -other"


@pytest.mark.parametrize("script", [_nested, _reused, _with_strangers])
async def test_unusual_batches_are_read(script: Callable[..., Any]) -> None:
    async with keeping(script={"AFTER": script}) as server:
        for number in range(12):
            server.wrote("juliet", f"line {number}", at=time.time() - 300 + number * 0.7)
        position = before()
        async with running(await network_for(server), "romeo", position=position) as (_, sink):
            await caught_up(sink, position)
        assert bodies(sink) == [f"line {number}" for number in range(12)]


async def test_questions_of_the_past_are_not_answered_and_notices_begin_no_chat() -> None:
    async with keeping() as server:
        server.wrote("juliet", "\x01VERSION\x01", at=time.time() - 300)
        server.wrote("guard", "unasked", at=time.time() - 300, command="NOTICE")
        server.wrote("juliet", "\x01ACTION waves\x01", at=time.time() - 290)
        position = before()
        async with running(await network_for(server), "romeo", position=position) as (
            session,
            sink,
        ):
            await caught_up(sink, position)
            await session.send(message("juliet", "sent"))
        assert sink.bodies == ["waves"]
        assert sink.messages[0].content.emote
        assert not any("VERSION" in line for line in server.heard)


async def test_a_connection_that_breaks_in_the_middle_loses_and_doubles_nothing() -> None:
    broken: list[str] = []

    def breaks(server: KeepingServer, params: list[str]) -> Iterable[str]:
        lines = list(history(server, params))
        if len(broken) < 3:
            broken.append(params[2])
            asyncio.get_running_loop().call_soon(server.cut)
            return lines[: 1 + len(broken)]
        return lines

    async with keeping(script={"AFTER": breaks}) as server:
        for number in range(12):
            server.wrote("juliet", f"line {number}", at=time.time() - 300 + number * 0.7)
        position = before()
        async with running(
            await network_for(server), "romeo", position=position, connected=False
        ) as (_, sink):
            await caught_up(sink, position)
        assert len(broken) == 3
        assert bodies(sink) == [f"line {number}" for number in range(12)]


async def test_while_the_store_is_down_the_position_stays() -> None:
    async with keeping() as server:
        for number in range(12):
            server.wrote("juliet", f"line {number}", at=time.time() - 300 + number * 0.7)
        position = before()
        network = await network_for(server)
        async with running(network, "romeo", position=position, connected=False) as (_, sink):
            sink.broken = True
            await until(lambda: sink.refused > 0)
            assert sink.position is None
        async with running(network, "romeo", position=position) as (_, sink):
            await caught_up(sink, position)
            assert bodies(sink) == [f"line {number}" for number in range(12)]
