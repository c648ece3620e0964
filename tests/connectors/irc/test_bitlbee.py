"""Sessions on a real BitlBee, which has an account on a real XMPP server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.network.events import ContactMoved, SessionStatus
from dm_bridge.testing.bitlbee import CONTROL, BitlBee
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.xmpp_client import XmppUser

from .support import message, network_for, running, until, user

PASSWORD = "sesame"
ACCOUNT = "bee"
"""The nick of the bridge's user on BitlBee."""
XMPP_PORT = 5222
"""BitlBee connects to few ports only."""


@pytest_asyncio.fixture
async def bitlbee(tmp_path: Path) -> AsyncIterator[BitlBee]:
    server = await BitlBee.start(tmp_path)
    yield server
    await server.stop()


@contextlib.asynccontextmanager
async def at_a_port_of_xmpp(prosody: Prosody) -> AsyncIterator[str]:
    """A loopback address at whose port 5222 the XMPP server is."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(prosody.host, prosody.port)
        await asyncio.gather(copy(reader, forth), copy(back, writer))

    address = ".".join(["127", *(str(random.randrange(1, 255)) for _ in range(3))])
    server = await asyncio.start_server(serve, address, XMPP_PORT)
    async with server:
        yield address


async def command(person: IrcUser, words: str, answer: str) -> None:
    """Say something in the control channel; returns when BitlBee has answered so."""
    mark = person.mark()
    person.say(CONTROL, words)
    await person.wait_for(lambda line: line.nick == "root" and answer in line.text, after=mark)


@dataclass(frozen=True)
class Friend:
    """Somebody on the XMPP server. ``nick``: on BitlBee. ``account``: of the bridge's user on that server."""

    nick: str
    account: str
    client: XmppUser


_numbers = itertools.count(1)


@pytest_asyncio.fixture
async def friend(bitlbee: BitlBee, prosody: Prosody) -> AsyncIterator[Friend]:
    """A friend of somebody who is registered at BitlBee as ``ACCOUNT``."""
    number = next(_numbers)
    mine, theirs = f"bee{number}", f"honey{number}"
    for name in (mine, theirs):
        await prosody.add_user(name, PASSWORD)
    jid = f"{theirs}@localhost"
    async with (
        at_a_port_of_xmpp(prosody) as address,
        XmppUser(jid, PASSWORD, prosody.host, prosody.port, auto_authorize=True) as client,
    ):
        async with user(bitlbee, ACCOUNT) as person:
            await command(person, f"register {PASSWORD}", "successfully created")
            await command(person, f"account add jabber {mine}@localhost {PASSWORD}", "added")
            await command(person, f"account jabber set server {address}", "server =")
            await command(person, "account jabber set tls false", "tls =")
            await command(person, "account jabber on", "Logged in")
            mark = person.mark()
            person.say(CONTROL, f"add jabber {jid}")
            await person.wait_for(
                lambda line: line.command == "JOIN" and line.nick == theirs, after=mark
            )
            await command(person, "save", "saved")
        yield Friend(theirs, f"{mine}@localhost", client)


WAYS = {
    "sasl": {"method": "sasl", "account": ACCOUNT, "password": PASSWORD},
    "server": {"method": "server", "password": PASSWORD},
}


@pytest.mark.parametrize("way", WAYS)
async def test_private_chats_go_through_bitlbee(bitlbee: BitlBee, friend: Friend, way: str) -> None:
    network = await network_for(bitlbee)
    async with running(network, ACCOUNT, credentials=WAYS[way]) as (session, sink):
        friend.client.send(friend.account, "from XMPP")
        await until(lambda: bool(sink.bodies))
        await session.send(message(friend.nick, "from IRC"))
        received = await friend.client.wait_for_text("from IRC")
        assert received.sender.startswith(f"{friend.account}/")
        await session.send(message("root", f"rename {friend.nick} sugar"))
        await until(lambda: any(isinstance(event, ContactMoved) for event in sink.events))
        friend.client.send(friend.account, "under another name")
        await until(lambda: "under another name" in sink.bodies)
        await session.send(message("sugar", "and back"))
        await friend.client.wait_for_text("and back")
        theirs = [event for event in sink.messages if event.chat != "root@net"]
        assert [(event.chat, event.content.body) for event in theirs] == [
            (f"{friend.nick}@net", "from XMPP"),
            ("sugar@net", "under another name"),
        ]


async def test_bitlbee_itself_is_a_chat_and_its_channel_is_not(bitlbee: BitlBee) -> None:
    async with running(await network_for(bitlbee), ACCOUNT) as (session, sink):
        await session.send(message("root", "help quickstart"))
        await until(lambda: bool(sink.bodies))
        assert {event.chat for event in sink.messages} == {"root@net"}
        assert not any("Welcome to the BitlBee gateway" in body for body in sink.bodies)
        assert all(sink.bodies)
        with pytest.raises(NetworkError, match="nobody is not on net"):
            await session.send(message("nobody", "hello?"))


async def test_a_wrong_password_ends_all_attempts(bitlbee: BitlBee) -> None:
    async with user(bitlbee, ACCOUNT) as person:
        await command(person, f"register {PASSWORD}", "successfully created")
    wrong = {"method": "sasl", "account": ACCOUNT, "password": "barley"}
    network = await network_for(bitlbee)
    async with running(network, ACCOUNT, connected=False, credentials=wrong) as (session, sink):
        await sink.status(SessionStatus.BAD_CREDENTIALS)
        with pytest.raises(CredentialsError):
            await session.send(message("root", "x"))


async def test_a_bitlbee_that_was_restarted_is_used_again(bitlbee: BitlBee, friend: Friend) -> None:
    network = await network_for(bitlbee)
    async with running(network, ACCOUNT, credentials=WAYS["sasl"]) as (_, sink):
        mark = len(sink.states)
        await bitlbee.restart()
        await sink.status(SessionStatus.TRANSIENT_DISCONNECT, after=mark)
        await sink.status(SessionStatus.CONNECTED, after=mark)
        friend.client.send(friend.account, "still there?")
        await until(lambda: "still there?" in sink.bodies)
        assert sink.messages[-1].chat == f"{friend.nick}@net"
