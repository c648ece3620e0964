"""The page in a real browser, over a bridge that is made up: in a hurry, in two tabs, signed out."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from playwright.async_api import expect

from dm_bridge.provisioning.calls import Call

from .conftest import JULIET, NURSE, STEP, Place, snapshot


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


async def test_a_login_is_begun_once_and_given_up_with_its_dialog(place: Place) -> None:
    """Three that are under way are the most that a user may have: none is left behind."""
    refused, answer = asyncio.Event(), asyncio.Event()

    async def step(call: Call) -> Any:
        await answer.wait()
        return {**STEP, "type": "complete"}

    async def start(call: Call) -> Any:
        if refused.is_set():
            return STEP
        raise web.HTTPServiceUnavailable

    place.says |= {"submitLoginStep": step, "startLogin": start}
    tab = await place.tab()
    dialog = tab.get_by_role("dialog")
    begin = tab.get_by_role("button", name="Log in to another XMPP account")

    # what went wrong is tried again once, whoever clicks twice
    await begin.dblclick()
    again = dialog.get_by_role("button", name="Try again")
    await expect(again).to_be_visible()
    refused.set()
    before = place.asked("startLogin")
    await again.dblclick()
    await expect(dialog.get_by_label("XMPP address")).to_be_focused()
    assert place.asked("startLogin") == before + 1

    # Escape gives it up, and the focus goes back
    await tab.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(begin).to_be_focused()
    await place.until_asked("cancelLogin", 1)

    # so does closing the tab
    await begin.click()
    await expect(dialog.get_by_label("XMPP address")).to_be_visible()
    await tab.close()
    await place.until_asked("cancelLogin", 2)

    # an answer is given once
    tab = await place.tab()
    dialog = tab.get_by_role("dialog")
    await tab.get_by_role("button", name="Log in to another XMPP account").click()
    await dialog.get_by_label("XMPP address").fill("romeo@example.net")
    await dialog.get_by_role("button", name="Continue").dblclick()
    await dialog.get_by_label("XMPP address").press("Enter")
    answer.set()
    await expect(tab.get_by_text("You are logged in to XMPP.")).to_be_visible()
    assert (place.asked("submitLoginStep"), place.asked("cancelLogin")) == (1, 2)


async def test_the_bridge_is_restarted_under_an_open_page(place: Place) -> None:
    tab = await place.tab()
    banner = tab.get_by_text("The bridge cannot be reached.")
    await place.stop()
    await expect(banner).to_be_visible()

    async def watch(call: Call) -> Any:
        shown = snapshot(call.user)
        if call.query["seen"] == "new":
            await asyncio.Event().wait()
        return {**shown, "digest": "new", "logins": []}

    place.says["watch"] = watch
    await place.start()
    await expect(tab.get_by_text("You are not logged in to any network yet.")).to_be_visible()
    await expect(banner).to_be_hidden()
    await expect(tab.get_by_role("button", name="Sign out")).to_be_visible()


async def test_chats_in_conflict_and_who_clicks_twice(place: Place) -> None:
    states = dict.fromkeys(("Benvolio", "Paris", "Romeo"), "conflict")
    changed = asyncio.Event()

    def seen() -> str:
        return " ".join(states.values())

    async def watch(call: Call) -> Any:
        if call.query["seen"] == seen():
            changed.clear()
            await changed.wait()
        chats = [
            {"room_id": f"!{name}", "contact": f"{n}@1", "contact_name": name, "state": state}
            for n, (name, state) in enumerate(states.items())
        ]
        direct = {"observed": "Watched.", "chats": chats}
        return {**snapshot(call.user), "digest": seen(), "direct": direct}

    async def decided(call: Call) -> Any:
        decision = "marked" if call.operation == "markDirect" else "opted_out"
        states[call.path["roomID"][1:]] = decision
        changed.set()
        return {}

    place.says |= {"watch": watch, "markDirect": decided, "unmarkDirect": decided}
    tab = await place.tab()
    await tab.get_by_role("link", name="Chats 3 in conflict").click()
    await expect(tab.get_by_text("3 chats are in conflict")).to_be_visible()
    first = tab.locator("#chats li").first

    # what comes in the place of something is not pressed by the same double click
    box = await first.get_by_role("button", name="Leave out: Benvolio (0@1)").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await tab.mouse.click(x, y)
    await expect(first.get_by_role("heading", name="Paris")).to_be_visible()
    there = "([x, y]) => document.elementFromPoint(x, y).ariaLabel"
    assert await tab.evaluate(there, [x, y]) == "Leave out: Paris (1@1)"
    await tab.mouse.down(click_count=2)
    await tab.mouse.up(click_count=2)
    await first.get_by_role("button", name="Try again: Paris").click()
    await expect(tab.get_by_text("One chat is in conflict")).to_be_visible()
    assert [*states.values()] == ["opted_out", "marked", "conflict"]
    assert place.asked("unmarkDirect") == 1
