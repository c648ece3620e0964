"""Who is watched, where a server can watch few."""

from __future__ import annotations

from pathlib import Path

from dm_bridge.testing.inspircd import InspIrcd

from .support import message, network_for, running, until, user


async def test_those_met_last_are_watched_where_there_is_room_for_few(tmp_path: Path) -> None:
    server = await InspIrcd.start(tmp_path, extra='<monitor maxentries="2">')
    try:
        network = await network_for(server)
        async with running(network, "romeo") as (session, _):
            for nick in ("first", "second", "third"):
                async with user(server, nick):
                    await session.send(message(nick, "hello"))
                    await until(lambda nick=nick: nick in session._presence._watched)  # type: ignore[misc,union-attr]
            presence = session._presence
            assert presence is not None
            assert presence._watched == {"second", "third"}
            await until(lambda: not session._people.is_present("third"))
    finally:
        await server.stop()


async def test_the_own_nick_is_watched_first(tmp_path: Path) -> None:
    server = await InspIrcd.start(tmp_path, extra='<monitor maxentries="1">')
    try:
        network = await network_for(server)
        async with user(server, "romeo") as other, running(network, "romeo") as (session, sink):
            async with user(server, "juliet"):
                await session.send(message("juliet", "hello"))
            presence = session._presence
            assert presence is not None
            await until(lambda: presence._watched == {"romeo"})
            await other.quit()
            await until(lambda: sink.states[-1].reason == "")
    finally:
        await server.stop()
