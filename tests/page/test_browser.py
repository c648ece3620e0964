"""The page in a real browser, over a bridge that is made up: in a hurry, in two tabs, signed out."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from .conftest import JULIET, NURSE, Place

pytestmark = pytest.mark.timeout(120)


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
