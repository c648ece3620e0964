"""Starting a chat on the page: who is offered, by which login, and once."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import expect

from dm_bridge.provisioning.calls import Answer, Call
from dm_bridge.provisioning.refusals import not_supported

from .conftest import Place, snapshot

TYPED = """
(field, texts) => {
  for (const text of texts) {
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
"""
"""One after the other, and faster than anybody types."""


def person(address: str, name: str) -> dict[str, str]:
    return {"id": address, "name": name}


async def test_who_is_typed_is_offered_and_the_chat_begins_once(place: Place) -> None:
    made: list[Call] = []
    go = asyncio.Event()

    async def watch(call: Call) -> Any:
        if call.query["seen"]:
            await asyncio.Event().wait()
        shown = snapshot(call.user)
        second = {**shown["logins"][0], "id": "2", "name": "second login"}
        return {**shown, "logins": [*shown["logins"], second]}

    async def contacts(call: Call) -> Any:
        if call.query["login_id"] == "2":
            return {"contacts": [person("romeo@two", "Romeo <i>the second</i>")]}
        return {"contacts": [person("romeo@one", "Romeo"), person("paris@one", "Paris")]}

    async def search(call: Call) -> Any:
        if call.query["login_id"] == "2":
            return Answer.refusing(not_supported("No directory."))
        if b"nobody" in call.body:
            return {"results": []}
        return {"results": [person("romeo@one", "Romeo"), person("rome@far", "Roman")]}

    async def create(call: Call) -> Any:
        made.append(call)
        await go.wait()
        return {"id": call.path["identifier"], "name": "Romeo", "dm_room_mxid": "!new"}

    place.says |= {
        "watch": watch,
        "getContacts": contacts,
        "searchUsers": search,
        "createDM": create,
    }
    tab = await place.tab()
    await tab.get_by_role("link", name="Chats").click()
    who = tab.get_by_role("combobox", name="Start a chat with")
    offers = tab.get_by_role("listbox").get_by_role("option")

    # nobody is asked about one letter, and not for each of them
    await who.evaluate(TYPED, ["r", "ro", "rom"])
    await expect(offers).to_have_text(
        [
            "Romeo romeo@one by login of @juliet:example.org",
            "Romeo <i>the second</i> romeo@two by second login",
            "Roman rome@far by login of @juliet:example.org",
        ]
    )
    await place.until_asked("searchUsers", 2)

    # by the keyboard, as a screen reader hears it; what is chosen is asked for once, with its login
    await who.press("ArrowDown")
    await who.press("ArrowDown")
    chosen = tab.get_by_role("listbox").get_by_role("option", selected=True)
    await expect(chosen).to_contain_text("by second login")
    assert await who.get_attribute("aria-activedescendant") == await chosen.get_attribute("id")
    await who.press("Enter")
    await who.press("Enter")
    await tab.get_by_role("button", name="Start").dblclick(force=True)
    await expect(offers).to_have_count(0)
    go.set()
    link = tab.get_by_role("link", name="Romeo")
    await expect(link).to_have_attribute("href", "https://matrix.to/#/!new")
    assert [(each.path["identifier"], each.query["login_id"]) for each in made] == [
        ("romeo@two", "2")
    ]

    # Escape closes the list, and an address needs none
    await who.fill("nobody@far")
    await expect(tab.get_by_text("Nobody with this name was found")).to_be_visible()
    await who.fill("roman")
    await expect(offers.first).to_be_visible()
    await who.press("Escape")
    await expect(offers).to_have_count(0)
    await tab.get_by_label("By which login").select_option("second login")
    await who.press("Enter")
    await expect(link).to_be_visible()
    assert (made[1].path["identifier"], made[1].query["login_id"]) == ("roman", "2")
    searches = [call.query["login_id"] for call in place.calls if call.operation == "searchUsers"]
    assert searches == ["1", "2", "1", "1"]  # what cannot search is not asked again
