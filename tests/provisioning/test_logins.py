"""Logging in and out, step by step."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dm_bridge.bridge import login_attempts
from dm_bridge.errors import CredentialsError, NetworkError
from dm_bridge.ids import LoginId, NetworkName, RoomId
from dm_bridge.network.events import SessionStatus
from dm_bridge.network.login import AskStep, Display, LoginField, WaitStep
from dm_bridge.provisioning import logins
from dm_bridge.provisioning.calls import Call
from dm_bridge.provisioning.login_calls import LoginCalls
from dm_bridge.provisioning.login_steps import told
from dm_bridge.provisioning.refusals import Refusal

from .world import JULIET, NURSE, Api, provisioned

VALUES = {"address": "juliet@example.com", "password": "sesame"}


def may_act_for_juliet(api: Api) -> bool:
    process = api.bridge._process
    assert process is not None
    return process.logins.may_act_for(JULIET)


async def test_the_flows_are_the_networks(api: Api) -> None:
    flow = {"id": "fake", "name": "Fake Network", "description": "Log in to Fake Network."}
    assert (await api.get("login/flows")).json == {"flows": [flow]}


async def test_a_login_step_by_step(api: Api) -> None:
    step = await api.begin()
    assert step.pop("login_id")
    assert step.pop("txn_id")
    assert step == {
        "type": "user_input",
        "step_id": "org.dm_bridge.fake.address.password",
        "instructions": "",
        "user_input": {
            "fields": [
                {"type": "username", "id": "address", "name": "Address", "description": ""},
                {"type": "password", "id": "password", "name": "Password", "description": ""},
            ],
            "attachments": [],
        },
    }
    step = await api.begin()
    done = (await api.submit(step, VALUES)).json
    login = done["complete"]["user_login_id"]
    assert (done["type"], done["login_id"]) == ("complete", step["login_id"])
    assert (await api.get("logins")).json == {"login_ids": [login]}
    assert (await api.get("logins", token="nurse's")).json == {"login_ids": []}
    assert api.network.submitted == [VALUES]


async def test_whoami_shows_the_bridge_and_how_the_logins_are(api: Api) -> None:
    login = await api.log_in()
    who = (await api.get("whoami")).json
    [shown] = who.pop("logins")
    since = shown["state"].pop("timestamp")
    assert shown.pop("state_ts") == since > 1_600_000_000
    assert shown == {
        "id": login,
        "name": "juliet@example.com",
        "profile": {"username": "juliet@example.com", "name": "juliet@example.com"},
        "state": {"state_event": "CONNECTED", "ttl": 21600, "source": "bridge"},
        "state_event": "CONNECTED",
        "org.dm_bridge.network": "fake",
    }
    flow = {"id": "fake", "name": "Fake Network", "description": "Log in to Fake Network."}
    assert who == {
        "network": {
            "displayname": "Fake Network",
            "network_url": "",
            "network_icon": "",
            "network_id": "fake",
            "beeper_bridge_type": "dm_bridge",
        },
        "login_flows": [flow],
        "homeserver": "example.org",
        "bridge_bot": "@dmbot:example.org",
        "command_prefix": "",
        "org.dm_bridge.networks": [{"id": "fake", "name": "Fake Network"}],
    }


async def test_whoami_shows_the_room_with_the_bot_and_a_login_that_was_refused(api: Api) -> None:
    room = await api.bridge.user("juliet").bot_room()
    await api.log_in()
    api.network.sessions[-1].report(SessionStatus.BAD_CREDENTIALS, "The password is wrong.")
    who = (await api.get("whoami")).json
    assert who["management_room"] == room
    assert "space_room" not in who["logins"][0]
    state = who["logins"][0]["state"]
    assert state["state_event"] == "BAD_CREDENTIALS"
    assert (state["error"], state["message"]) == ("fake-bad-credentials", "The password is wrong.")
    got = await api.get("contacts")
    assert (got.status, got.errcode) == (400, "FI.MAU.NOT_LOGGED_IN")
    assert "Log in again" in got.json["error"]


async def test_whoami_names_the_space_that_the_chats_of_a_login_are_in(api: Api) -> None:
    login = await api.log_in()
    api.stored.spaces[LoginId(login)] = RoomId("!space:example.org")
    (told,) = (await api.get("whoami")).json["logins"]
    assert told["space_room"] == "!space:example.org"


async def test_what_is_done_elsewhere_is_shown_and_waited_for(api: Api) -> None:
    api.network.shows = [
        WaitStep(Display.QR, "fake:pair", "Scan this."),
        WaitStep(Display.QR, "fake:pair-again", "Scan this."),
        WaitStep(Display.NOTHING, "", "Confirm it on your phone."),
    ]
    first = await api.begin()
    shown = (await api.submit(first, VALUES)).json
    image = shown["display_and_wait"].pop("org.dm_bridge.image")
    assert image.startswith("data:image/svg+xml")
    assert shown["display_and_wait"] == {"type": "qr", "data": "fake:pair"}
    assert (shown["type"], shown["instructions"]) == ("display_and_wait", "Scan this.")
    again = (await api.submit(shown, txn_id=shown["txn_id"])).json
    assert again["display_and_wait"]["data"] == "fake:pair-again"
    assert again["step_id"] == shown["step_id"]
    last = (await api.submit(again)).json
    assert last["display_and_wait"] == {"type": "nothing"}
    assert (await api.submit(last)).json["type"] == "complete"


async def test_what_a_user_types_wrong_ends_the_login_and_is_not_quoted(api: Api) -> None:
    step = await api.begin()
    got = await api.submit(step, {"address": "nonsense", "password": "sesame"})
    assert (got.status, got.errcode) == (400, "M_INVALID_PARAM")
    assert "nonsense" not in str(got.json)
    assert (await api.submit(step, VALUES)).status == 404
    assert not may_act_for_juliet(api)


@pytest.mark.parametrize(
    ("trouble", "status", "errcode"),
    [
        (CredentialsError("The server refuses the password."), 403, "M_FORBIDDEN"),
        (NetworkError("The server is away.", retry_after=3.0), 502, "M_UNKNOWN"),
        (RuntimeError("a bug"), 500, "M_UNKNOWN"),
    ],
)
async def test_what_the_network_refuses_ends_the_login(
    api: Api, trouble: Exception, status: int, errcode: str
) -> None:
    api.network.trouble = trouble
    step = await api.begin()
    got = await api.submit(step, VALUES)
    assert (got.status, got.errcode) == (status, errcode)
    assert (got.json["error"] == str(trouble)) == (status != 500)
    assert api.network.log[-1] == "cancelled"
    assert not may_act_for_juliet(api)
    assert (await api.submit(step, VALUES)).errcode == "M_NOT_FOUND"
    assert (await api.get("logins")).json == {"login_ids": []}


async def test_only_the_step_that_waits_can_be_answered(api: Api) -> None:
    step = await api.begin()
    for wrong in ({"step_id": "org.dm_bridge.fake.other"}, {"type": "display_and_wait"}):
        got = await api.submit({**step, **wrong}, VALUES)
        assert (got.status, got.errcode) == (400, "M_BAD_STATE")
    assert (await api.submit(step, VALUES, txn_id="other")).errcode == "M_BAD_STATE"
    assert (await api.submit({**step, "type": "cookies"}, VALUES)).errcode == "M_UNRECOGNIZED"
    bodies: tuple[object, ...] = (
        {},
        {"address": "a@b"},
        {"address": "a@b", "password": 1},
        [],
        "x",
    )
    for body in bodies:
        assert (await api.submit(step, body)).errcode == "M_BAD_JSON"
    assert (await api.submit(step, {**VALUES, "more": "x"})).status == 200
    assert api.network.submitted == [VALUES]


async def test_asking_again_for_a_step_takes_it_once(api: Api) -> None:
    api.network.shows = [WaitStep(Display.CODE, "1234")]
    step = await api.begin()
    gate = asyncio.Event()
    process = next(iter(api.processes._processes.values()))
    submit = process.attempt.submit

    async def slowly(values: Any) -> Any:
        await gate.wait()
        return await submit(values)

    process.attempt.submit = slowly  # type: ignore[method-assign]
    both = [asyncio.create_task(api.submit(step, VALUES, txn_id=step["txn_id"])) for _ in "12"]
    await api.bridge.until(lambda: process.work, "the step is being taken")
    both[0].cancel()  # its client goes away
    await asyncio.sleep(0.05)
    gate.set()
    second = (await both[1]).json
    assert second["display_and_wait"]["data"] == "1234"
    assert api.network.submitted == [VALUES]
    assert (await api.submit(step, VALUES, txn_id=step["txn_id"])).json == second
    done = (await api.submit(second, txn_id=second["txn_id"])).json
    assert (await api.submit(second, txn_id=second["txn_id"])).json == done
    got = await api.submit({**done, "type": "user_input"}, VALUES)
    assert (got.status, got.errcode) == (410, "FI.MAU.BRIDGE.LOGIN_ALREADY_FINISHED")
    api.ahead[0] += logins.KEPT + 1
    assert (await api.submit(second, txn_id=second["txn_id"])).status == 404


async def test_a_login_can_be_cancelled(api: Api) -> None:
    step = await api.begin()
    assert may_act_for_juliet(api)
    assert (await api.post(f"login/cancel/{step['login_id']}")).json == {}
    assert not may_act_for_juliet(api)
    assert api.network.log == ["cancelled"]
    assert (await api.submit(step, VALUES)).status == 404
    assert (await api.post(f"login/cancel/{step['login_id']}")).errcode == "M_NOT_FOUND"


async def test_a_login_that_is_left_alone_ends(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_attempts, "PATIENCE", 0.05)
    step = await api.begin()
    await api.bridge.until(lambda: not may_act_for_juliet(api), "the login is given up")
    assert (await api.submit(step, VALUES)).status == 404
    assert api.network.log == ["cancelled"]


async def test_a_login_that_is_asked_after_for_ever_ends(api: Api) -> None:
    api.network.shows = [WaitStep(Display.CODE, "1234")] * 3
    shown = (await api.submit(await api.begin(), VALUES)).json
    api.ahead[0] += logins.LONGEST + 1
    got = await api.submit(shown)
    assert (got.status, got.errcode) == (410, "FI.MAU.BRIDGE.LOGIN_TIMED_OUT")
    assert not may_act_for_juliet(api)


async def test_a_login_process_is_its_users(api: Api) -> None:
    step = await api.begin()
    for got in (
        await api.submit(step, VALUES, token="nurse's"),
        await api.post(f"login/cancel/{step['login_id']}", token="nurse's"),
    ):
        assert (got.status, got.errcode) == (404, "M_NOT_FOUND")
    assert api.network.submitted == []
    assert (await api.submit(step, VALUES)).status == 200


async def test_a_user_has_a_few_login_processes_at_once(api: Api) -> None:
    steps = [await api.begin() for _ in range(logins.AT_ONCE)]
    got = await api.post("login/start/fake")
    assert (got.status, got.errcode) == (429, "M_LIMIT_EXCEEDED")
    await api.begin(token="nurse's")
    await api.post(f"login/cancel/{steps[0]['login_id']}")
    await api.begin()


async def test_attempts_to_log_in_are_limited() -> None:
    async with provisioned(attempts=3) as api:
        api.network.trouble = CredentialsError("No.")
        for _ in range(3):
            assert (await api.submit(await api.begin(), VALUES)).status == 403
        got = await api.post("login/start/fake")
        assert (got.status, got.errcode) == (429, "M_LIMIT_EXCEEDED")
        assert got.json["retry_after_ms"] == 1_200_000
        await api.begin(token="nurse's")
        api.ahead[0] += 1201
        await api.begin()


async def test_a_login_can_be_made_anew_and_another_account_takes_its_place(api: Api) -> None:
    login = await api.log_in()
    step = await api.begin(login_id=login)
    assert (await api.submit(step, VALUES)).json["complete"] == {"user_login_id": login}
    assert (await api.get("logins")).json == {"login_ids": [login]}
    step = await api.begin(login_id=login)
    other = (await api.submit(step, {**VALUES, "address": "j@example.com"})).json["complete"]

    async def replaced() -> bool:
        ids = (await api.get("logins")).json["login_ids"]
        return bool(ids == [other["user_login_id"]])

    async with asyncio.timeout(30):
        while not await replaced():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_logging_out(api: Api) -> None:
    first, second = await api.log_in(), await api.log_in("j@example.com")
    third = await api.log_in("nurse@example.com", token="nurse's")
    for login in (third, "nothing"):
        assert (await api.post(f"logout/{login}")).errcode == "M_NOT_FOUND"
    assert (await api.post("login/start/fake", login_id=third)).errcode == "M_NOT_FOUND"
    assert (await api.post(f"logout/{first}")).json == {}
    assert (await api.get("logins")).json == {"login_ids": [second]}
    assert (await api.post("logout/all")).json == {}
    assert (await api.post("logout/all")).json == {}
    assert (await api.get("logins")).json == {"login_ids": []}
    assert (await api.get("logins", token="nurse's")).json == {"login_ids": [third]}
    assert [row.owner for row in api.bridge.tables.logins.values() if row.sealed] == [NURSE]


async def test_unknown_flows_are_not_begun(api: Api) -> None:
    got = await api.post("login/start/qr")
    assert (got.status, got.errcode) == (404, "M_NOT_FOUND")


def test_a_choice_is_told_as_one() -> None:
    step = AskStep((LoginField("way/in", "way to log in: a, b", options=("a", "b")),))
    shown = told("p", NetworkName("fake"), step)
    assert shown.step_id == "org.dm_bridge.fake.way-in"
    assert shown.user_input is not None
    [field] = shown.user_input.fields
    assert (field.type, field.options, field.name) == ("select", ["a", "b"], "Way to log in: a, b")


async def test_a_login_that_the_end_of_the_bridge_cuts_off_says_so(api: Api) -> None:
    step = await api.begin()
    process = next(iter(api.processes._processes.values()))

    async def never(values: Any) -> Any:
        await asyncio.Event().wait()

    process.attempt.submit = never  # type: ignore[method-assign]
    submitting = asyncio.create_task(api.submit(step, VALUES))
    await api.bridge.until(lambda: process.work, "the step is being taken")
    await api.processes.stop()
    got = await submitting
    assert (got.status, got.errcode) == (503, "M_UNKNOWN")
    assert not may_act_for_juliet(api)


async def test_a_login_to_another_network_cannot_be_replaced() -> None:
    logins = SimpleNamespace(networks=[SimpleNamespace(name="irc"), SimpleNamespace(name="xmpp")])
    mine = SimpleNamespace(id="login", network="xmpp")
    begun: list[object] = []

    async def start(*what: object) -> None:
        begun.append(what)

    calls = LoginCalls(
        logins,  # type: ignore[arg-type]
        SimpleNamespace(asked=lambda call: mine),  # type: ignore[arg-type]
        SimpleNamespace(start=start),  # type: ignore[arg-type]
    )
    with pytest.raises(Refusal) as refused:
        await calls.start(Call("start", JULIET, {"flowID": "irc"}, {"login_id": "login"}, b""))
    assert refused.value.status == 400
    assert not begun
    await calls.start(Call("start", JULIET, {"flowID": "xmpp"}, {"login_id": "login"}, b""))
    assert begun
