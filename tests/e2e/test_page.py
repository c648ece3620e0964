"""The page in a real browser: getting in, logging in, chats, decisions, what was not delivered; and for admins."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest_asyncio
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

from dm_bridge.testing.matrix_client import MatrixUser, Seen
from dm_bridge.testing.stack import ADMIN, Stack
from tests.e2e.pairs import PASSWORD, ghost_of, unique, within

"""None of it depends on the version of a room."""

DESKTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=360, height=740)
SHOTS = os.environ.get("PAGE_SHOTS")
"""A directory for pictures of every part, to be looked at; none are made without it."""
SLOW = 30_000
"""Milliseconds."""


@pytest_asyncio.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium is not None, "install chromium: tools/setup --tests does"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()


@dataclass
class Watched:
    """A tab, and what it did that it must not."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    async def part(self, name: str) -> None:
        await (
            self.page.get_by_role("navigation")
            .get_by_role("link", name=re.compile(f"^{name}"))
            .click()
        )
        await expect(self.page.get_by_role("heading", level=2, name=name)).to_be_focused()

    async def look(self, name: str) -> None:
        """Nothing sticks out at any size; pictures, if they are wanted."""
        for size, device in ((DESKTOP, "desktop"), (PHONE, "phone")):
            await self.page.set_viewport_size(size)
            for scheme in ("light", "dark"):
                await self.page.emulate_media(color_scheme=scheme)
                if SHOTS:
                    await self.page.screenshot(
                        path=Path(SHOTS) / f"{name}-{device}-{scheme}.png", full_page=True
                    )
            wide = await self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= size["width"], (name, device)
            low = await self.page.evaluate(_LOW_TARGETS)
            assert low == [], (name, device)
            assert await self.page.evaluate(_NAMELESS) == [], name


_LOW_TARGETS = """[...document.querySelectorAll('button, input, select, nav a, a.button')]
  .filter(each => each.checkVisibility() && each.getBoundingClientRect().height < 43.5)
  .map(each => each.outerHTML)"""
_NAMELESS = """[...document.querySelectorAll('button, a, input, select')]
  .filter(each => each.checkVisibility() && !(each.textContent.trim() || each.getAttribute('aria-label')
    || each.labels?.length)).map(each => each.outerHTML)"""


@asynccontextmanager
async def tab(browser: Browser, stack: Stack) -> AsyncIterator[Watched]:
    context = await browser.new_context(viewport=DESKTOP)
    page = await context.new_page()
    page.set_default_timeout(SLOW)
    watched = Watched(page)
    ours = urlsplit(stack.bridge.url).netloc

    def asked(request: Any) -> None:
        if urlsplit(request.url).netloc != ours and not request.url.startswith("data:"):
            watched.wrong.append(request.url)

    def logged(message: Any) -> None:
        refused = "Failed to load resource" in message.text  # the browser's word for every 4xx
        if message.type in ("error", "warning") and not refused:
            watched.wrong.append(message.text)

    page.on("request", asked)
    page.on("console", logged)
    page.on("pageerror", lambda error: watched.wrong.append(str(error)))
    yield watched
    await context.close()
    assert watched.wrong == []


async def link_of(stack: Stack, user: MatrixUser, room: str) -> str:
    """What the bot answers to `page`."""
    mark = user.mark()
    await user.send_text(room, "page")

    def answered(seen: Seen) -> bool:
        return seen.room_id == room and seen.sender == stack.bot and "#enter=" in (seen.body or "")

    body = (await user.wait_for(answered, timeout=60, after=mark)).body or ""
    [link] = re.findall(r"http\S+#enter=[\w-]+", body)
    return str(link)


async def test_a_user_does_everything_on_the_page(stack: Stack, browser: Browser) -> None:
    number = unique(stack)
    romeo = await stack.prosody.add_user(f"romeo-{number}", PASSWORD)
    async with (
        stack.matrix_user(f"alice-{number}") as alice,
        stack.xmpp_user(f"juliet-{number}") as juliet,
        tab(browser, stack) as watched,
    ):
        page = watched.page
        room = await stack.open_bot_chat(alice)
        link = await link_of(stack, alice, room)

        # in: whose link it is first, and then once only
        await page.goto(link)
        await expect(page.get_by_role("heading", name="Is this you?")).to_be_focused()
        await expect(page.get_by_text(alice.user_id)).to_be_visible()
        assert "enter" not in page.url
        await watched.look("enter")
        mark = alice.mark()
        await page.get_by_role("button", name="Yes, go on").click()
        await expect(page.get_by_role("heading", name="Logins")).to_be_visible()
        await alice.wait_for(
            lambda seen: "opened the page" in (seen.body or ""), timeout=60, after=mark
        )
        async with tab(browser, stack) as other:
            await other.page.goto(link)
            await expect(other.page.get_by_text("This link does not work any more")).to_be_visible()
            await expect(other.page.get_by_text(stack.bot).first).to_be_visible()

        # a login, by keyboard, with a wrong password first
        await watched.look("no-logins")
        await page.get_by_role("button", name="Log in to XMPP").focus()
        await page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_role("textbox").first).to_be_focused()
        await page.keyboard.type(romeo)
        await page.keyboard.press("Tab")
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        await expect(dialog.get_by_role("alert")).to_be_visible()
        await expect(dialog.get_by_label("XMPP password")).to_be_focused()
        await watched.look("refused")
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Connected", exact=True)).to_be_visible(timeout=SLOW)
        await expect(dialog).to_have_count(0)
        await watched.look("logins")

        # a chat appears by itself; it is left out, and taken in again
        await watched.part("Chats")
        await watched.look("no-chats")
        juliet.send(romeo, "Art thou not Romeo?")
        chat = page.get_by_role("listitem").filter(has_text=juliet.bare_jid)
        await expect(chat.get_by_text("Direct chat")).to_be_visible(timeout=60_000)
        ghost = ghost_of(stack, juliet.bare_jid)

        async def marked() -> bool:
            return ghost in (await alice.m_direct() or {})

        async def unmarked() -> bool:
            return not await marked()

        await within(60, marked)
        await chat.get_by_role("button", name="Leave out").click()
        await expect(chat.get_by_text("Left out", exact=True)).to_be_visible()
        await within(60, unmarked)
        await watched.look("left-out")
        await chat.get_by_role("button", name="Make it direct").click()
        await expect(chat.get_by_text("Direct chat", exact=True)).to_be_visible()
        await within(60, marked)
        await page.get_by_role("button", name="Check and repair").click()
        await expect(page.locator("#news p")).not_to_be_empty()
        await watched.look("chats")

        # what became of the list, in words, with before and after
        await watched.part("History")
        await page.locator("summary").first.click()
        await expect(page.get_by_role("table").first).to_contain_text(ghost)
        await watched.look("history")

        # a message that cannot be delivered
        await watched.part("Chats")
        await page.get_by_label("Start a chat with").fill(f"nobody-{number}@localhost")
        await page.get_by_role("button", name="Start").click()
        nobody = page.get_by_role("listitem").filter(has_text=f"nobody-{number}@localhost")
        await expect(nobody).to_be_visible()
        stranger = ghost_of(stack, f"nobody-{number}@localhost")

        async def listed() -> bool:
            return stranger in (await alice.m_direct() or {})

        await within(60, listed)
        theirs = (await alice.m_direct() or {})[stranger][0]
        await alice.send_text(theirs, "a secret for nobody")
        badge = page.get_by_role("navigation").get_by_label("1 not delivered")
        await expect(badge).to_be_visible(timeout=60_000)
        await watched.part("Delivery")
        problem = page.get_by_role("listitem").filter(has_text="Not delivered")
        await expect(problem).to_contain_text(f"nobody-{number}@localhost")
        assert "a secret for nobody" not in await page.content()
        await watched.look("delivery")
        await problem.get_by_role("button", name="Try again").click()
        await expect(page.locator("#news p")).to_contain_text("sent again")

        assert "sign-in" in await stack.bridge.command("audit", "-c", str(stack.bridge.config_path))

        # signed out everywhere, at the bot's word
        mark = alice.mark()
        await alice.send_text(room, "page close")
        await alice.wait_for(lambda seen: "signed out" in (seen.body or ""), timeout=60, after=mark)
        await page.reload()
        await expect(page.get_by_text("This page opens with a link")).to_be_visible()
        await watched.look("outside")


async def test_an_admin_sees_the_whole_bridge_and_others_do_not(
    stack: Stack, browser: Browser
) -> None:
    number = unique(stack)
    romeo = await stack.prosody.add_user(f"romeo-{number}", PASSWORD)
    async with (
        stack.matrix_user(ADMIN) as admin,
        stack.matrix_user(f"bob-{number}") as bob,
        tab(browser, stack) as watched,
    ):
        page = watched.page
        theirs = await stack.open_bot_chat(bob)
        await stack.log_in(bob, theirs, romeo, PASSWORD)
        await page.goto(await link_of(stack, bob, theirs))
        await page.get_by_role("button", name="Yes, go on").click()
        await expect(page.get_by_text("Connected", exact=True)).to_be_visible()
        await expect(page.get_by_role("link", name="The bridge")).to_have_count(0)
        refused = await page.evaluate(
            "fetch('api/v3/admin/overview', {headers: {'X-DM-Bridge': 'page'}}).then(r => r.status)"
        )
        assert refused == 403
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_text("You are signed out.")).to_be_visible()

        await page.goto(await link_of(stack, admin, await stack.open_bot_chat(admin)))
        await page.get_by_role("button", name="Yes, go on").click()
        await watched.part("The bridge")
        bridge = page.locator("#bridge")
        await expect(bridge.get_by_text("Well")).to_have_count(3)
        await expect(bridge.get_by_text("Nothing is parked.")).to_be_visible()
        await bridge.get_by_label("Part of a user id").fill(f"bob-{number}")
        await bridge.get_by_role("button", name="Search").click()
        row = bridge.get_by_role("row").filter(has_text=romeo)
        await expect(row).to_contain_text("Connected")
        await expect(row).to_contain_text(bob.user_id)
        await watched.look("bridge")
