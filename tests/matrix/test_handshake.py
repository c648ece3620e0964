"""The first words with a homeserver: each thing that can be wrong has its own sentence."""

from __future__ import annotations

import pytest
from aiohttp import web

from dm_bridge.errors import HomeserverError, RegistrationError
from dm_bridge.ids import UserId
from dm_bridge.matrix import handshake

from .scripted import Script

BOT = UserId("@bot:example.org")


async def never(_transaction: str) -> bool:
    """No ping has arrived."""
    return False


async def always(_transaction: str) -> bool:
    """Every ping has arrived."""
    return True


async def test_a_homeserver_that_knows_us_is_asked_to_make_the_bot(script: Script) -> None:
    script.answers = [(200, {"user_id": BOT}), (200, {})]
    await handshake.check_identity(script.homeserver, BOT)
    assert [seen.path.rpartition("/")[2] for seen in script.seen] == ["whoami", "register"]
    assert script.seen[1].body == (
        b'{"type":"m.login.application_service","username":"bot","inhibit_login":true}'
    )


async def test_a_bot_that_exists_is_as_good_as_a_new_one(script: Script) -> None:
    script.answers = [
        (200, {"user_id": BOT}),
        (400, {"errcode": "M_USER_IN_USE", "error": "taken"}),
    ]
    await handshake.check_identity(script.homeserver, BOT)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((401, {"errcode": "M_UNKNOWN_TOKEN"}), r"does not know our appservice\.as_token.*restart"),
        ((401, {"errcode": "M_MISSING_TOKEN"}), r"as_token"),
        ((403, {"errcode": "M_FORBIDDEN"}), r"as_token"),
        ((404, {"errcode": "M_UNRECOGNIZED"}), r"no Matrix homeserver at http.*homeserver\.url"),
        ((404, {}), r"no Matrix homeserver at"),
        ((200, {"user_id": "@bot:other.example"}), r"name is other\.example.*homeserver\.domain"),
        ((200, {"user_id": "@robot:example.org"}), r"as @robot:example\.org.*appservice\.bot"),
    ],
)
async def test_what_an_admin_must_change_is_named(
    script: Script, answer: tuple[int, object], sentence: str
) -> None:
    script.answers = [answer]
    with pytest.raises(RegistrationError, match=sentence):
        await handshake.check_identity(script.homeserver, BOT)


async def test_an_html_404_is_no_homeserver(script: Script) -> None:
    async def not_found(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="<html>nginx</html>", content_type="text/html")

    script.answers = [not_found]
    with pytest.raises(RegistrationError, match=r"no Matrix homeserver.*proxy"):
        await handshake.check_identity(script.homeserver, BOT)


async def test_trouble_that_may_pass_is_no_registration_error(script: Script) -> None:
    script.answers = [(500, {"errcode": "M_UNKNOWN", "error": "oops"})]
    with pytest.raises(HomeserverError) as caught:
        await handshake.ping_problem(script.homeserver, "dm_bridge", "http://us", never)
    assert caught.value.retry_after is not None


async def test_a_second_registration_that_works_is_no_problem(script: Script) -> None:
    script.answers = [(200, {"user_id": "@dm_bridge_accounts:example.org"})]
    assert await handshake.accounts_problem(script.homeserver) is None


async def test_a_second_registration_that_is_missing_is_named_with_what_it_costs(
    script: Script,
) -> None:
    script.answers = [(401, {"errcode": "M_UNKNOWN_TOKEN"})]
    problem = await handshake.accounts_problem(script.homeserver)
    assert problem is not None
    assert "registration-accounts.yaml" in problem
    assert "m.direct" in problem


async def test_other_trouble_with_the_second_registration_is_raised(script: Script) -> None:
    script.answers = [(400, {"errcode": "M_EXCLUSIVE", "error": "no"})]
    with pytest.raises(HomeserverError, match="M_EXCLUSIVE"):
        await handshake.accounts_problem(script.homeserver)


@pytest.mark.parametrize("errcode", ["M_CONNECTION_FAILED", "M_CONNECTION_TIMEOUT"])
async def test_a_ping_that_arrived_counts_whatever_became_of_it(
    script: Script, errcode: str
) -> None:
    """Synapse fails after the ping while it makes up for pushes that failed."""
    script.answers = [(502, {"errcode": errcode, "error": "AlreadyCalled: "})]
    problem = await handshake.ping_problem(script.homeserver, "my_id", "http://us:1", always)
    assert problem is None


@pytest.mark.parametrize(
    ("status", "errcode", "words"),
    [
        (403, "M_FORBIDDEN", ["appservice.id", "my_id"]),
        (400, "M_URL_NOT_SET", ["appservice.url"]),
        (502, "M_BAD_STATUS", ["http://us:1", "hs_token"]),
        (502, "M_CONNECTION_FAILED", ["http://us:1", "appservice.listen"]),
        (504, "M_CONNECTION_TIMEOUT", ["http://us:1", "appservice.listen"]),
    ],
)
async def test_why_the_homeserver_cannot_reach_us_is_said(
    script: Script, status: int, errcode: str, words: list[str]
) -> None:
    script.answers = [(status, {"errcode": errcode, "error": "x"})]
    problem = await handshake.ping_problem(script.homeserver, "my_id", "http://us:1", never)
    assert problem is not None
    assert all(word in problem for word in words)
    assert len(script.seen) == 1


async def test_a_homeserver_that_reaches_us_is_no_problem(script: Script) -> None:
    arrived: list[str] = []

    async def deliver(request: web.Request) -> web.StreamResponse:
        arrived.append((await request.json())["transaction_id"])
        return web.json_response({"duration_ms": 3})

    async def has_arrived(transaction: str) -> bool:
        return transaction in arrived

    script.answers = [deliver]
    for _ in range(2):
        problem = await handshake.ping_problem(
            script.homeserver, "my_id", "http://us:1", has_arrived, "us/"
        )
        assert problem is None
    assert len(set(arrived)) == 2
    assert all(transaction.startswith("us/") for transaction in arrived)
    assert script.seen[0].path == "/_matrix/client/v1/appservice/my_id/ping"


async def test_a_ping_that_somebody_else_answered_is_a_problem(script: Script) -> None:
    script.answers = [(200, {"duration_ms": 3})]
    problem = await handshake.ping_problem(script.homeserver, "my_id", "http://us:1", never)
    assert problem is not None
    for word in ("http://us:1", "appservice.url", "appservice.listen", "second bridge"):
        assert word in problem


async def test_a_homeserver_that_cannot_be_asked_is_no_problem(script: Script) -> None:
    script.answers = [(404, {"errcode": "M_UNRECOGNIZED"})]
    assert await handshake.ping_problem(script.homeserver, "my_id", "http://us:1", never) is None
