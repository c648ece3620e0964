"""The page in another language: all that it shows comes from messages, or from what the bridge answers."""

from __future__ import annotations

import asyncio
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fluent.syntax import FluentSerializer, visitor
from fluent.syntax.ast import TextElement
from playwright.async_api import Page as Tab
from playwright.async_api import expect

from dm_bridge.ids import UserId
from dm_bridge.provisioning.calls import Call
from dm_bridge.texts import ENGLISH, FOLDER, read, speak

from .conftest import BOT, Place

JULIET = UserId("@юля:1.2")
WIDE = {ord(each): chr(ord(each) + 0xFEE0) for each in string.ascii_letters}
"""Each letter as wide as an ideograph: so all that has narrow ones stands in no message, and in no answer here."""
SHOWN = """
() => {
  const found = [document.title];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const place = node.parentElement;
    if (place.checkVisibility() && !place.closest("code, h1")) found.push(node.data);
  }
  for (const each of document.querySelectorAll("*")) {
    if (!each.checkVisibility()) continue;
    for (const name of ["aria-label", "title", "alt", "placeholder", "data-label"])
      if (each.hasAttribute(name)) found.push(each.getAttribute(name));
  }
  return found.map((each) => each.trim()).filter((each) => each);
}
"""


class Widened(visitor.Visitor):
    def visit_TextElement(self, node: TextElement) -> None:
        node.value = node.value.translate(WIDE)


def wide(text: str) -> str:
    return text.translate(WIDE)


@pytest.fixture(autouse=True)
def _language(tmp_path: Path) -> Iterator[None]:
    """The page's messages, in a language whose words for times and units have no Latin letters."""
    messages = read(FOLDER / ENGLISH / "page.ftl")
    Widened().visit(messages)
    (tmp_path / "ru").mkdir()
    (tmp_path / "ru" / "page.ftl").write_text(FluentSerializer().serialize(messages))
    speak("ru", tmp_path)
    yield
    speak(ENGLISH)


def login(number: int, state: str) -> dict[str, Any]:
    how = {"state_event": state, "timestamp": 1, "message": "…"}
    return {"id": f"{number}", "name": f"л{number}", "state": how, "org.dm_bridge.network": "xmpp"}


def chat(number: int, state: str) -> dict[str, Any]:
    name = {"contact_name": f"Ч{number}"} if number % 2 else {}
    return {
        "room_id": f"!{number}",
        "contact": f"ч{number}@1.2",
        "mxid": f"@{number}",
        "state": state,
        **name,
    }


def problem(number: int, state: str, direction: str) -> dict[str, Any]:
    return {
        "id": f"{number}",
        "direction": direction,
        "state": state,
        "contact": "ч1@1.2",
        "login_id": "1",
        "ts": 1,
        "reason": "…",
        "behind": number,
        "can_retry": True,
        "advice": "…",
    }


LOGINS = [
    "CONNECTED",
    "CONNECTED",
    "CONNECTING",
    "TRANSIENT_DISCONNECT",
    "BAD_CREDENTIALS",
    "LOGGED_OUT",
]
CHATS = ["marked", "pending", "opted_out", "conflict", "retired"]
PROBLEMS = ["not_delivered", "perhaps_delivered", "not_shown", "waiting"]
FULL: dict[str, Any] = {
    "digest": "1",
    "logins": [login(n, each) for n, each in enumerate([*LOGINS, "UNKNOWN_ERROR", "?"])],
    "direct": {
        "observed": "…",
        "last_seen_ts": 1,
        "problem": "…",
        "chats": [chat(n, each) for n, each in enumerate(CHATS * 3)],
    },
    "deliveries": {
        "problems": [
            problem(n, each, ["to_network", "to_matrix"][n % 2]) for n, each in enumerate(PROBLEMS)
        ]
    },
}
NOTHING: dict[str, Any] = {
    "digest": "2",
    "logins": [],
    "direct": {"observed": "…", "chats": []},
    "deliveries": {"problems": []},
}
HISTORY = {
    "changes": [
        {
            "ts": 1,
            "sentence": "…",
            "details": ["…"],
            "before": {"@1": ["!0"], "@2": []},
            "after": {"@2": ["!9"]},
            "by_bridge": by_bridge,
        }
        for by_bridge in (True, False)
    ]
}
PART = {"ok": True}
OVERVIEW = {
    "version": "1.0",
    "homeserver": PART,
    "intake": PART,
    "database": {"ok": False, "problem": "…"},
    "queues": [
        {"direction": direction, "state": state, "rows": rows, "oldest_seconds": 5000 * rows}
        for rows, direction in enumerate(("to_matrix", "to_network"))
        for state in ("waiting", "parked")
    ],
    "processes": [
        {
            "id": "1",
            "version": "1.0",
            "started_ts": 1,
            "users": 1,
            "logins": 2,
            "this_one": True,
        }
    ],
    "logins_here": [{"network": "х", "state": "CONNECTED", "logins": 1}],
    "observed_here": [
        {"mode": mode, "sentence": "…", "accounts": 1}
        for mode in ("pushed", "watched", "activity", "swept", "none")
    ],
    "pausing": 0,
}
ADMIN_LOGINS = {
    "logins": [
        {"id": "1", "user_id": JULIET, "network": "х", "name": "л", "stored_state": state}
        for state in ("active", "bad_credentials", "logged_out")
    ],
    "next": "1",
}
ACCOUNTS = {
    "accounts": [
        {"user_id": JULIET, "here": True, "mode": "swept", "last_seen_ts": 1},
        {"user_id": JULIET, "here": False},
    ]
}
PARKED = {"rows": [{"id": "1", "direction": "to_matrix", "reason": "…", "ts": 1}]}
FORM = {
    "login_id": "1",
    "type": "user_input",
    "step_id": "s",
    "txn_id": "t",
    "user_input": {"fields": [{"type": "username", "id": "jid", "name": "…"}]},
}
WAIT = {
    "login_id": "1",
    "type": "display_and_wait",
    "step_id": "s",
    "txn_id": "t",
    "display_and_wait": {"type": "qr", "org.dm_bridge.image": "data:image/svg+xml,"},
}


async def check(tab: Tab, *said: str) -> None:
    """Nothing is shown that is in no message; what has been ``said`` is."""
    for each in said:
        await expect(tab.get_by_text(wide(each)).first).to_be_visible()
    shown = await tab.evaluate(SHOWN)
    assert len(shown) > 5
    assert {each for each in shown if set(each) & set(string.ascii_letters)} <= {BOT}


async def test_all_that_is_shown_comes_from_messages(place: Place) -> None:
    changed = asyncio.Event()

    async def watch(call: Call) -> Any:
        if call.query["seen"] == "1":
            await changed.wait()
        elif call.query["seen"] == "2":
            await asyncio.Event().wait()
        return NOTHING if changed.is_set() else FULL

    async def begun(call: Call) -> Any:
        return FORM if call.path["flowID"] == "xmpp" else WAIT

    async def forever(call: Call) -> Any:
        await asyncio.Event().wait()

    def answering(answer: Any) -> Any:
        async def answered(call: Call) -> Any:
            return answer

        return answered

    place.networks[:] = [("xmpp", "Х"), ("irc", "И")]
    place.says |= {
        "watch": watch,
        "startLogin": begun,
        "waitForLoginStep": forever,
        "getContacts": answering({"contacts": [{"id": "ч1@1.2", "name": "Ч1"}]}),
        "searchUsers": answering({"results": []}),
        "createDM": answering({"id": "ч1@1.2", "dm_room_mxid": "!1"}),
        "repairDirect": answering({"outcome": "repaired", "repaired": 2, "message": "…"}),
        "getDirectHistory": answering(HISTORY),
        "getAdminOverview": answering(OVERVIEW),
        "getAdminLogins": answering(ADMIN_LOGINS),
        "getAdminAccounts": answering(ACCOUNTS),
        "getAdminParked": answering(PARKED),
    }
    await place.start()
    tab = await place.context.new_page()
    await tab.goto(place.url)
    await check(tab, "This page opens with a link")
    await tab.goto(await place.sessions.link(JULIET))
    await check(tab, "Is this you?")
    await tab.get_by_role("button", name=wide("Yes, go on")).click()
    await check(tab, "Log in to another", "Refused: log in again")
    assert await tab.locator("html").get_attribute("lang") == "ru"
    assert await tab.locator("nav").get_attribute("aria-label") == wide("Parts of this page")

    await tab.get_by_role("button", name=wide("Log out of") + " л0").click()
    await check(tab, "The bridge forgets the password.")
    await tab.keyboard.press("Escape")
    await tab.get_by_role("button", name=wide("Log in to another")).click()
    await tab.get_by_role("button", name=wide("Continue")).click()
    await check(tab, "Please fill in every field.")
    await tab.keyboard.press("Escape")
    await tab.get_by_role("button", name=wide("Log in to") + " И").click()
    await check(tab, "Waiting for you …")
    await tab.keyboard.press("Escape")

    nav = tab.get_by_role("navigation")
    await nav.get_by_role("link", name=wide("Chats")).click()
    await tab.get_by_role("button", name=wide("Check and repair")).click()
    await check(tab, "2 things were put right.")
    who = tab.get_by_role("combobox", name=wide("Start a chat with"))
    await who.fill("??")
    await check(tab, "Nobody with this name was found.")
    await who.fill("ч1")
    await tab.get_by_role("listbox").get_by_role("option").first.wait_for()
    await check(tab, "2 people have this name.")
    await tab.get_by_role("listbox").get_by_role("option").first.click()
    await check(tab, "The chat is there:")
    await nav.get_by_role("link", name=wide("Delivery")).click()
    await check(tab, "Perhaps not delivered")
    await nav.get_by_role("link", name=wide("History")).click()
    await expect(tab.locator("summary")).to_have_count(len(HISTORY["changes"]))
    for summary in await tab.locator("summary").all():
        await summary.click()
    await check(tab, "The bridge wrote the list.", "not there")
    await nav.get_by_role("link", name=wide("The bridge")).click()
    await check(tab, "Show more", "How this process observes accounts", "puts a message back")

    changed.set()
    await check(tab)
    for part, said in (
        ("Delivery", "Everything of the last seven days has arrived."),
        ("Chats", "No chats yet."),
        ("Logins", "You are not logged in to any network yet."),
    ):
        await nav.get_by_role("link", name=wide(part)).click()
        await check(tab, said)
    await tab.get_by_role("button", name=wide("Sign out")).click()
    await check(tab, "You are signed out.")
