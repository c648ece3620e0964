"""Accounts at real services: Atheme, linked to InspIRCd."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.network.events import ContactMoved, SessionStatus
from dm_bridge.network.login import LoginDone
from dm_bridge.testing.atheme import Atheme
from dm_bridge.testing.irc_client import IrcUser

from .support import message, network_for, running, until, user

PASSWORD = "two-houses"


@pytest_asyncio.fixture(scope="session")
async def services() -> AsyncIterator[Atheme]:
    """Services and their server. Shared: use nicks of your own, and leave the services running."""
    path = Path(tempfile.mkdtemp(prefix="dm_bridge_atheme_"))
    path.chmod(0o755)  # they do not run as root
    started = await Atheme.start(path)
    yield started
    await started.stop()
    shutil.rmtree(path, ignore_errors=True)


async def tell(person: IrcUser, words: str, answer: str) -> None:
    """Say something to NickServ; returns when it has answered so."""
    mark = person.mark()
    person.say("NickServ", words)
    await person.wait_for(
        lambda line: line.nick == "NickServ" and answer in line.text.lower(), after=mark
    )


async def register(services: Atheme, nick: str) -> None:
    """Make an account."""
    async with user(services.server, nick) as person:
        await tell(person, f"REGISTER {PASSWORD} {nick}@example.org", "is now registered")


async def account_of(services: Atheme, nick: str) -> str:
    """As whom the server says that somebody is logged in."""
    async with user(services.server, f"w{nick}") as watcher:
        mark = watcher.mark()
        watcher.send_raw(f"WHOIS {nick}")
        await watcher.wait_for(lambda line: line.command in ("318", "401"), after=mark)
        lines = watcher.received[mark:]
        return next((line.params[2] for line in lines if line.command == "330"), "")


@pytest.mark.parametrize("method", ["nickserv", "sasl"])
async def test_the_right_password_logs_in_and_a_wrong_one_ends_all_attempts(
    services: Atheme, method: str
) -> None:
    nick = f"ra{method[0]}"
    await register(services, nick)
    network = await network_for(services.server)
    given = {"method": method, "account": nick if method == "sasl" else "", "password": PASSWORD}
    async with running(network, nick, credentials=given) as (_, sink):
        assert sink.states[-1].status is SessionStatus.CONNECTED
        assert await account_of(services, nick) == nick
    given["password"] = "one house"
    async with running(network, nick, connected=False, credentials=given) as (session, sink):
        state = await sink.status(SessionStatus.BAD_CREDENTIALS)
        assert "one house" not in state.reason
        with pytest.raises(CredentialsError):
            await session.send(message("nobody", "x"))
    assert await account_of(services, nick) == ""


@pytest.mark.parametrize("method", ["nickserv", "sasl"])
async def test_the_bot_tries_the_password(services: Atheme, method: str) -> None:
    nick = f"rb{method[0]}"
    await register(services, nick)
    network = await network_for(services.server, methods=[method])
    for password in (PASSWORD, "one-house"):
        process = network.start_login()
        await process.submit({"nick": nick})
        values = {"password": password, **({"account": nick} if method == "sasl" else {})}
        if password == PASSWORD:
            assert isinstance(await process.submit(values), LoginDone)
        else:
            with pytest.raises(CredentialsError, match="does not accept"):
                await process.submit(values)


async def test_who_has_lost_the_nick_is_logged_in_all_the_same(services: Atheme) -> None:
    """Such as to a connection of their own that the server has not given up yet."""
    await register(services, "rg")
    network = await network_for(services.server)
    given = {"method": "nickserv", "password": PASSWORD}
    async with (
        user(services.server, "rg"),
        running(network, "rg", connected=False, credentials=given) as (_, sink),
    ):
        await until(lambda: len(sink.states) > 1)
        assert sink.states[-1].status is SessionStatus.CONNECTED
        assert await account_of(services, "rg_") == "rg"


async def test_a_nick_without_an_account_is_told(services: Atheme) -> None:
    network = await network_for(services.server, methods=["nickserv"])
    process = network.start_login()
    await process.submit({"nick": "rcnobody"})
    with pytest.raises(CredentialsError, match="does not accept"):
        await process.submit({"password": PASSWORD})


async def test_a_chat_follows_the_account_to_another_nick(services: Atheme) -> None:
    await register(services, "jaccount")
    network = await network_for(services.server)
    async with running(network, "rdaccount") as (session, sink):
        async with user(services.server, "jaccount", user="home") as juliet:
            await tell(juliet, f"IDENTIFY {PASSWORD}", "you are now identified")
            juliet.say("rdaccount", "at home")
            await until(lambda: bool(sink.bodies))
        async with user(services.server, "jtravels", user="abroad") as juliet:
            await tell(juliet, f"IDENTIFY jaccount {PASSWORD}", "you are now identified")
            juliet.say("rdaccount", "abroad")
            await until(lambda: len(sink.bodies) == 2)
            (moved,) = [event for event in sink.events if isinstance(event, ContactMoved)]
            assert (moved.old, moved.new) == ("jaccount@net", "jtravels@net")
            assert sink.messages[1].chat == "jtravels@net"
            async with user(services.server, "jaccount", user="home") as mallory:
                mallory.say("rdaccount", "I am no account")
                await until(lambda: len(sink.bodies) == 3)
                await session.send(message("jtravels", "for you"))
                await juliet.wait_for_text("for you")
                assert mallory.texts() == []
        assert len([event for event in sink.events if isinstance(event, ContactMoved)]) == 1


async def test_without_services_chats_go_on_or_the_account_is_waited_for(services: Atheme) -> None:
    await register(services, "re")
    network = await network_for(services.server, settings={"send_wait": 0.2})
    await services.stop_process()
    try:
        by_nickserv = {"method": "nickserv", "password": PASSWORD}
        async with running(network, "re", credentials=by_nickserv) as (_, sink):
            assert sink.states[-1].status is SessionStatus.CONNECTED
        by_sasl = {"method": "sasl", "account": "re", "password": PASSWORD}
        async with running(network, "re", credentials=by_sasl, connected=False) as (session, sink):
            state = await sink.status(SessionStatus.TRANSIENT_DISCONNECT)
            assert "log in to an account" in state.reason
            with pytest.raises(NetworkError) as caught:
                await session.send(message("nobody", "x"))
            assert caught.value.retry_after is not None
            await services.start_process()
            await sink.status(SessionStatus.CONNECTED)
            assert await account_of(services, "re") == "re"
    finally:
        await services.start_process()
