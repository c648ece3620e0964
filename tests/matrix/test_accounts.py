"""Acting for real users: for whom, and never for anybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.accounts import Access, Accounts, NoAccess, TokenHomeserver

from .scripted import Script

USER = UserId("@juliet:example.org")
ROOM = RoomId("!room")
CALLS: list[Callable[[Accounts, UserId], Awaitable[object]]] = [
    lambda accounts, user: accounts.join(user, ROOM),
    lambda accounts, user: accounts.send(user, ROOM, {"body": "x"}, "txn"),
    lambda accounts, user: accounts.redact(user, ROOM, EventId("$e"), "why"),
    lambda accounts, user: accounts.direct(user),
    lambda accounts, user: accounts.put_direct(user, "{}"),
]


@pytest.fixture
def accounts(script: Script) -> Accounts:
    accounts = Accounts(script.homeserver, "example.org", lambda user: user.startswith("@juliet:"))
    accounts.available = True
    return accounts


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "user",
    [
        "@nurse:example.org",
        "@juliet:other.example",
        "@juliet:example.org.evil.example",
        "@juliet:example.org:8448",
        "@juliet:EXAMPLE.org",
        "@juliet",
        "",
    ],
)
async def test_nothing_is_sent_for_users_the_bridge_may_not_act_for(
    script: Script,
    accounts: Accounts,
    call: Callable[[Accounts, UserId], Awaitable[object]],
    user: str,
) -> None:
    assert not accounts.can_act_for(UserId(user))
    with pytest.raises(NoAccess) as caught:
        await call(accounts, UserId(user))
    assert script.seen == []
    assert caught.value.retry_after is None


@pytest.mark.parametrize("call", CALLS)
async def test_nothing_is_sent_while_the_second_registration_does_not_work(
    script: Script, accounts: Accounts, call: Callable[[Accounts, UserId], Awaitable[object]]
) -> None:
    accounts.available = False
    with pytest.raises(NoAccess):
        await call(accounts, USER)
    assert script.seen == []


@pytest.mark.parametrize("call", CALLS)
async def test_every_call_acts_as_the_user(
    script: Script, accounts: Accounts, call: Callable[[Accounts, UserId], Awaitable[object]]
) -> None:
    script.answers = [(200, {"event_id": "$e"})]
    await call(accounts, USER)
    assert [seen.query["user_id"] for seen in script.seen] == [USER]


async def test_m_direct_is_given_as_it_came(script: Script, accounts: Accounts) -> None:
    raw = b'{"@a:b" : ["!x", "!x"], "@a:b": 5, "n": 1.50, "s": "\\ud800"}'

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=raw, content_type="application/json")

    script.answers = [answer]
    assert await accounts.direct(USER) == raw
    assert script.seen[0].path.endswith("/user/%40juliet%3Aexample.org/account_data/m.direct")


async def test_m_direct_is_written_as_it_is_given(script: Script, accounts: Accounts) -> None:
    await accounts.put_direct(USER, '{"@a:b": ["!x"]}')
    assert (script.seen[0].method, script.seen[0].body) == ("PUT", b'{"@a:b": ["!x"]}')


async def test_only_a_real_not_found_means_never_set(script: Script, accounts: Accounts) -> None:
    script.answers = [(404, {"errcode": "M_NOT_FOUND", "error": "Account data not found"})]
    assert await accounts.direct(USER) is None


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "<html>no such upstream</html>"),
        (404, "{}"),
        (404, '{"errcode": "M_UNRECOGNIZED"}'),
        (404, '{"errcode": ["M_NOT_FOUND"]}'),
        (403, '{"errcode": "M_FORBIDDEN"}'),
        (410, '{"errcode": "M_NOT_FOUND"}'),
    ],
)
async def test_any_other_failure_to_read_is_a_failure(
    script: Script, accounts: Accounts, status: int, text: str
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    script.answers = [answer]
    with pytest.raises(HomeserverError):
        await accounts.direct(USER)


async def test_a_write_of_m_direct_that_failed_is_not_repeated_without_a_fresh_read(
    script: Script, accounts: Accounts
) -> None:
    for trouble in ((502, {}), (429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1})):
        script.seen.clear()
        script.answers = [trouble, (200, {})]
        with pytest.raises(HomeserverError) as caught:
            await accounts.put_direct(USER, "{}")
        assert caught.value.retry_after is not None
        assert len(script.seen) == 1


# -- by a token that the user gave

ELSEWHERE = UserId("@romeo:other.example")


@pytest_asyncio.fixture
async def given(
    script: Script, accounts: Accounts
) -> AsyncIterator[tuple[TokenHomeserver, list[UserId]]]:
    """A token of a user elsewhere, in use, and whose tokens were refused."""
    refused: list[UserId] = []
    async with aiohttp.ClientSession() as session:
        homeserver = TokenHomeserver(
            ELSEWHERE, script.url, "romeos-token", session, lambda h: refused.append(h.owner)
        )
        accounts.use_token(homeserver)
        yield homeserver, refused


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("call", CALLS)
async def test_with_a_token_every_call_is_made_with_it_and_names_nobody(
    script: Script, accounts: Accounts, call: Callable[[Accounts, UserId], Awaitable[object]]
) -> None:
    script.answers = [(200, {"event_id": "$e"})]
    assert accounts.access(ELSEWHERE) is Access.TOKEN
    await call(accounts, ELSEWHERE)
    (seen,) = script.seen
    assert seen.headers["Authorization"] == "Bearer romeos-token"
    assert "user_id" not in seen.query


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(
    "user", ["@nurse:example.org", "@romeo:example.org", "@juliet:other.example"]
)
async def test_a_token_gives_access_to_nobody_but_its_owner(
    script: Script, accounts: Accounts, user: str
) -> None:
    assert accounts.access(UserId(user)) is Access.NONE
    with pytest.raises(NoAccess):
        await accounts.direct(UserId(user))
    assert script.seen == []


async def test_a_token_is_never_sent_in_the_name_of_somebody_else(
    script: Script, given: tuple[TokenHomeserver, list[UserId]]
) -> None:
    with pytest.raises(NoAccess):
        await given[0].join(ROOM, user=USER)
    assert script.seen == []


async def test_the_second_registration_comes_before_a_token_and_the_token_when_it_fails(
    script: Script, accounts: Accounts
) -> None:
    async with aiohttp.ClientSession() as session:
        accounts.use_token(TokenHomeserver(USER, script.url, "t", session, lambda _: None))
        assert accounts.access(USER) is Access.MASQUERADE
        accounts.available = False
        assert accounts.access(USER) is Access.TOKEN
        accounts.drop_token(USER)
        assert accounts.access(USER) is Access.NONE


@pytest.mark.usefixtures("given")
async def test_only_the_second_registration_sets_the_time_of_a_message(
    script: Script, accounts: Accounts
) -> None:
    script.answers = [(200, {"event_id": "$e"})]
    for user in (USER, ELSEWHERE):
        await accounts.send(user, ROOM, {"body": "x"}, "txn", timestamp=5.0)
    assert [seen.query.get("ts") for seen in script.seen] == ["5000", None]


@pytest.mark.parametrize("errcode", ["M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_USER_LOCKED"])
async def test_a_token_counts_as_refused_only_when_it_is_unknown(
    script: Script,
    accounts: Accounts,
    given: tuple[TokenHomeserver, list[UserId]],
    errcode: str,
) -> None:
    script.answers = [(401, {"errcode": errcode, "error": "no"})]
    with pytest.raises(HomeserverError):
        await accounts.direct(ELSEWHERE)
    assert given[1] == ([ELSEWHERE] if errcode == "M_UNKNOWN_TOKEN" else [])


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("event", ["e", "$\0", "$" + "x" * 300, "$ä", 5, None, ["$e"]])
async def test_what_is_no_event_id_is_not_taken_for_one(
    script: Script, accounts: Accounts, event: object
) -> None:
    script.answers = [(200, {"event_id": event})]
    with pytest.raises(HomeserverError) as caught:
        await accounts.send(ELSEWHERE, ROOM, {"body": "x"}, "txn")
    assert not caught.value.certain
