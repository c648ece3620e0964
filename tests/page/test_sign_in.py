"""Getting in: by a link, once, as its user; and nobody else, from nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from dm_bridge.ids import UserId
from dm_bridge.page import Page, PageSettings, Sessions
from dm_bridge.provisioning.calls import Answer, Call
from dm_bridge.store.database import Database
from dm_bridge.store.page import LINKS, SESSIONS, PageStore

JULIET, NURSE = UserId("@juliet:example.org"), UserId("@nurse:example.org")
URL = "https://bridge.example.org/page/"
OURS = {
    "X-DM-Bridge": "page",
    "Origin": "https://bridge.example.org",
    "Sec-Fetch-Site": "same-origin",
}


@dataclass
class Site:
    """The page, and a browser without cookies of its own."""

    sessions: Sessions
    base: str
    http: aiohttp.ClientSession
    banned: set[UserId]
    calls: list[Call] = field(default_factory=list)
    entered: list[UserId] = field(default_factory=list)
    meanwhile: list[Callable[[], Awaitable[object]]] = field(default_factory=list)

    async def link(self, user: UserId = JULIET) -> str:
        """The token of a new link."""
        address, _, token = (await self.sessions.link(user)).partition("#enter=")
        assert address == URL
        return token

    async def post(
        self, path: str, body: Any = None, cookie: str = "", headers: dict[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        return await self.ask("POST", path, cookie, headers, json=body)

    async def get(
        self, path: str, cookie: str = "", headers: dict[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        return await self.ask("GET", path, cookie, headers)

    async def ask(
        self, method: str, path: str, cookie: str, headers: dict[str, str] | None, **more: Any
    ) -> aiohttp.ClientResponse:
        sent = (OURS if headers is None else headers) | (
            {"Cookie": f"{self.sessions.cookie}={cookie}"} if cookie else {}
        )
        async with self.http.request(method, self.base + path, headers=sent, **more) as response:
            await response.read()
        return response

    async def enter(self, user: UserId = JULIET) -> str:
        """Sign in; the cookie."""
        response = await self.post("api/enter", {"token": await self.link(user)})
        assert response.status == 200
        return response.cookies[self.sessions.cookie].value


@pytest_asyncio.fixture
async def site(database: Database) -> AsyncIterator[Site]:
    banned: set[UserId] = set()
    calls: list[Call] = []
    entered: list[UserId] = []
    meanwhile: list[Callable[[], Awaitable[object]]] = []

    async def run(call: Call) -> Answer:
        calls.append(call)
        for each in meanwhile:
            await each()
        return Answer(200, "{}")

    settings = PageSettings(
        URL,
        600.0,
        3600.0,
        UserId("@bot:example.org"),
        lambda user: user not in banned,
        lambda user: user == NURSE,
    )
    sessions = Sessions(PageStore(database), settings, entered.append)
    app = web.Application()
    Page(settings, sessions, run, [("xmpp", "XMPP")]).add_routes(app)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        yield Site(
            sessions, str(server.make_url("/page/")), http, banned, calls, entered, meanwhile
        )


async def test_a_link_says_whose_it_is_and_opens_one_session(site: Site) -> None:
    token = await site.link()
    for _ in range(2):
        whose = await site.post("api/enter/who", {"token": token})
        assert (whose.status, await whose.json()) == (200, {"user_id": JULIET})
    assert site.entered == []
    entered = await site.post("api/enter", {"token": token})
    said = await entered.json()
    assert (said["user_id"], said["admin"], said["networks"]) == (JULIET, False, {"xmpp": "XMPP"})
    assert site.entered == [JULIET]
    for path in ("api/enter", "api/enter/who"):
        again = await site.post(path, {"token": token})
        assert (again.status, (await again.json())["errcode"]) == (403, "M_UNKNOWN_TOKEN")
        assert "Write `page`" in (await again.json())["error"]


async def test_the_cookie_is_for_the_page_alone(site: Site) -> None:
    entered = await site.post("api/enter", {"token": await site.link()})
    said = entered.headers["Set-Cookie"]
    assert said.startswith("__Host-dm_bridge_")
    assert "Domain" not in said
    assert {"HttpOnly", "Path=/", "SameSite=Strict", "Secure", "Max-Age=3600"} <= set(
        said.split("; ")
    )


async def test_calls_are_those_of_who_is_signed_in(site: Site) -> None:
    cookie = await site.enter()
    got = await site.get("api/v3/whoami?user_id=%40nurse%3Aexample.org", cookie)
    assert got.status == 200
    assert [(call.operation, call.user, dict(call.query)) for call in site.calls] == [
        ("whoami", JULIET, {})
    ]
    assert "Access-Control-Allow-Origin" not in got.headers


@pytest.mark.parametrize("cookie", ["", "x", "é" * 10, "a" * 5000])
async def test_nobody_is_served_without_a_session(site: Site, cookie: str) -> None:
    for method, path in (("GET", "api/session"), ("GET", "api/v3/whoami"), ("POST", "api/leave")):
        got = await site.ask(method, path, cookie, None)
        assert got.status == 401, path
    assert site.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-DM-Bridge": "page", "Origin": "https://evil.example"},
        {"X-DM-Bridge": "page", "Origin": "null"},
        {"X-DM-Bridge": "page", "Origin": "http://bridge.example.org"},
        {"X-DM-Bridge": "page", "Sec-Fetch-Site": "cross-site"},
        {"X-DM-Bridge": "page", "Sec-Fetch-Site": "same-site"},
        {"X-DM-Bridge": "page", "Sec-Fetch-Site": "none"},
        {"Origin": "https://bridge.example.org", "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_what_another_site_asks_for_counts_for_nothing(
    site: Site, headers: dict[str, str]
) -> None:
    cookie, token = await site.enter(), await site.link()
    for path, body in (
        ("api/v3/direct/repair", None),
        ("api/leave", None),
        ("api/enter", {"token": token}),
        ("api/enter/who", {"token": token}),
    ):
        got = await site.post(path, body, cookie, headers)
        assert got.status == 403, path
    assert site.calls == []
    assert (await site.get("api/session", cookie)).status == 200
    assert (await site.ask("OPTIONS", "api/v3/whoami", "", headers)).status == 405


async def test_leaving_ends_this_session_only(site: Site) -> None:
    one, other = await site.enter(), await site.enter()
    left = await site.post("api/leave", {}, one)
    assert left.status == 200
    assert left.cookies[site.sessions.cookie].value == ""
    assert (await site.get("api/session", one)).status == 401
    assert (await site.get("api/session", other)).status == 200


async def test_the_bot_can_end_all_sessions_and_links(site: Site) -> None:
    cookies = [await site.enter(), await site.enter()]
    nurse, token = await site.enter(NURSE), await site.link()
    assert await site.sessions.end_all(JULIET) == 2
    for cookie in cookies:
        assert (await site.get("api/session", cookie)).status == 401
    assert (await site.post("api/enter", {"token": token})).status == 403
    assert (await (await site.get("api/session", nurse)).json())["admin"] is True


async def test_whoever_is_permitted_no_more_is_out_at_once(site: Site) -> None:
    cookie, token = await site.enter(), await site.link()
    site.banned.add(JULIET)
    assert (await site.get("api/v3/whoami", cookie)).status == 403
    assert (await site.post("api/enter", {"token": token})).status == 403


async def test_the_newest_links_and_sessions_work(site: Site) -> None:
    tokens = [await site.link() for _ in range(LINKS + 1)]
    statuses = [(await site.post("api/enter/who", {"token": t})).status for t in tokens]
    assert statuses == [403] + [200] * LINKS
    cookies = [await site.enter() for _ in range(SESSIONS + 1)]
    statuses = [(await site.get("api/session", cookie)).status for cookie in cookies]
    assert statuses == [401] + [200] * SESSIONS


async def test_who_is_signed_out_while_waiting_is_told_nothing_more(site: Site) -> None:
    cookie = await site.enter()
    site.meanwhile.append(lambda: site.sessions.end_all(JULIET))
    assert (await site.get("api/v3/watch", cookie)).status == 401
    assert [call.user for call in site.calls] == [JULIET]


async def test_links_and_sessions_end(site: Site, database: Database) -> None:
    cookie, token = await site.enter(), await site.link()
    async with database.connection() as connection:
        await connection.execute("UPDATE page_link SET expires_at = now()")
        await connection.execute("UPDATE page_session SET expires_at = now()")
    assert (await site.get("api/session", cookie)).status == 401
    assert (await site.post("api/enter", {"token": token})).status == 403
    await site.link(NURSE)
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM page_session") == 0


@pytest.mark.parametrize("body", [None, [], {}, {"token": 1}, {"token": "x" * 101}, "x"])
async def test_bodies_that_make_no_sense_are_refused(site: Site, body: Any) -> None:
    assert (await site.post("api/enter", body)).status == 400


async def test_guessing_is_slow(site: Site) -> None:
    statuses = [(await site.post("api/enter/who", {"token": "guess"})).status for _ in range(31)]
    assert statuses == [403] * 30 + [429]


async def test_the_files_are_served_and_nothing_else_is(site: Site) -> None:
    index = await site.get("", headers={})
    assert index.status == 200
    assert "script-src 'self'" in index.headers["Content-Security-Policy"]
    assert "unsafe" not in index.headers["Content-Security-Policy"]
    known = await site.get("", headers={"If-None-Match": index.headers["ETag"]})
    assert known.status == 304
    for path in ("static", "page.py", "..%2fpage.py", "%2e%2e/page.py", "index.html/x"):
        assert (await site.get(path, headers={})).status == 404, path
    bare = await site.http.get(site.base.rstrip("/"), allow_redirects=False)
    assert (bare.status, bare.headers["Location"]) == (302, URL)


async def test_everybody_may_know_whom_to_write_to(site: Site) -> None:
    assert await (await site.get("api/about", headers={})).json() == {"bot": "@bot:example.org"}
