"""The provisioning API on real servers: a login, a chat and a logout, by everyone who may, and by nobody else."""

from __future__ import annotations

from urllib.parse import quote

from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import SHARED_SECRET
from tests.e2e.pairs import PASSWORD, Pair, ghost_of, unique, within
from tests.e2e.provisioning_client import Api, openid, step_path
from tests.e2e.test_people import befriend

"""None of it depends on the version of a room."""


async def test_a_client_logs_its_user_in_opens_a_chat_and_logs_out(stack: Stack) -> None:
    number = unique(stack)
    romeo = await stack.prosody.add_user(f"romeo-{number}", PASSWORD)
    async with (
        stack.matrix_user(f"alice-{number}") as alice,
        stack.matrix_user(f"mallory-{number}") as mallory,
        stack.xmpp_user(f"juliet-{number}") as juliet,
    ):
        bridge, me = stack.bridge, alice.user_id
        api = Api(bridge, alice.token)
        stranger = Api(bridge, mallory.token)
        who = await api.get("whoami")
        assert (who["homeserver"], who["logins"]) == (stack.synapse.domain, [])

        # a login, with a wrong password first
        [flow] = [each for each in who["login_flows"] if each["id"] == "xmpp"]
        step = await api.post(f"login/start/{flow['id']}")
        status, refused = await api.ask(
            "POST", step_path(step), {"jid": romeo, "password": "wrong"}
        )
        assert (status, refused["errcode"]) == (403, "M_FORBIDDEN")
        step = await api.post("login/start/xmpp")
        assert [each["id"] for each in step["user_input"]["fields"]] == ["jid", "password"]
        values = {"jid": romeo, "password": PASSWORD}
        assert (await stranger.ask("POST", step_path(step), values))[0] == 404
        done = await api.post(step_path(step), values)
        login = done["complete"]["user_login_id"]

        # everybody who may
        everyone = [api, Api(bridge, await openid(alice)), Api(bridge, SHARED_SECRET, me)]
        for each in everyone:
            assert await each.get("logins") == {"login_ids": [login]}

        async def connected() -> bool:
            [shown] = (await api.get("whoami"))["logins"]
            return bool(shown["state"]["state_event"] == "CONNECTED")

        await within(60, connected)

        # and nobody else
        for other in (
            Api(bridge, alice.token + "x"),
            Api(bridge, await openid(mallory), me),
            Api(bridge, mallory.token, me),
            Api(bridge, SHARED_SECRET + "x", me),
        ):
            assert (await other.ask("GET", "logins"))[0] == 401
        assert await stranger.get("logins") == {"login_ids": []}
        for method, path in (
            ("GET", f"contacts?login_id={login}"),
            ("POST", f"create_dm/{juliet.bare_jid}?login_id={login}"),
            ("POST", f"logout/{login}"),
        ):
            assert (await stranger.ask(method, path))[0] == 404

        # a contact, and the chat with them
        await befriend(Pair(stack, alice, "", romeo, juliet))

        async def listed() -> bool:
            contacts = (await api.get("contacts"))["contacts"]
            return any(each["id"] == juliet.bare_jid for each in contacts)

        await within(60, listed)
        ghost = ghost_of(stack, juliet.bare_jid)
        status, chat = await api.ask("POST", f"create_dm/{quote(juliet.bare_jid)}")
        room = chat["dm_room_mxid"]
        assert (status, chat["mxid"]) == (201, ghost)
        assert (await api.ask("POST", f"create_dm/{quote(ghost)}"))[0] == 200

        async def direct() -> bool:
            return room in (await alice.m_direct() or {}).get(ghost, [])

        await within(60, direct)
        [shown] = (await api.get("direct/chats"))["chats"]
        assert (shown["room_id"], shown["state"]) == (room, "marked")
        assert (await stranger.ask("POST", f"direct/unmark/{quote(room)}"))[0] == 404
        assert (await stranger.get("direct/chats"))["chats"] == []
        mark = juliet.mark()
        await alice.send_text(room, "by a chat that my client opened")
        await juliet.wait_for_text("by a chat that my client opened", after=mark)
        await api.post(f"direct/unmark/{quote(room)}")

        async def indirect() -> bool:
            return not await direct()

        await within(60, indirect)
        changes = (await api.get("direct/history"))["changes"]
        assert changes[-1]["before"][ghost] == [room]

        # the end
        assert await api.post("logout/all") == {}
        for each in everyone:
            assert await each.get("logins") == {"login_ids": []}
        assert (await api.ask("GET", "contacts"))[1]["errcode"] == "FI.MAU.NOT_LOGGED_IN"
        for secret in (PASSWORD, alice.token, SHARED_SECRET):
            assert secret not in bridge.log.read_text()
