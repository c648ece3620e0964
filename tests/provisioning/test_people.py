"""Contacts, searching, and chats."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from dm_bridge.errors import NetworkError
from dm_bridge.ids import ContactId
from dm_bridge.network.api import Capabilities, Contact

from .world import ROMEO, Api

GHOST = "@_dm_fake_romeo=40example.net:example.org"
PERSON = {
    "id": ROMEO,
    "name": "My Romeo",
    "identifiers": [f"fake:{ROMEO}"],
    "mxid": GHOST,
}


async def test_contacts_are_listed_with_their_chats(api: Api) -> None:
    await api.log_in()
    assert (await api.get("contacts")).json == {"contacts": [PERSON]}
    room = (await api.post(f"create_dm/{ROMEO}")).json["dm_room_mxid"]
    nurse = Contact(ContactId("nurse@example.net"))
    api.network.people.contacts.append(nurse)
    [romeo, other] = (await api.get("contacts")).json["contacts"]
    assert romeo == {**PERSON, "dm_room_mxid": room}
    assert (other["name"], "dm_room_mxid" in other) == ("nurse@example.net", False)


async def test_people_are_found_in_the_contact_list_and_in_the_directory(api: Api) -> None:
    await api.log_in()
    found = (await api.post("search_users", json={"query": "romeo"})).json["results"]
    assert [each["id"] for each in found] == [ROMEO, "paris@example.net"]
    assert (await api.post("search_users", json={"query": " "})).json == {"results": []}
    api.network.people.trouble = NetworkError("The directory is away.")
    found = (await api.post("search_users", json={"query": "romeo"})).json["results"]
    assert [each["id"] for each in found] == [ROMEO]
    got = await api.post("search_users", json={"query": "tybalt"})
    assert (got.status, got.json["error"]) == (502, "The directory is away.")


async def test_what_a_network_cannot_do_is_said(api: Api) -> None:
    await api.log_in()
    can = (await api.get("capabilities")).json
    assert can["resolve_identifier"] == {
        "create_dm": True,
        "lookup_phone": False,
        "lookup_email": False,
        "lookup_username": True,
        "any_phone": False,
        "contact_list": True,
        "search": True,
    }
    assert can["group_creation"] == {}
    api.network.people.can = Capabilities()
    can = (await api.get("capabilities")).json["resolve_identifier"]
    assert (can["contact_list"], can["search"]) == (False, False)
    for got in (await api.get("contacts"), await api.post("search_users", json={"query": "x"})):
        assert (got.status, got.errcode) == (404, "M_UNRECOGNIZED")


@pytest.mark.parametrize("identifier", ["Romeo@Example.net", GHOST])
async def test_an_identifier_is_resolved(api: Api, identifier: str) -> None:
    await api.log_in()
    got = await api.get(f"resolve_identifier/{quote(identifier, safe='')}")
    assert (got.status, got.json) == (200, PERSON)
    assert not api.bridge.tables.portals


@pytest.mark.parametrize("identifier", ["nobody", "@nurse:example.org", "@_dm_fake_=x:example.org"])
async def test_what_is_no_identifier_is_said(api: Api, identifier: str) -> None:
    await api.log_in()
    for got in (
        await api.get(f"resolve_identifier/{quote(identifier)}"),
        await api.post(f"create_dm/{quote(identifier)}"),
    ):
        assert (got.status, got.errcode) == (400, "M_INVALID_PARAM")


async def test_an_identifier_may_have_braces(api: Api) -> None:
    """As nicks on IRC often do."""
    await api.log_in()
    who = quote("{paris}@example.net", safe="")
    assert (await api.get(f"resolve_identifier/{who}")).json["id"] == "{paris}@example.net"
    assert (await api.post(f"create_dm/{who}")).status == 201


async def test_a_chat_is_opened_once_and_is_direct(api: Api) -> None:
    await api.log_in()
    first = await api.post(f"create_dm/{ROMEO}")
    room = first.json["dm_room_mxid"]
    assert (first.status, first.json) == (201, {**PERSON, "dm_room_mxid": room})
    again = await api.post(f"create_dm/{quote(GHOST)}")
    assert (again.status, again.json["dm_room_mxid"]) == (200, room)
    assert (await api.get(f"resolve_identifier/{ROMEO}")).json["dm_room_mxid"] == room
    assert await api.bridge.user("juliet").chat_with(ROMEO) == room


async def test_no_chat_is_opened_with_whom_the_user_has_blocked(api: Api) -> None:
    await api.log_in()
    api.network.people.blocked.append(ROMEO)
    got = await api.post(f"create_dm/{ROMEO}")
    assert (got.status, got.errcode) == (403, "M_FORBIDDEN")
    assert not api.bridge.tables.portals


async def test_another_users_login_cannot_be_used(api: Api) -> None:
    login = await api.log_in()
    await api.log_in("nurse@example.com", token="nurse's")
    for method, path, body in (
        ("GET", "contacts", None),
        ("GET", "capabilities", None),
        ("POST", "search_users", {"query": "romeo"}),
        ("GET", f"resolve_identifier/{ROMEO}", None),
        ("POST", f"create_dm/{ROMEO}", None),
    ):
        got = await api.ask(method, path, json=body, token="nurse's", login_id=login)
        assert (got.status, got.errcode) == (404, "M_NOT_FOUND")
        assert (await api.ask(method, path, json=body, login_id=login)).status in (200, 201)


async def test_without_a_login_nothing_can_be_asked_about_people(api: Api) -> None:
    for got in (await api.get("contacts"), await api.post(f"create_dm/{ROMEO}")):
        assert (got.status, got.errcode) == (400, "FI.MAU.NOT_LOGGED_IN")
