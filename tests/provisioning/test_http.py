"""What goes around the calls: browsers, bodies, limits, and what is not there."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from dm_bridge.bridge import allowance
from dm_bridge.errors import HomeserverError, StorageError
from dm_bridge.ids import UserId
from dm_bridge.provisioning import answering, limits
from dm_bridge.provisioning import api as module
from dm_bridge.provisioning.calls import Answer, Call
from dm_bridge.provisioning.limits import Limit
from dm_bridge.provisioning.operations import OPERATIONS
from dm_bridge.provisioning.refusals import Refusal, refusal_of

from .world import Api, provisioned


async def test_a_browser_may_ask_from_any_page(api: Api) -> None:
    asked = await api.ask("OPTIONS", "create_dm/romeo", token=None)
    assert (asked.status, asked.json) == (200, None)
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    for got in (
        await api.get("whoami"),
        await api.get("whoami", token=None),
        await api.get("nothing"),
        await api.post("whoami"),
        await api.get("openapi.json", token=None),
    ):
        assert got.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in got.headers
        assert got.headers["Cache-Control"] == "no-store"


async def test_what_is_not_there_is_said_as_matrix_says_it(api: Api) -> None:
    for path in ("nothing", "login/start", "../v2/whoami", "direct"):
        got = await api.get(path, token=None)
        assert (got.status, got.errcode) == (404, "M_UNRECOGNIZED")
    got = await api.ask("DELETE", "whoami")
    assert (got.status, got.errcode, got.headers["Allow"]) == (405, "M_UNRECOGNIZED", "GET")


async def test_bodies_that_make_no_sense_are_refused(api: Api) -> None:
    await api.log_in()
    for body in (b"", b"{", b"\xff", b"[" * 5000):
        assert (await api.post("search_users", data=body)).errcode == "M_NOT_JSON"
    values: tuple[object, ...] = ({}, [], {"query": 1}, {"query": None}, {"query": "x" * 20_000})
    for value in values:
        assert (await api.post("search_users", json=value)).errcode == "M_BAD_JSON"
    got = await api.post("search_users", data=b" " * (answering.MAX_BODY + 1))
    assert (got.status, got.errcode) == (413, "M_TOO_LARGE")


async def test_parameters_that_make_no_sense_are_refused(api: Api) -> None:
    await api.log_in()
    for odd in ("%00", "a%00b", "x" * 5000):
        assert (await api.get(f"resolve_identifier/{odd}")).errcode == "M_INVALID_PARAM"
    assert (await api.get("contacts", login_id="\0")).errcode == "M_INVALID_PARAM"


async def test_a_body_that_does_not_come_is_not_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "BODY_DEADLINE", 0.1)
    host, port = api.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /_matrix/provision/v3/search_users HTTP/1.1\r\nHost: x\r\n"
        b"Authorization: Bearer juliet's\r\nContent-Length: 10\r\n\r\n{"
    )
    async with asyncio.timeout(30):
        assert b" 408 " in await reader.readline()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_one_user_does_not_keep_the_bridge_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALLS_A_MINUTE", 3)
    async with provisioned() as api:
        statuses = [(await api.get("logins")).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        assert (await api.get("logins", token="nurse's")).status == 200


async def test_a_call_that_takes_too_long_is_answered_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.05)

    class Never:
        async def whoami(self, call: Call) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError

    class Services:
        account = Never()

    call = Call("whoami", UserId("@juliet:example.org"), {}, {})
    answer = await module.runner(Services())(call)  # type: ignore[arg-type]
    assert answer.status == 504


def test_a_database_that_is_away_is_said_to_pass() -> None:
    refusal = refusal_of(StorageError("secret detail", retry_after=1.0))
    assert (refusal.status, refusal.retry_after) == (503, 1.0)
    assert "secret" not in refusal.message


def test_every_operation_has_a_name_and_a_path_of_its_own() -> None:
    assert len({each.name for each in OPERATIONS}) == len(OPERATIONS)
    assert len({(each.method, each.path) for each in OPERATIONS}) == len(OPERATIONS)


async def test_requests_are_counted_by_how_they_end(api: Api) -> None:
    await api.get("whoami")
    await api.get("whoami", token=None)
    await api.get("nothing")
    api.tokens.trouble = HomeserverError("It is away.", retry_after=1.0)
    await api.get("whoami", token="nurse's")
    assert api.counted == ["done", "refused", "refused", "failed"]


def test_what_is_remembered_of_strangers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "MAX_KNOWN", 2)
    limit = Limit(1, 60.0, lambda: 0.0)
    for key in ("a", "b", "c", "a"):  # a is forgotten when c comes
        limit.take(key, "Too often.")
    with pytest.raises(Refusal) as caught:
        limit.take("c", "Too often.")
    assert caught.value.retry_after == 60.0
    assert len(limit._allowances._known) == 2
