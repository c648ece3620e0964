"""What becomes of chats when nicks change hands, on real servers."""

from __future__ import annotations

import pytest

from dm_bridge.connectors.irc.people import digest
from dm_bridge.errors import NetworkError
from dm_bridge.network.events import ContactMoved, RemoteMessage
from dm_bridge.testing.inspircd import InspIrcd
from dm_bridge.testing.irc_server import IrcServer
from dm_bridge.testing.ngircd import NgIrcd

from .support import Sink, message, network_for, running, until, user


def told(sink: Sink) -> list[str]:
    """What was delivered, for short: ``chat: words`` and ``old > new``."""
    return [
        f"{event.chat}: {event.content.body}"
        if isinstance(event, RemoteMessage)
        else f"{event.old} > {event.new}"
        for event in sink.events
        if isinstance(event, RemoteMessage | ContactMoved)
    ]


def former(nick: str, ident: str) -> str:
    return f"{nick}!{digest(ident, '127.0.0.1')}@net"


async def test_a_change_of_nick_is_followed_in_a_shared_channel(server: IrcServer) -> None:
    network = await network_for(server, channels=("#follow",))
    async with running(network, "romeo21") as (session, sink), user(server, "juliet21") as juliet:
        juliet.say("romeo21", "one")
        await until(lambda: len(sink.messages) == 1)
        await juliet.join("#follow")
        await juliet.change_nick("julia21")
        juliet.say("romeo21", "two")
        await until(lambda: len(sink.messages) == 2)
        await juliet.change_nick("Julia21")
        async with user(server, "juliet21", user="mallory") as mallory:
            mallory.say("romeo21", "three")
            await until(lambda: len(sink.messages) == 3)
            assert told(sink) == [
                "juliet21@net: one",
                "juliet21@net > julia21@net",
                "julia21@net: two",
                "juliet21@net: three",
            ]
            await session.send(message("julia21", "for julia"))
            await juliet.wait_for_text("for julia")
            assert mallory.texts("romeo21") == []


async def test_who_takes_over_a_nick_gets_a_chat_of_their_own(server: IrcServer) -> None:
    network = await network_for(server)
    async with running(network, "romeo22") as (_, sink):
        async with user(server, "juliet22") as juliet:
            juliet.say("romeo22", "mine")
            await until(lambda: len(sink.messages) == 1)
        async with user(server, "JULIET22", user="mallory") as mallory:
            mallory.say("romeo22", "mine now")
            await until(lambda: len(sink.messages) == 2)
        async with user(server, "juliet22") as juliet:
            juliet.say("romeo22", "back")
            await until(lambda: len(sink.messages) == 3)
    assert told(sink) == [
        "juliet22@net: mine",
        f"juliet22@net > {former('juliet22', 'juliet22')}",
        "juliet22@net: mine now",
        f"juliet22@net > {former('juliet22', 'mallory')}",
        f"{former('juliet22', 'juliet22')} > juliet22@net",
        "juliet22@net: back",
    ]


async def test_nothing_is_sent_to_who_took_over_a_nick(server: IrcServer) -> None:
    network = await network_for(server)
    async with running(network, "romeo23") as (session, sink):
        async with user(server, "juliet23") as juliet:
            juliet.say("romeo23", "it is me")
            await until(lambda: len(sink.messages) == 1)
            await session.send(message("juliet23", "for juliet"))
        async with user(server, "juliet23", user="mallory") as mallory:
            with pytest.raises(NetworkError) as caught:
                await session.send(message("juliet23", "for juliet"))
            assert caught.value.certain
            await mallory.settled()
            assert mallory.texts("romeo23") == []
        assert told(sink) == [
            "juliet23@net: it is me",
            f"juliet23@net > {former('juliet23', 'juliet23')}",
        ]
        with pytest.raises(NetworkError, match="Somebody else has the nick") as final:
            await session.send(
                message(former("juliet23", "juliet23").removesuffix("@net"), "for juliet")
            )
        assert final.value.certain
        assert final.value.retry_after is None


async def test_who_has_parted_is_not_in_sight_any_more(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd, channels=("#part",))
    async with running(network, "romeo27") as (session, sink):
        presence = session._presence
        assert presence is not None
        async with user(ngircd, "juliet27") as juliet:
            await juliet.join("#part")
            juliet.say("romeo27", "it is me")
            await until(lambda: len(sink.messages) == 1)
            assert presence.watches("juliet27")
            juliet.send_raw("PART #part")
            await until(lambda: not presence.watches("juliet27"))
            await session.send(message("juliet27", "for juliet"))
        async with user(ngircd, "juliet27", user="mallory") as mallory:
            with pytest.raises(NetworkError, match="Somebody else has the nick"):
                await session.send(message("juliet27", "for juliet"))
            await mallory.settled()
            assert mallory.texts("romeo27") == []


async def test_after_a_restart_it_is_still_known_who_had_a_nick(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd)
    async with running(network, "romeo24") as (_, sink), user(ngircd, "juliet24") as juliet:
        juliet.say("romeo24", "mine")
        await until(lambda: len(sink.messages) == 1)
    async with (
        running(network, "romeo24", position=sink.position) as (session, later),
        user(ngircd, "juliet24", user="mallory") as mallory,
    ):
        with pytest.raises(NetworkError, match="Somebody else has the nick"):
            await session.send(message("juliet24", "for juliet"))
        await mallory.settled()
        assert mallory.texts("romeo24") == []
        assert told(later) == [f"juliet24@net > {former('juliet24', 'juliet24')}"]


async def test_where_nicks_are_trusted_the_chat_goes_on(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd, trust_nicks=True)
    async with running(network, "romeo25") as (session, sink):
        for ident in ("one", "two"):
            async with user(ngircd, "juliet25", user=ident) as juliet:
                juliet.say("romeo25", ident)
                await until(lambda ident=ident: ident in sink.bodies)  # type: ignore[misc]
                await session.send(message("juliet25", ident))
                await juliet.wait_for_text(ident)
    assert told(sink) == ["juliet25@net: one", "juliet25@net: two"]


@pytest.mark.parametrize("casemapping", ["ascii", "rfc1459"])
async def test_nicks_are_the_same_as_the_server_says(
    casemapping: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = await InspIrcd.start(tmp_path_factory.mktemp(casemapping), casemapping=casemapping)
    try:
        network = await network_for(server)
        async with running(network, "romeo") as (_, sink):
            async with user(server, "jul[]", user="one") as juliet:
                juliet.say("romeo", "one")
                await until(lambda: len(sink.messages) == 1)
            async with user(server, "JUL{}", user="one") as juliet:
                juliet.say("romeo", "two")
                await until(lambda: len(sink.messages) == 2)
        same = casemapping == "rfc1459"
        assert told(sink) == (
            ["jul{}@net: one", "jul{}@net: two"] if same else ["jul[]@net: one", "jul{}@net: two"]
        )
        assert (network.parse_contact("Jul[]") == network.parse_contact("JUL{}")) is same
    finally:
        await server.stop()


async def test_a_chain_of_changes_is_followed(inspircd: InspIrcd) -> None:
    network = await network_for(inspircd, channels=("#chain",))
    async with running(network, "romeo26") as (_, sink), user(inspircd, "one26") as juliet:
        await juliet.join("#chain")
        juliet.say("romeo26", "1")
        for nick in ("two26", "three26", "one26"):
            await juliet.change_nick(nick)
        juliet.say("romeo26", "2")
        await until(lambda: len(sink.messages) == 2)
    assert told(sink) == [
        "one26@net: 1",
        "one26@net > two26@net",
        "two26@net > three26@net",
        "three26@net > one26@net",
        "one26@net: 2",
    ]
