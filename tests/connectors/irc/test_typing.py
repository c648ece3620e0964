"""Who types, both ways (IRCv3 typing)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from dm_bridge.connectors.irc import typing_notices
from dm_bridge.connectors.irc.client import Client
from dm_bridge.connectors.irc.lines import Line
from dm_bridge.connectors.irc.session import IrcSession
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, ContactId
from dm_bridge.network.signals import RemoteTyping
from dm_bridge.testing.inspircd import InspIrcd
from dm_bridge.testing.irc_client import IrcUser, Received
from dm_bridge.testing.ngircd import NgIrcd

from .scripted import KeepingServer
from .support import Sink, message, network_for, running, until, user

TAGS = ("message-tags",)
SHORT = 0.3


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the times of the specification, as the tests have no time for those."""
    monkeypatch.setattr(typing_notices, "EVERY", SHORT)
    monkeypatch.setattr(typing_notices, "ACTIVE_SECONDS", 2 * SHORT)


def states(juliet: IrcUser) -> list[Received]:
    return [line for line in juliet.received if "+typing" in line.tags]


def said(juliet: IrcUser) -> list[str]:
    return [line.tags["+typing"] for line in states(juliet)]


def types(nick: str, typing: bool) -> RemoteTyping:
    return RemoteTyping(ChatId(f"{nick}@net"), ContactId(f"{nick}@net"), typing)


async def met(session: IrcSession, sink: Sink, juliet: IrcUser, romeo: str) -> ChatId:
    """There is a chat with somebody, in which both have written."""
    juliet.say(romeo, "Romeo?")
    await until(lambda: bool(sink.messages))
    await session.send(message(juliet.nick, "Juliet!"))
    await juliet.wait_for_text("Juliet!")
    return ChatId(f"{juliet.nick}@net")


@dataclass(frozen=True)
class Pair:
    """Two who have a chat."""

    session: IrcSession
    sink: Sink
    juliet: IrcUser
    chat: ChatId


@pytest_asyncio.fixture(scope="module")
async def known(inspircd: InspIrcd) -> AsyncIterator[Pair]:
    network = await network_for(inspircd)
    async with (
        running(network, "romeo70") as (session, sink),
        user(inspircd, "juliet70", caps=TAGS) as juliet,
    ):
        yield Pair(session, sink, juliet, await met(session, sink, juliet, "romeo70"))


@pytest_asyncio.fixture
async def pair(known: Pair, short: None) -> AsyncIterator[Pair]:
    """The same for all tests, when nothing is left of what they typed."""
    yield known
    await known.session.typing(known.chat, False)
    known.juliet.send_raw("@+typing=done TAGMSG romeo70")
    await until(lambda: not known.session._typing._chats and not known.session._typists._ends)
    await known.session.send(message("juliet70", "over"))
    await known.juliet.wait_for_text("over")
    known.sink.signals.clear()
    known.juliet.received.clear()


async def test_a_contact_types_and_stops(pair: Pair) -> None:
    session, sink, juliet = pair.session, pair.sink, pair.juliet
    assert session.capabilities.typing
    for state in ("active", "active", "nonsense", "done", "done"):
        juliet.send_raw(f"@+typing={state} TAGMSG romeo70")
    await until(lambda: len(sink.signals) == 2)
    assert sink.signals == [types("juliet70", True), types("juliet70", False)]
    juliet.send_raw("@+typing=active TAGMSG romeo70")
    juliet.say("romeo70", "Wherefore?")
    juliet.send_raw("@+typing=done TAGMSG romeo70")
    juliet.say("romeo70", "Deny thy father")
    await until(lambda: sink.bodies[-1:] == ["Deny thy father"])
    assert sink.signals[2:] == [types("juliet70", True)]  # the message has said the rest


async def test_who_says_no_more_types_no_more(inspircd: InspIrcd, short: None) -> None:
    network = await network_for(inspircd)
    async with (
        running(network, "romeo71") as (session, sink),
        user(inspircd, "juliet71", caps=TAGS) as juliet,
    ):
        await met(session, sink, juliet, "romeo71")
        juliet.send_raw("@+typing=active TAGMSG romeo71")
        await until(lambda: len(sink.signals) == 2)
        assert sink.signals == [types("juliet71", True), types("juliet71", False)]
        juliet.send_raw("@+typing=paused TAGMSG romeo71")  # for half a minute
        juliet.send_raw("@+typing=active TAGMSG romeo71")
        juliet.send_raw("@+typing=paused TAGMSG romeo71")
        await until(lambda: len(sink.signals) == 3)
        await asyncio.sleep(3 * SHORT)
        assert sink.signals[2:] == [types("juliet71", True)]
        await juliet.quit()
        await until(lambda: len(sink.signals) == 4)
        assert sink.signals[3] == types("juliet71", False)


async def test_a_lost_connection_ends_it(inspircd: InspIrcd) -> None:
    network = await network_for(inspircd)
    async with (
        user(inspircd, "juliet72", caps=TAGS) as juliet,
        running(network, "romeo72") as (session, sink),
    ):
        await met(session, sink, juliet, "romeo72")
        juliet.send_raw("@+typing=active TAGMSG romeo72")
        await until(lambda: len(sink.signals) == 1)
        assert session._client is not None
        session._client.fail(NetworkError("lost"))
        await until(lambda: len(sink.signals) == 2)
        assert sink.signals[1] == types("juliet72", False)


async def test_strangers_and_those_who_take_a_nick_are_not_shown_to_type(
    inspircd: InspIrcd,
) -> None:
    network = await network_for(inspircd)
    async with (
        running(network, "romeo73") as (session, sink),
        user(inspircd, "tybalt73", caps=TAGS) as tybalt,
    ):
        tybalt.send_raw("@+typing=active TAGMSG romeo73")
        async with user(inspircd, "juliet73", caps=TAGS) as juliet:
            await met(session, sink, juliet, "romeo73")
        await until(lambda: not session._people.is_present("juliet73"))
        async with user(inspircd, "juliet73", caps=TAGS, user="another") as impostor:
            impostor.send_raw("@+typing=active TAGMSG romeo73")
            tybalt.say("romeo73", "en garde")
            await impostor.settled()
            await until(lambda: len(sink.messages) == 2)
        assert sink.signals == []


async def test_the_user_types_and_stops(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    session, sink, juliet, chat = pair.session, pair.sink, pair.juliet, pair.chat
    times: list[float] = []
    send = Client.send_if_free

    async def timed(client: Client, line: Line) -> bool:
        times.append(asyncio.get_running_loop().time())
        return await send(client, line)

    monkeypatch.setattr(Client, "send_if_free", timed)
    for typing in (True, True, False, True):
        await session.typing(chat, typing)
    await juliet.wait_for(lambda _: len(said(juliet)) == 3)  # said again while it lasts
    await session.typing(chat, False)
    await juliet.wait_for(lambda _: "done" in said(juliet))
    await session.typing(chat, False)
    await session.typing(chat, True)
    await juliet.wait_for(lambda _: said(juliet)[-1] == "active")
    assert said(juliet)[:3] == ["active"] * 3
    assert said(juliet)[-2:] == ["done", "active"]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert min(gaps) > SHORT * 0.99
    assert {(line.command, line.params) for line in states(juliet)} == {("TAGMSG", ("juliet70",))}
    assert sink.signals == []  # the echo of it is none of the contact's


async def test_a_message_says_that_its_author_is_done(pair: Pair) -> None:
    session, juliet, chat = pair.session, pair.juliet, pair.chat
    await session.typing(chat, True)
    await juliet.wait_for(lambda _: said(juliet) == ["active"])
    await session.send(message("juliet70", "Good night"))
    await session.typing(chat, False)
    await asyncio.sleep(2 * SHORT)
    await session.send(message("juliet70", "again"))
    await juliet.wait_for_text("again")
    assert said(juliet) == ["active"]


async def test_who_does_not_stop_is_said_to_some_time(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typing_notices, "LONGEST", SHORT)
    session, juliet, chat = pair.session, pair.juliet, pair.chat
    await session.typing(chat, True)
    await juliet.wait_for(lambda _: "done" in said(juliet))
    assert not session._typing._chats


async def test_nobody_is_told_without_a_chat(inspircd: InspIrcd, short: None) -> None:
    network = await network_for(inspircd)
    async with (
        running(network, "romeo77") as (session, sink),
        user(inspircd, "tybalt77", caps=TAGS) as tybalt,
        user(inspircd, "juliet77", caps=TAGS) as juliet,
    ):
        await session.typing(ChatId("tybalt77@net"), True)
        await session.typing(ChatId("juliet77!1a2b3c4d@net"), True)
        chat = await met(session, sink, juliet, "romeo77")
        await juliet.quit()
        await until(lambda: not session._people.is_present("juliet77"))
        async with user(inspircd, "juliet77", caps=TAGS, user="another") as impostor:
            await session.typing(chat, True)  # of the chat as it was: it is somebody else's now
            await session.send(message("tybalt77", "en garde"))
            await tybalt.wait_for_text("en garde")
            await impostor.settled()
            assert said(tybalt) == said(impostor) == []


async def test_on_a_busy_line_messages_go_first(inspircd: InspIrcd, short: None) -> None:
    network = await network_for(inspircd, rate=2.0, burst=2)
    async with (
        running(network, "romeo78") as (session, sink),
        user(inspircd, "juliet78", caps=TAGS) as juliet,
    ):
        chat = await met(session, sink, juliet, "romeo78")
        sending = asyncio.create_task(session.send(message("juliet78", "1\n2\n3")))
        await juliet.wait_for_text("1")
        await session.typing(chat, True)
        await sending
        await juliet.wait_for_text("3")
        await juliet.wait_for(lambda _: bool(said(juliet)))  # while nothing waits
        kinds = [line.text if line.command == "PRIVMSG" else "" for line in juliet.received]
        assert kinds.index("3") < juliet.received.index(states(juliet)[0])


async def test_a_new_session_finds_out_who_is_there(inspircd: InspIrcd, short: None) -> None:
    network = await network_for(inspircd)
    async with user(inspircd, "juliet81", caps=TAGS) as juliet:
        async with running(network, "romeo81") as (session, sink):
            chat = await met(session, sink, juliet, "romeo81")
        async with running(network, "romeo81", position=sink.position) as (session, _):
            await session.typing(chat, True)
            await juliet.wait_for(lambda _: said(juliet) == ["active"])


@pytest_asyncio.fixture(scope="module")
async def denying(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[InspIrcd]:
    """A server that passes no tags of clients on, and says so."""
    server = await InspIrcd.start(
        tmp_path_factory.mktemp("denying"), extra='<ctctags allowclientonlytags="no">'
    )
    yield server
    await server.stop()


async def test_where_the_tag_is_denied_nothing_is_sent(denying: InspIrcd) -> None:
    network = await network_for(denying)
    async with (
        running(network, "romeo79") as (session, sink),
        user(denying, "juliet79", caps=TAGS) as juliet,
    ):
        await _says_nothing(session, sink, juliet)


async def test_without_tags_nothing_is_sent(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd)
    async with (
        running(network, "romeo79") as (session, sink),
        user(ngircd, "juliet79") as juliet,
    ):
        await _says_nothing(session, sink, juliet)


async def _says_nothing(session: IrcSession, sink: Sink, juliet: IrcUser) -> None:
    assert not session.capabilities.typing
    chat = await met(session, sink, juliet, "romeo79")
    await session.typing(chat, True)
    assert not session._typing._chats


async def test_what_was_typed_long_ago_is_not_shown(short: None) -> None:
    """A record of events has it, too, and what arrives while one is read is held."""
    async with KeepingServer() as server:
        network = await network_for(server)
        async with running(network, "romeo") as (session, sink):
            server.wrote("juliet", "Romeo?", at=1_700_000_000, live=True)
            await until(lambda: bool(sink.messages))
            server.send(
                ":irc BATCH +b chathistory juliet",
                "@batch=b;+typing=active :juliet!juliet@host TAGMSG romeo",
                ":irc BATCH -b",
            )
            server.wrote("juliet", "Romeo!", at=1_700_000_001, live=True)
            await until(lambda: len(sink.messages) == 2)
            assert sink.signals == []
            assert session.capabilities.typing


async def test_while_there_is_no_connection_it_is_refused(inspircd: InspIrcd) -> None:
    network = await network_for(inspircd)
    async with running(network, "romeo80", connected=False) as (session, _):
        with pytest.raises(NetworkError, match="not connected"):
            await session.typing(ChatId("juliet80@net"), True)
