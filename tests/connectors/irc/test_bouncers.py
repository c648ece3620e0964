"""Sessions behind a real bouncer: ZNC before each of the real servers."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dm_bridge.connectors.irc.position import Position
from dm_bridge.errors import NetworkError
from dm_bridge.network.events import SessionStatus
from dm_bridge.network.login import LoginDone
from dm_bridge.testing.inspircd import InspIrcd
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.irc_server import IrcServer
from dm_bridge.testing.ngircd import NgIrcd
from dm_bridge.testing.znc import Znc

from .support import message, network_for, running, until, user
from .test_history import bodies
from .znc_module import PLAYBACK

OTHER_CLIENT = ("server-time", "batch", "echo-message", "znc.in/self-message")
WITHOUT = "without the module"
WITH = "with the module"
Start = Callable[..., Awaitable[Znc]]


@pytest.fixture
def within_reach() -> Iterator[Path]:
    """A directory that other users can reach; ZNC does not run as root."""
    path = Path(tempfile.mkdtemp(prefix="dm_bridge_znc_"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest_asyncio.fixture
async def start(within_reach: Path) -> AsyncIterator[Start]:
    """Start ZNC before a server, as somebody; returns when they are there."""
    started: list[Znc] = []

    async def start(server: IrcServer, nick: str, *, module: bool = False, **options: Any) -> Znc:
        if module:
            path = within_reach / "modules" / "playback.py"
            path.parent.mkdir()
            path.write_text(PLAYBACK, encoding="utf-8")
            options["modules"] = ("modpython", "playback")
        bouncer = await Znc.start(within_reach, server, nick, **options)
        started.append(bouncer)
        await online(server, nick)
        return bouncer

    yield start
    for bouncer in started:
        await bouncer.stop()


async def online(server: IrcServer, nick: str) -> None:
    """Wait until somebody is on the server."""
    async with user(server, f"w{nick}") as watcher:
        await watcher.wait_for_nick(nick)


async def detached(bouncer: Znc, *, but: int = 0) -> None:
    """Wait until ZNC has noticed that its clients have gone, but some: until then it keeps nothing for them."""
    local = f"0100007F:{bouncer.port:04X}"
    async with asyncio.timeout(20):
        while True:
            rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            if sum(row[1] == local and row[3] in ("01", "08") for row in rows) <= but:
                return
            await asyncio.sleep(0.01)


def through(bouncer: Znc) -> dict[str, str]:
    """The credentials of the bridge's user there."""
    return {"method": "server", "password": bouncer.login}


def another_client(bouncer: Znc, nick: str) -> IrcUser:
    return IrcUser(nick, bouncer.host, bouncer.port, password=bouncer.login, caps=OTHER_CLIENT)


@pytest.mark.parametrize("clears", [True, False], ids=["clears", "keeps"])
@pytest.mark.parametrize("module", [False, True], ids=[WITHOUT, WITH])
async def test_what_came_while_the_bridge_was_away_is_played_once(
    server: IrcServer, start: Start, module: bool, clears: bool
) -> None:
    nick = f"rz{'mk'[clears]}{'op'[module]}"
    znc = await start(server, nick, module=module, clears=clears)
    network = await network_for(znc)
    async with user(server, f"J{nick}") as juliet, user(server, f"N{nick}") as nurse:
        juliet.say(nick, "before the bridge came")
        await juliet.settled()
        start_of_login = Position.text({}, time.time())
        async with running(network, nick, credentials=through(znc), position=start_of_login) as (
            session,
            first,
        ):
            juliet.say(nick, "live")
            await until(lambda: "live" in first.bodies)
            await session.send(message(f"j{nick}", "answer"))
            await juliet.wait_for_text("answer")
            assert session.capabilities.catches_up is module
            assert session.capabilities.own_messages
        await detached(znc)
        began = time.time()
        for number in range(3):
            juliet.say(nick, f"missed {number}")
            nurse.say(nick, f"nurse {number}")
        juliet.say(nick, "the same")
        juliet.say(nick, "the same")
        await juliet.settled()
        await nurse.settled()
        await asyncio.sleep(0.5)
        ended = time.time()
        position = first.position
        async with running(network, nick, credentials=through(znc), position=position) as (
            _,
            second,
        ):
            juliet.say(nick, "live again")
            await until(lambda: "live again" in second.bodies)
        async with running(network, nick, credentials=through(znc), position=second.position) as (
            _,
            third,
        ):
            juliet.say(nick, "at last")
            await until(lambda: "at last" in third.bodies)
        missed = ["missed 0", "missed 1", "missed 2", "the same", "the same"]
        juliets = [event for event in second.messages if event.chat == f"j{nick}@net"]
        assert [event.content.body for event in juliets] == [*missed, "live again"]
        assert all(began - 1 <= (event.sent_at or 0) <= ended for event in juliets[:-1])
        nurses = [event.content.body for event in second.messages if event.chat == f"n{nick}@net"]
        assert nurses == ["nurse 0", "nurse 1", "nurse 2"]
        assert first.bodies == ["before the bridge came", "live"]
        assert third.bodies == ["at last"]
        assert not any(event.from_self for event in first.messages + second.messages)
        assert bodies(first, second, third)[-1] == "at last"


@pytest.mark.parametrize("module", [False, True], ids=[WITHOUT, WITH])
async def test_what_the_user_writes_elsewhere_is_theirs_and_what_the_bridge_sent_is_not(
    server: IrcServer, start: Start, module: bool
) -> None:
    nick = f"rzo{'op'[module]}"
    znc = await start(server, nick, module=module, clears=False)
    network = await network_for(znc)
    async with user(server, f"J{nick}") as juliet, another_client(znc, nick) as other:
        async with running(network, nick, credentials=through(znc)) as (session, first):
            other.say(f"J{nick}", "from elsewhere")
            await until(lambda: bool(first.bodies))
            await session.send(message(f"j{nick}", "from the bridge\nin two lines"))
            await other.wait_for_text("in two lines")
        await detached(znc, but=1)
        other.say(f"J{nick}", "from elsewhere, later")
        other.say(f"J{nick}", "\x01ACTION waves\x01")
        await juliet.wait_for_text("from elsewhere, later")
        position = first.position
        async with running(network, nick, credentials=through(znc), position=position) as (
            _,
            second,
        ):
            juliet.say(nick, "live")
            await until(lambda: "live" in second.bodies)
        assert first.bodies == ["from elsewhere"]
        assert second.bodies == ["from elsewhere, later", "waves", "live"]
        assert [event.from_self for event in first.messages + second.messages] == [True] * 3 + [
            False
        ]
        assert {event.chat for event in first.messages + second.messages} == {f"j{nick}@net"}


async def test_a_bouncer_that_was_restarted_is_used_again(ngircd: NgIrcd, start: Start) -> None:
    znc = await start(ngircd, "rzr", clears=False)
    async with user(ngircd, "jzr") as juliet:
        async with running(await network_for(znc), "rzr", credentials=through(znc)) as (
            session,
            sink,
        ):
            juliet.say("rzr", "before")
            await until(lambda: "before" in sink.bodies)
            mark = len(sink.states)
            await znc.restart()
            await sink.status(SessionStatus.TRANSIENT_DISCONNECT, after=mark)
            await sink.status(SessionStatus.CONNECTED, after=mark)
            await online(ngircd, "rzr")
            juliet.say("rzr", "after")
            await until(lambda: "after" in sink.bodies)
            await session.send(message("jzr", "answer"))
            await juliet.wait_for_text("answer")
        assert sink.bodies == ["before", "after"]


async def test_a_connection_that_breaks_again_and_again_doubles_nothing(
    inspircd: InspIrcd, start: Start
) -> None:
    znc = await start(inspircd, "rzb", clears=False)
    position: str | None = None
    sinks = []
    network = await network_for(znc)
    async with user(inspircd, "jzb") as juliet:
        for number in range(5):
            async with running(network, "rzb", credentials=through(znc), position=position) as (
                session,
                sink,
            ):
                juliet.say("rzb", f"line {number}")
                await session.send(message("jzb", f"answer {number}"))
                await until(lambda sink=sink, number=number: f"line {number}" in sink.bodies)  # type: ignore[misc]
            position = sink.position
            sinks.append(sink)
    assert [sink.bodies for sink in sinks] == [[f"line {number}"] for number in range(5)]


async def test_who_is_not_there_gets_nothing_and_the_user_is_told(
    server: IrcServer, start: Start
) -> None:
    znc = await start(server, "rzn")
    async with running(await network_for(znc), "rzn", credentials=through(znc)) as (session, _):
        with pytest.raises(NetworkError, match="jzn is not on net at the moment") as caught:
            await session.send(message("jzn", "hello?"))
        assert caught.value.certain
        async with user(server, "jzn") as juliet:
            await session.send(message("jzn", "hello?"))
            await juliet.wait_for_text("hello?")
        with pytest.raises(NetworkError, match="is not on net at the moment"):
            await session.send(message("jzn", "still there?"))


async def test_nothing_is_sent_to_who_has_taken_over_a_nick(
    server: IrcServer, start: Start
) -> None:
    znc = await start(server, "rzt")
    network = await network_for(znc, settings={"presence_interval": 0.1})
    async with running(network, "rzt", credentials=through(znc)) as (session, sink):
        async with user(server, "jzt", user="juliet") as juliet:
            juliet.say("rzt", "it is me")
            await until(lambda: bool(sink.bodies))
        async with user(server, "jzt", user="mallory") as mallory:
            await asyncio.sleep(0.5)
            with pytest.raises(NetworkError, match="Somebody else has the nick"):
                await session.send(message("jzt", "my secret"))
            await mallory.settled()
            assert mallory.texts() == []


async def test_modules_begin_no_chat_but_one_can_talk_to_them(ngircd: NgIrcd, start: Start) -> None:
    znc = await start(ngircd, "rzs", module=True)
    network = await network_for(znc)
    async with (
        running(network, "rzs", credentials=through(znc)) as (session, sink),
        another_client(znc, "rzs") as other,
        user(ngircd, "jzs") as juliet,
    ):
        other.say("*status", "listservers")
        await other.wait_for(lambda line: str(ngircd.port) in line.text)
        juliet.say("rzs", "hello")
        await until(lambda: bool(sink.bodies))
        assert sink.bodies == ["hello"]
        await session.send(message("*status", "version"))
        await until(lambda: any("znc.in" in body for body in sink.bodies))
        other.say("*playback", "PLAY * 0")
        other.say("*status", "listnetworks")
        await until(lambda: "listnetworks" in sink.bodies)
        assert {event.chat for event in sink.messages[1:]} == {"*status@net"}
        theirs = [event.content.body for event in sink.messages if event.from_self]
        assert theirs == ["listnetworks"]


async def test_the_bot_logs_in_to_a_bouncer(ngircd: NgIrcd, start: Start) -> None:
    znc = await start(ngircd, "rzl")
    process = (await network_for(znc, methods=["server"])).start_login()
    await process.submit({"nick": "rzl"})
    done = await process.submit({"password": znc.login})
    assert isinstance(done, LoginDone)
    assert done.remote == "rzl@net"
