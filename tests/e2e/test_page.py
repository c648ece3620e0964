"""The page in a real browser, on real servers: all of it, on a desktop and on a phone, light and dark."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import PASSWORD, ask, ghost_of, within
from tests.wire import Wire

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
AXE = os.environ.get("AXE_CORE", "")
"""The path of axe.min.js, to have every part of the page checked by it too."""
SHOTS = os.environ.get("PAGE_SHOTS", "")
"""A directory for pictures of every part of the page."""
DESKTOP, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=360, height=740)
CONNECTED = re.compile(r"^\W*Connected$")
PATIENCE = 60_000
"""Milliseconds for what the page shows by itself."""

pytestmark = pytest.mark.timeout(420)


@pytest_asyncio.fixture(scope="module")
async def stack(prosody: Prosody, wire: Wire, workplace: Workplace) -> AsyncIterator[Stack]:
    """A bridge that soon gives up, with a page."""
    xmpp = {
        "servers": {prosody.domain: {"port": wire.port}},
        "send_timeout": 3,
        "send_wait": 2,
        "retry_min": 0.1,
        "retry_max": 0.5,
    }
    stack = await Stack.start(
        workplace("page"),
        prosody=prosody,
        domain="page.localhost",
        config={
            "networks": {"xmpp": xmpp},
            "delivery": {"expire_hours": 0.01},
            "permissions": {"@alice:page.localhost": "admin"},
        },
    )
    yield stack
    await stack.stop()


@pytest_asyncio.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    assert CHROMIUM is not None, "`tools/setup --tests` installs chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@dataclass
class Tab:
    """A page, and what went wrong in it."""

    page: Page
    origin: str
    wrong: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("console", lambda said: self._said(said.type, said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))

    def _said(self, kind: str, text: str) -> None:
        refused = text.startswith("Failed to load resource")  # it is handled, and shown
        if kind in ("error", "warning") and not refused:
            self.wrong.append(text)

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.wrong.append(f"asked for {url}")

    async def look(self, name: str) -> None:
        """What must hold of whatever is shown."""
        wide = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, f"{name} scrolls sideways by {wide} pixels"
        small = await self.page.evaluate(SMALL)
        assert small == [], f"{name}: too small to touch: {small}"
        nameless = await self.page.evaluate(NAMELESS)
        assert nameless == [], f"{name}: without a name: {nameless}"
        if SHOTS:
            size = (self.page.viewport_size or {"width": 0})["width"]
            dark = await self.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
            where = Path(SHOTS) / f"{name}-{size}-{'dark' if dark else 'light'}.png"
            await self.page.screenshot(path=where, full_page=True)
        if AXE:
            await self.page.evaluate(Path(AXE).read_text(encoding="utf-8"))
            found = await self.page.evaluate(AXE_RUN)
            self.wrong += [f"{name}: {each}" for each in found if each not in str(self.wrong)]

    async def look_in_all_ways(self, name: str) -> None:
        """The same on a desktop and on a phone, in the light and in the dark."""
        for size in (DESKTOP, PHONE):
            await self.page.set_viewport_size(size)
            await self.page.emulate_media(color_scheme="light")
            await self.look(name)
            await self.page.emulate_media(color_scheme="dark")
            await self.look(name)
        await self.page.set_viewport_size(DESKTOP)

    async def turn(self, name: str) -> None:
        """Go to a part of the page, by the keyboard."""
        await self.page.get_by_role("navigation").get_by_role("link", name=name).press("Enter")
        await expect(self.page.get_by_role("heading", level=2, name=name)).to_be_focused()


SMALL = """
[...document.querySelectorAll('button, .button, nav a, input, select, summary')]
  .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML)
"""
AXE_RUN = """
axe.run().then(found => found.violations.flatMap(
  each => each.nodes.map(node => `${each.id}: ${node.html} ${node.failureSummary}`)))
"""
NAMELESS = """
[...document.querySelectorAll('input, select')]
  .filter(e => e.checkVisibility() && !e.labels.length && !e.ariaLabel).map(e => e.outerHTML)
  .concat([...document.querySelectorAll('img:not([alt])')].map(e => e.outerHTML))
"""


@asynccontextmanager
async def a_tab(browser: Browser, stack: Stack) -> AsyncIterator[Tab]:
    context = await browser.new_context(viewport=DESKTOP, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    expect.set_options(timeout=20_000)
    tab = Tab(await context.new_page(), stack.bridge.url)
    tab.listen()
    yield tab
    await context.close()


async def test_a_user_does_everything_on_the_page(
    stack: Stack, wire: Wire, browser: Browser
) -> None:
    romeo = await stack.prosody.add_user("romeo-page", PASSWORD)
    async with (
        stack.matrix_user("alice") as alice,
        stack.xmpp_user("juliet-page") as juliet,
        a_tab(browser, stack) as tab,
    ):
        page = tab.page
        await page.goto(f"{stack.bridge.url}/page/")
        await expect(page.get_by_text(stack.bot).first).to_be_visible()
        await tab.look_in_all_ways("outside")

        # in, by a link of the bot's
        room = await stack.open_bot_chat(alice)
        said = await ask(alice, stack.bot, room, "page", "#enter=")
        found = re.search(r"http\S+#enter=[\w-]+", said)
        assert found is not None, said
        await page.goto("about:blank")
        await page.goto(found[0])
        await expect(page.get_by_text("@alice:page.localhost")).to_be_visible()
        assert "enter" not in page.url
        await tab.look_in_all_ways("enter")
        await page.keyboard.press("Tab")
        await page.get_by_role("button", name="Yes, go on").press("Enter")
        await expect(page.get_by_text("not logged in to any network")).to_be_visible()
        await tab.look_in_all_ways("logins-none")

        # by keyboard: the skip link comes first, and the login is a dialog that gives the focus back
        await page.reload()
        await expect(page.get_by_text("not logged in to any network")).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.get_by_role("button", name="Log in to XMPP").press("Enter")
        address = page.get_by_label("XMPP address")
        await expect(address).to_be_focused()
        await page.keyboard.type(romeo)
        await page.keyboard.press("Tab")
        await page.keyboard.type("wrong")
        await tab.look_in_all_ways("login")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_be_visible(timeout=PATIENCE)
        await tab.look_in_all_ways("login-refused")
        await expect(address).to_have_value(romeo)
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text(CONNECTED)).to_be_visible(timeout=PATIENCE)
        await tab.look_in_all_ways("logins")

        # a chat appears by itself
        await tab.turn("Chats")
        await tab.look_in_all_ways("chats-none")
        juliet.send(romeo, "hello")
        chat = (await alice.wait_for_text("hello")).room_id
        ghost = ghost_of(stack, juliet.bare_jid)
        card = page.get_by_role("listitem").filter(has_text=juliet.bare_jid)
        await expect(card.get_by_text("Direct chat")).to_be_visible(timeout=PATIENCE)
        await expect(page.locator("#changes")).to_contain_text(juliet.bare_jid)
        await tab.look_in_all_ways("chats")

        # an address starts a chat, or finds the one that there is
        who = page.get_by_role("combobox", name="Start a chat with")
        await who.press_sequentially(juliet.bare_jid)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("The chat is there:")).to_be_visible()
        await tab.look_in_all_ways("chats-started")

        # out of m.direct, and back
        await card.get_by_role("button", name="Leave out").press("Enter")
        await expect(card.get_by_text("Left out")).to_be_visible(timeout=PATIENCE)
        await tab.look_in_all_ways("chats-left-out")

        async def direct() -> bool:
            return chat in (await alice.m_direct() or {}).get(ghost, [])

        assert not await direct()
        await card.get_by_role("button", name="Make it direct").press("Enter")
        await expect(card.get_by_text("Direct chat")).to_be_visible(timeout=PATIENCE)
        await within(60, direct)

        # what an other client breaks is put right, and told
        await alice.set_m_direct({stack.bot: [room, chat]})
        await page.get_by_role("button", name="Check and repair").press("Enter")
        await within(60, direct)
        await tab.turn("History")
        await expect(page.get_by_text("The bridge wrote the list.").first).to_be_visible(
            timeout=PATIENCE
        )
        await page.locator("summary").first.press("Enter")
        await expect(page.get_by_role("table").first).to_be_visible()
        await tab.look_in_all_ways("history")

        # the network goes away, and a message with it
        await tab.turn("Delivery")
        await tab.look_in_all_ways("delivery-none")
        await tab.turn("Logins")
        wire.up = False
        wire.cut()
        await expect(page.get_by_text("Not connected, trying again", exact=True)).to_be_visible(
            timeout=PATIENCE
        )
        await alice.send_text(chat, "But soft")
        await tab.look_in_all_ways("logins-away")
        await tab.turn("Delivery")
        again = page.get_by_role("button", name="Try again").first
        await expect(again).to_be_visible(timeout=2 * PATIENCE)
        assert "But soft" not in await page.content()
        await tab.look_in_all_ways("delivery")
        wire.mend()
        await tab.turn("Logins")
        await expect(page.get_by_text(CONNECTED)).to_be_visible(timeout=PATIENCE)
        await tab.turn("Delivery")
        await again.press("Enter")
        await juliet.wait_for_text("But soft", timeout=60)
        await expect(again).to_be_hidden(timeout=PATIENCE)

        # the admin sees all
        await tab.turn("The bridge")
        await expect(page.get_by_role("cell", name="@alice:page.localhost").first).to_be_visible()
        await tab.look_in_all_ways("bridge")

        # the bridge is restarted: the page says so, and goes on
        await tab.turn("Logins")
        assert await stack.bridge.stop() == 0
        away = page.get_by_text("The bridge cannot be reached.")
        await expect(away).to_be_visible(timeout=PATIENCE)
        await tab.look_in_all_ways("away")
        await stack.bridge.run()
        await expect(away).to_be_hidden(timeout=PATIENCE)
        logins = page.locator("#logins")
        await expect(logins.get_by_text(CONNECTED)).to_be_visible(timeout=PATIENCE)

        # out
        await page.get_by_role("button", name="Sign out").press("Enter")
        await expect(page.get_by_text("You are signed out.")).to_be_visible()
        await page.reload()
        await expect(page.get_by_text(stack.bot).first).to_be_visible()
        assert tab.wrong == [], "\n".join(tab.wrong)
