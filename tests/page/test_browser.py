"""The page in a real browser, over a bridge that is made up: in a hurry, in two tabs, signed out."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
import pytest
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

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
JULIET, NURSE = UserId("@juliet:example.org"), UserId("@nurse:example.org")
STEP = {
    "login_id": "1",
    "type": "user_input",
    "step_id": "s",
    "txn_id": "t",
    "user_input": {"fields": [{"type": "username", "id": "jid", "name": "XMPP address"}]},
}

pytestmark = pytest.mark.timeout(120)


def snapshot(user: UserId) -> dict[str, object]:
    """Of a user with one login, named as they are."""
    state = {"state_event": "CONNECTED", "timestamp": 0}
    login = {"id": "1", "name": f"login of {user}", "state": state, "org.dm_bridge.network": "xmpp"}
    direct = {"observed": "Watched.", "chats": []}
    nothing: dict[str, list[str]] = {"problems": []}
    return {"digest": user, "logins": [login], "direct": direct, "deliveries": nothing}


@dataclass
class Place:
    url: str
    sessions: Sessions
    context: BrowserContext
    calls: list[Call]

    async def tab(self, user: UserId = JULIET) -> Tab:
        """Somebody signs in in a new tab."""
        tab = await self.context.new_page()
        await tab.goto(await self.sessions.link(user))
        await tab.get_by_role("button", name="Yes, go on").click()
        await expect(tab.get_by_role("heading", name=f"login of {user}")).to_be_visible()
        return tab


@pytest_asyncio.fixture
async def place(database: Database) -> AsyncIterator[Place]:
    assert CHROMIUM is not None, "`tools/setup --tests` installs chromium"
    calls: list[Call] = []

    async def run(call: Call) -> Answer:
        calls.append(call)
        if call.operation == "watch" and call.query["seen"] == call.user:
            await asyncio.Event().wait()
        answer = STEP if "flowID" in call.path else snapshot(call.user)
        return Answer(200, orjson.dumps(answer).decode())

    port = free_port()
    url = f"http://127.0.0.1:{port}/page/"
    bot = UserId("@bot:example.org")
    settings = PageSettings(url, 600.0, 3600.0, bot, lambda user: True, lambda user: True)
    sessions = Sessions(PageStore(database), settings, lambda user: None)
    app = web.Application()
    Page(settings, sessions, run, [("xmpp", "XMPP")]).add_routes(app)
    async with TestServer(app, host="127.0.0.1", port=port), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context()
        context.set_default_timeout(20_000)
        yield Place(url, sessions, context, calls)
        await browser.close()


async def test_people_in_a_hurry(place: Place) -> None:
    tab = await place.tab()
    heading = tab.get_by_role("heading", name=f"login of {JULIET}")

    # the skip link is in the address when the page is loaded again
    await tab.goto(f"{place.url}#main")
    await tab.reload()
    await expect(heading).to_be_visible()

    # the network was away, and nothing has changed meanwhile
    away = tab.get_by_text("The bridge cannot be reached.")
    await place.context.route("**/v3/watch*", lambda route: route.abort())
    await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(away).to_be_visible()
    await place.context.unroute("**/v3/watch*")
    await expect(away).to_be_hidden()

    # a link that two tabs show: the second one is in already
    link = await place.sessions.link(JULIET)
    tabs = [await place.context.new_page() for _ in range(2)]
    for each in tabs:
        await each.goto(link)
        await expect(each.get_by_role("button", name="Yes, go on")).to_be_visible()
    for each in tabs:
        await each.get_by_role("button", name="Yes, go on").click()
        await expect(each.get_by_role("heading", name=f"login of {JULIET}")).to_be_visible()


async def test_a_tab_gets_nothing_of_who_signs_in_in_another_one(place: Place) -> None:
    tab = await place.tab()
    await place.tab(NURSE)
    await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(tab.get_by_text("Somebody else has signed in")).to_be_visible()
    await expect(tab.get_by_text(f"login of {NURSE}")).to_have_count(0)


async def test_who_is_signed_out_sees_why_and_nothing_goes_on(place: Place) -> None:
    tab = await place.tab()
    await tab.get_by_role("link", name="The bridge").click()
    await tab.get_by_role("link", name="Logins").click()
    await tab.get_by_role("button", name="Log in to another XMPP account").click()
    await expect(tab.get_by_label("XMPP address")).to_be_visible()
    await place.sessions.end_all(JULIET)
    await tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(tab.get_by_text("You are not signed in, or no longer.")).to_be_visible()
    await expect(tab.get_by_role("dialog")).to_have_count(0)
    title = await tab.title()
    await tab.go_back()
    assert await tab.title() == title
    await expect(tab.get_by_role("heading", name="This page opens with a link")).to_be_visible()
