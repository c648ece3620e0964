"""A browser, and a page over a bridge that is made up."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import BrowserContext, async_playwright, expect
from playwright.async_api import Page as Tab

from dm_bridge.ids import UserId
from dm_bridge.page import Page, PageSettings, Sessions
from dm_bridge.provisioning.calls import Answer, Call
from dm_bridge.store.database import Database
from dm_bridge.store.page import PageStore
from dm_bridge.testing.processes import free_port

PATIENCE = 20_000
"""Milliseconds for what is to be shown: a page that could not reach the bridge asks again ever more seldom."""
expect.set_options(timeout=PATIENCE)
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
JULIET, NURSE = UserId("@juliet:example.org"), UserId("@nurse:example.org")
BOT = UserId("@bot:example.org")
STEP = {
    "login_id": "1",
    "type": "user_input",
    "step_id": "s",
    "txn_id": "t",
    "user_input": {"fields": [{"type": "username", "id": "jid", "name": "XMPP address"}]},
}

Says = Callable[[Call], Awaitable[Any]]
"""What the bridge answers a call with."""


def snapshot(user: UserId) -> dict[str, Any]:
    """Of a user with one login, named as they are."""
    state = {"state_event": "CONNECTED", "timestamp": 0}
    login = {"id": "1", "name": f"login of {user}", "state": state, "org.dm_bridge.network": "xmpp"}
    direct = {"observed": "Watched.", "chats": []}
    nothing: dict[str, list[str]] = {"problems": []}
    return {"digest": user, "logins": [login], "direct": direct, "deliveries": nothing}


@dataclass
class Place:
    """``says``: what the bridge answers an operation with; where nothing is given, that of one user's login.

    ``called``: is set with every call.
    """

    settings: PageSettings
    sessions: Sessions
    context: BrowserContext
    networks: list[tuple[str, str]] = field(default_factory=lambda: [("xmpp", "XMPP")])
    says: dict[str, Says] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    server: TestServer | None = None

    @property
    def url(self) -> str:
        return self.settings.url

    async def tab(self, user: UserId = JULIET) -> Tab:
        """Somebody signs in in a new tab."""
        tab = await self.context.new_page()
        await tab.goto(await self.sessions.link(user))
        await tab.locator("main button.main").click()
        await tab.locator("#logins li").first.wait_for()
        return tab

    def asked(self, operation: str) -> int:
        """How often something was asked for."""
        return sum(call.operation == operation for call in self.calls)

    async def until_asked(self, operation: str, times: int) -> None:
        """It has been asked for so often, and not more often."""
        async with asyncio.timeout(20):
            while self.asked(operation) < times:
                self.called.clear()
                await self.called.wait()
        assert self.asked(operation) == times

    async def start(self) -> None:
        """The bridge begins to answer, or anew, at the same address as before."""
        await self.stop()
        app = web.Application()
        Page(self.settings, self.sessions, self._run, self.networks).add_routes(app)
        self.server = TestServer(app, host="127.0.0.1", port=urlsplit(self.url).port)
        await self.server.start_server(shutdown_timeout=0.1)  # what is held back is not waited for

    async def stop(self) -> None:
        """It does not answer any more."""
        if self.server is not None:
            await self.server.close()
            self.server = None

    async def _run(self, call: Call) -> Answer:
        self.calls.append(call)
        self.called.set()
        said = self.says.get(call.operation)
        if said is not None:
            answer = await said(call)
            if isinstance(answer, Answer):
                return answer
        elif call.operation == "watch":
            if call.query["seen"] == call.user:
                await asyncio.Event().wait()
            answer = snapshot(call.user)
        else:
            answer = STEP if "flowID" in call.path else {}
        return Answer(200, orjson.dumps(answer).decode())


@pytest_asyncio.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    """The bridge, which answers, and a browser; everybody is an admin."""
    assert CHROMIUM is not None, "`tools/setup --tests` installs chromium"
    url = f"http://127.0.0.1:{free_port()}/page/"
    settings = PageSettings(url, 600.0, 3600.0, BOT, lambda user: True, lambda user: True)
    sessions = Sessions(PageStore(database), settings, lambda user: None)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context()
        context.set_default_timeout(PATIENCE)
        place = Place(settings, sessions, context)
        await place.start()
        yield place
        await browser.close()
        await place.stop()
