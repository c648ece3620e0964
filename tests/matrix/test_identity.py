"""Who a token belongs to, as the homeserver says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from dm_bridge.errors import HomeserverError
from dm_bridge.matrix import identity as module
from dm_bridge.matrix.identity import Identities
from dm_bridge.matrix.sessions import homeserver_session

WHOAMI = "/_matrix/client/v3/account/whoami"
USERINFO = "/_matrix/federation/v1/openid/userinfo"


@dataclass
class Server:
    """``answers``: by path; ``asked``: path, token in the header, token in the query."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.asked.append((request.path, token, request.query.get("access_token")))
        status, body = self.answers.get(request.path, (404, {"errcode": "M_UNRECOGNIZED"}))
        return web.json_response(body, status=status)


@dataclass
class World:
    server: Server
    identities: Identities


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    server, app = Server(), web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    async with TestServer(app) as listening, homeserver_session() as session:
        url = str(listening.make_url("")).rstrip("/")
        yield World(server, Identities(url, "example.org", session))


async def test_an_access_token_belongs_to_who_is_logged_in_with_it(world: World) -> None:
    world.server.answers[WHOAMI] = 200, {"user_id": "@juliet:example.org", "device_id": "X"}
    assert await world.identities.by_access_token("syt_abc") == "@juliet:example.org"
    assert world.server.asked == [(WHOAMI, "syt_abc", None)]


async def test_an_openid_token_belongs_to_who_asked_for_it(world: World) -> None:
    world.server.answers[USERINFO] = 200, {"sub": "@juliet:example.org"}
    assert await world.identities.by_openid("abc&x=y") == "@juliet:example.org"
    assert world.server.asked == [(USERINFO, "", "abc&x=y")]


@pytest.mark.parametrize("status", [401, 403])
async def test_an_unknown_token_belongs_to_nobody(world: World, status: int) -> None:
    refusal = status, {"errcode": "M_UNKNOWN_TOKEN", "error": "No."}
    world.server.answers = {WHOAMI: refusal, USERINFO: refusal}
    assert await world.identities.by_access_token("x") is None
    assert await world.identities.by_openid("x") is None


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"user_id": None, "sub": 1},
        {"user_id": "juliet", "sub": "juliet"},
        {"user_id": "@juliet:elsewhere.example", "sub": "@juliet:elsewhere.example"},
        {"user_id": "@j:example.org.evil.example", "sub": "@j:example.org:8448"},
        {"user_id": "@juliet:example.org", "is_guest": True},
    ],
)
async def test_nobody_is_believed_to_be_who_is_no_user_of_this_homeserver(
    world: World, answer: dict[str, Any]
) -> None:
    world.server.answers = {WHOAMI: (200, answer), USERINFO: (200, answer)}
    assert await world.identities.by_access_token("x") is None
    assert await world.identities.by_openid("x") is None


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "ä", "x" * 5000])
async def test_what_cannot_be_a_token_is_not_shown_to_anybody(world: World, token: str) -> None:
    assert await world.identities.by_access_token(token) is None
    assert await world.identities.by_openid(token) is None
    assert world.server.asked == []


async def test_a_homeserver_that_cannot_tell_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.2)
    world.server.answers[WHOAMI] = 502, {}
    with pytest.raises(HomeserverError):
        await world.identities.by_access_token("x")
    with pytest.raises(HomeserverError):  # it serves no such path
        await world.identities.by_openid("x")
