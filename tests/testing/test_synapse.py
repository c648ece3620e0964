"""The Synapse of the testing kit, and the client that talks to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from dm_bridge.errors import AdminError, HomeserverError
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.synapse import Synapse


async def user(server: Synapse, localpart: str) -> MatrixUser:
    account = await server.register_user(localpart, "pass")
    return MatrixUser(server.url, account.user_id, account.access_token)


async def test_two_users_open_a_dm_and_talk(synapse: Synapse) -> None:
    async with await user(synapse, "kit.alice") as alice, await user(synapse, "kit.bob") as bob:
        room = await alice.create_room(invite=[bob.user_id], is_direct=True)
        invite = await bob.wait_for(
            lambda seen: seen.kind == "invite" and seen.event.get("state_key") == bob.user_id
        )
        assert (invite.room_id, invite.content["is_direct"]) == (room, True)
        await bob.join(room)
        await alice.wait_for(
            lambda seen: seen.type == "m.room.member" and seen.content["membership"] == "join"
            and seen.sender == bob.user_id
        )  # fmt: skip
        event_id = await alice.send_text(room, "hello")
        seen = await bob.wait_for_text("hello", sender=alice.user_id)
        assert (seen.kind, seen.event["event_id"]) == ("timeline", event_id)
        await alice.redact(room, event_id)
        await bob.wait_for(lambda seen: seen.type == "m.room.redaction")
        assert (await bob.event(room, event_id))["content"] == {}
        assert [e["type"] for e in await bob.messages(room)][-1] == "m.room.redaction"
        assert await bob.joined_rooms() == [room]
        await bob.leave(room)
        assert (await bob.joined_rooms()) == []


async def test_a_client_that_looks_seldom_misses_nothing(synapse: Synapse) -> None:
    """As on a busy machine: more is written between two syncs than servers hand out by default."""
    async with await user(synapse, "kit.slow") as alice, await user(synapse, "kit.fast") as bob:
        room = await alice.create_room(invite=[bob.user_id])
        await bob.join(room)
        await alice._end_sync()
        now = await alice.request("GET", "v3/sync", query={"timeout": "0"})
        mark = alice.mark()
        await asyncio.gather(*(bob.send_text(room, str(number)) for number in range(120)))
        await alice._sync_once(now["next_batch"])
        seen = [seen.body for seen in alice.seen[mark:] if seen.sender == bob.user_id and seen.body]
        assert sorted(seen) == sorted(str(number) for number in range(120))


async def test_a_new_room_has_the_version_that_the_servers_default_says(tmp_path: Path) -> None:
    server = await Synapse.start(tmp_path, default_room_version="11")
    try:
        async with await user(server, "alice") as alice:
            created = await alice.state_content(await alice.create_room(), "m.room.create")
        assert created is not None
        assert created["room_version"] == "11"
    finally:
        await server.stop()


async def test_m_direct_is_none_until_it_is_set_and_arrives_over_sync(synapse: Synapse) -> None:
    async with await user(synapse, "kit.direct") as alice:
        assert await alice.m_direct() is None
        mark = alice.mark()
        await alice.set_m_direct({"@bob:example.org": ["!room"]})
        assert await alice.m_direct() == {"@bob:example.org": ["!room"]}
        seen = await alice.wait_for(lambda seen: seen.type == "m.direct", after=mark)
        assert (seen.kind, seen.room_id) == ("account_data", "")


async def test_it_keeps_files_and_gives_them_to_who_asks(synapse: Synapse) -> None:
    account = await synapse.register_user("kit.files", "pass")
    async with MatrixUser(synapse.url, account.user_id, account.access_token) as user:
        mxc = await user.upload(b"But soft", "text/plain", "a.txt")
        assert await user.download(mxc) == (b"But soft", "text/plain")
        with pytest.raises(HomeserverError) as caught:
            await user.download(f"{mxc}0")
        assert caught.value.status == 404


async def test_a_name_that_is_taken_is_refused_with_the_servers_reason(synapse: Synapse) -> None:
    await synapse.register_user("kit.taken", "pass")
    with pytest.raises(HomeserverError) as caught:
        await synapse.register_user("kit.taken", "pass")
    assert caught.value.errcode == "M_USER_IN_USE"


async def test_waiting_in_vain_says_what_came_instead(synapse: Synapse) -> None:
    async with await user(synapse, "kit.waiting") as alice:
        await alice.create_room()
        with pytest.raises(TimeoutError, match=r"timeline m\.room"):
            await alice.wait_for_text("never", timeout=1)


async def test_accounts_and_port_survive_a_crash_and_waiters_learn_of_it(tmp_path: Path) -> None:
    server = await Synapse.start(tmp_path)
    try:
        account = await server.register_user("alice", "pass")
        alice = MatrixUser(server.url, account.user_id, account.access_token)
        async with alice:
            await server.kill()
            with pytest.raises(HomeserverError):
                await alice.wait_for_text("never", timeout=10)
        await server.restart()
        async with alice:
            assert await alice.joined_rooms() == []
    finally:
        await server.stop()


async def test_a_registration_that_does_not_parse_is_reported_with_synapses_words(
    tmp_path: Path,
) -> None:
    registration = tmp_path / "registration.yaml"
    registration.write_text("id: broken\n", encoding="utf-8")
    with pytest.raises(AdminError, match=r"(?s)Synapse ended while starting.*as_token"):
        await Synapse.start(tmp_path / "synapse", registrations=[registration])


async def test_it_serves_clients_on_loopback_and_does_not_federate(synapse: Synapse) -> None:
    url = f"{synapse.url}/_matrix/federation/v1/version"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 404


async def test_a_missing_server_is_an_error_that_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(AdminError, match="pip install"):
        await Synapse.start(tmp_path)
