"""The ejabberd of the testing kit, and the client that talks to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from dm_bridge.errors import AdminError, CredentialsError, NetworkError
from dm_bridge.testing.ejabberd import Ejabberd
from dm_bridge.testing.prosody import Tls
from dm_bridge.testing.xmpp_client import XmppUser


@pytest_asyncio.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ejabberd]:
    server = await Ejabberd.start(
        tmp_path_factory.mktemp("ejabberd"),
        extra_domains=("second.localhost",),
        largest_file=1_000_000,
    )
    yield server
    await server.stop()


def user(server: Ejabberd, localpart: str, password: str, *, carbons: bool = False) -> XmppUser:
    jid = f"{localpart}@{server.domain}"
    return XmppUser(jid, password, server.host, server.port, carbons=carbons)


async def test_users_of_both_domains_talk_in_order(server: Ejabberd) -> None:
    await server.add_user("romeo", 'pä"s\\s')
    far = await server.add_user("juliet", "pass", domain="second.localhost")
    async with (
        user(server, "romeo", 'pä"s\\s') as romeo,
        XmppUser(far, "pass", server.host, server.port) as juliet,
    ):
        for number in range(20):
            juliet.send(romeo.bare_jid, f"message {number}")
        await romeo.wait_for_text("message 19")
        assert [message.body for message in romeo.received] == [f"message {n}" for n in range(20)]


async def test_carbons_show_what_the_other_client_sent(server: Ejabberd) -> None:
    await server.add_user("twice", "pass")
    peer = await server.add_user("peer", "pass")
    async with (
        user(server, "twice", "pass", carbons=True) as desk,
        user(server, "twice", "pass") as phone,
    ):
        phone.send(peer, "from my phone")
        assert (await desk.wait_for_text("from my phone")).carbon == "sent"


async def test_a_changed_password_ends_the_connection_and_the_old_one_no_longer_works(
    server: Ejabberd,
) -> None:
    await server.add_user("changed", "old")
    async with user(server, "changed", "old") as changed:
        await server.change_password("changed", "new")
        async with asyncio.timeout(60):
            while changed.connected:  # noqa: ASYNC110 - the client says nothing
                await asyncio.sleep(0.01)
    with pytest.raises(CredentialsError):
        await user(server, "changed", "old").connect()
    async with user(server, "changed", "new"):
        pass


async def test_a_removed_user_cannot_log_in(server: Ejabberd) -> None:
    await server.add_user("removed", "pass")
    await server.remove_user("removed")
    with pytest.raises(CredentialsError):
        await user(server, "removed", "pass").connect()
    with pytest.raises(AdminError, match="No such user"):
        await server.remove_user("removed")


async def test_a_name_that_is_taken_is_an_error_in_the_servers_words(server: Ejabberd) -> None:
    await server.add_user("taken", "pass")
    with pytest.raises(AdminError, match="already registered"):
        await server.add_user("taken", "pass")


async def test_it_keeps_files_for_its_users(server: Ejabberd) -> None:
    await server.add_user("files", "pass")
    async with user(server, "files", "pass") as files, aiohttp.ClientSession() as web:
        url = await files.upload("a.bin", b"But soft", "application/octet-stream")
        async with web.get(url) as response:
            assert await response.read() == b"But soft"
        with pytest.raises(NetworkError, match="upload"):
            await files.upload("b.bin", bytes(1_000_001), "application/octet-stream")


async def test_data_and_ports_survive_a_restart_and_a_crash(server: Ejabberd) -> None:
    port = server.port
    await server.add_user("stays", "pass")
    await server.restart()
    async with user(server, "stays", "pass"):
        await server.kill()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(server.host, port)
    await server.restart()
    assert server.port == port
    async with user(server, "stays", "pass"):
        pass
    assert (await server.version())[0].isdigit()


@pytest.mark.parametrize("tls", ["starttls", "direct"])
async def test_tls_is_verified_against_the_servers_own_authority(tmp_path: Path, tls: Tls) -> None:
    server = await Ejabberd.start(tmp_path, tls=tls)
    try:
        jid = await server.add_user("romeo", "pass")
        where = (jid, "pass", server.host, server.port)
        async with XmppUser(*where, tls=tls, ca_file=server.ca_file) as romeo:
            romeo.send(romeo.bare_jid, "to myself")
            await romeo.wait_for_text("to myself")
            with pytest.raises(NetworkError, match="upload"):  # it was not told to keep files
                await romeo.upload("a.bin", b"x", "text/plain")
        with pytest.raises(NetworkError):
            await XmppUser(*where, tls=tls).connect()
        with pytest.raises(NetworkError):
            await XmppUser(*where, tls="none").connect()
    finally:
        await server.stop()


async def test_a_missing_server_is_an_error_that_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(AdminError, match="apt-get install ejabberd"):
        await Ejabberd.start(tmp_path)
