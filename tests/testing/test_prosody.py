"""The Prosody of the testing kit, and the client that talks to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from dm_bridge.errors import AdminError, CredentialsError, NetworkError
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.xmpp_client import XmppUser
from dm_bridge.testing.xmpp_server import Tls


def user(server: Prosody, localpart: str, password: str, **options: bool) -> XmppUser:
    jid = f"{localpart}@{server.domain}"
    return XmppUser(jid, password, server.host, server.port, carbons=options.get("carbons", False))


async def test_two_users_talk_in_order(prosody: Prosody) -> None:
    await prosody.add_user("kit.romeo", "first pass")
    await prosody.add_user("kit.juliet", 'pä"s\\s')
    async with (
        user(prosody, "kit.romeo", "first pass") as romeo,
        user(prosody, "kit.juliet", 'pä"s\\s') as juliet,
    ):
        for number in range(20):
            juliet.send(romeo.bare_jid, f"message {number}", id=f"id-{number}")
        last = await romeo.wait_for_text("message 19")
        assert [message.body for message in romeo.received] == [f"message {n}" for n in range(20)]
        assert (last.id, last.type, last.carbon) == ("id-19", "chat", None)
        assert last.sender.startswith("kit.juliet@localhost/")


async def test_a_user_on_the_second_domain_reaches_the_first(prosody: Prosody) -> None:
    await prosody.add_user("kit.near", "pass")
    far_jid = await prosody.add_user("kit.far", "pass", domain="second.localhost")
    far = XmppUser(far_jid, "pass", prosody.host, prosody.port)
    async with user(prosody, "kit.near", "pass") as near, far:
        far.send(near.bare_jid, "over the fence")
        assert (await near.wait_for_text("over the fence")).sender == far.jid


async def test_carbons_show_what_the_other_client_sent(prosody: Prosody) -> None:
    await prosody.add_user("kit.twice", "pass")
    await prosody.add_user("kit.peer", "pass")
    async with (
        user(prosody, "kit.twice", "pass", carbons=True) as desk,
        user(prosody, "kit.twice", "pass") as phone,
        user(prosody, "kit.peer", "pass") as peer,
    ):
        phone.send(peer.bare_jid, "from my phone")
        await peer.wait_for_text("from my phone")
        carbon = await desk.wait_for_text("from my phone")
        assert carbon.carbon == "sent"
        assert carbon.recipient == peer.bare_jid


async def test_a_wrong_password_is_an_error_about_credentials(prosody: Prosody) -> None:
    await prosody.add_user("kit.locked", "right")
    with pytest.raises(CredentialsError):
        await user(prosody, "kit.locked", "wrong").connect()


async def test_a_message_nobody_came_for_times_out_and_says_who_waited(prosody: Prosody) -> None:
    await prosody.add_user("kit.lonely", "pass")
    async with user(prosody, "kit.lonely", "pass") as lonely:
        with pytest.raises(TimeoutError, match=r"kit\.lonely"):
            await lonely.wait_for_text("hello?", timeout=0.2)


async def test_a_changed_password_ends_the_connection_and_the_old_one_no_longer_works(
    prosody: Prosody,
) -> None:
    await prosody.add_user("kit.changed", "old")
    await prosody.change_password("kit.changed", "new")
    with pytest.raises(CredentialsError):
        await user(prosody, "kit.changed", "old").connect()
    async with user(prosody, "kit.changed", "new"):
        pass


async def test_a_removed_user_cannot_log_in(prosody: Prosody) -> None:
    await prosody.add_user("kit.removed", "pass")
    await prosody.remove_user("kit.removed")
    with pytest.raises(CredentialsError):
        await user(prosody, "kit.removed", "pass").connect()
    with pytest.raises(AdminError, match="No such user"):
        await prosody.remove_user("kit.removed")


@pytest.mark.parametrize("tls", ["starttls", "direct"])
async def test_tls_is_verified_against_the_servers_own_authority(tmp_path: Path, tls: Tls) -> None:
    server = await Prosody.start(tmp_path, tls=tls)
    try:
        jid = await server.add_user("romeo", "pass")
        where = (jid, "pass", server.host, server.port)
        async with XmppUser(*where, tls=tls, ca_file=server.ca_file) as romeo:
            romeo.send(romeo.bare_jid, "to myself")
            await romeo.wait_for_text("to myself")
        with pytest.raises(NetworkError):
            await XmppUser(*where, tls=tls).connect()
        with pytest.raises(NetworkError):
            await XmppUser(*where, tls="none").connect()
    finally:
        await server.stop()


async def test_data_and_port_survive_a_crash_and_a_restart(tmp_path: Path) -> None:
    server = await Prosody.start(tmp_path)
    try:
        port = server.port
        await server.add_user("romeo", "pass")
        async with user(server, "romeo", "pass"):
            await server.kill()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(server.host, port)
            await server.restart()
        assert server.port == port
        async with user(server, "romeo", "pass"):
            pass
        assert (await server.version())[0].isdigit()
    finally:
        await server.stop()


async def test_a_missing_server_is_an_error_that_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(AdminError, match="apt-get install prosody"):
        await Prosody.start(tmp_path)


async def test_it_keeps_files_for_its_users(prosody: Prosody) -> None:
    await prosody.add_user("kit.files", "pass")
    async with user(prosody, "kit.files", "pass") as romeo, aiohttp.ClientSession() as web:
        url = await romeo.upload("a.bin", b"But soft", "application/octet-stream")
        async with web.get(url) as response:
            assert await response.read() == b"But soft"
        put, headers = await romeo.upload_slot("b.bin", 3, "text/plain")
        async with web.put(put, data=b"sea", headers=headers) as response:
            assert response.status == 201
        with pytest.raises(NetworkError, match="upload"):
            await romeo.upload("c.bin", bytes(100_000_001), "application/octet-stream")


async def test_without_being_told_to_it_keeps_none(tmp_path: Path) -> None:
    server = await Prosody.start(tmp_path)
    try:
        await server.add_user("me", "pass")
        async with user(server, "me", "pass") as me:
            with pytest.raises(NetworkError, match="upload"):
                await me.upload("a.bin", b"x", "text/plain")
    finally:
        await server.stop()
