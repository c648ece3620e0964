"""Looking for people in a directory: a service that another library runs, next to a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from slixmpp import ComponentXMPP

from dm_bridge.connectors.xmpp import directory
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ContactId
from dm_bridge.network.api import Contact
from dm_bridge.testing.processes import LOOPBACK, free_port
from dm_bridge.testing.prosody import Prosody

from .support import Running, network_for

PEOPLE = (("juliet@localhost", "Juliet C.", "Jules"), ("nurse@localhost", "Angelica", ""))


@asynccontextmanager
async def service(port: int, name: str) -> AsyncIterator[None]:
    """A directory of `PEOPLE` that looks for names by how they begin, if there is a star."""
    component: Any = ComponentXMPP(name, "secret", LOOPBACK, port)  # type: ignore[no-untyped-call]
    for plugin in ("xep_0004", "xep_0030", "xep_0055"):
        component.register_plugin(plugin)
    component.plugin["xep_0055"].form_fields = {"fn", "nick", "bday"}
    component.plugin["xep_0030"].add_identity(category="directory", itype="user", name="People")

    async def found(_jid: object, _node: object, _by: object, iq: Any) -> Any:
        wanted = iq["search"]["form"].get_values()
        reply = iq.reply()
        form = reply["search"]["form"]
        form["type"] = "result"
        for field in ("jid", "fn", "nick"):
            form.add_reported(field)
        for jid, fn, nick in PEOPLE:
            has = {"fn": fn, "nick": nick}
            if all(
                has[field].startswith(value[:-1]) if value.endswith("*") else has[field] == value
                for field, value in wanted.items()
                if field in has
            ):
                form.add_item({"jid": jid, "fn": fn, "nick": nick})
        return reply

    component.plugin["xep_0055"].api.register(found, "search_query")
    ready = asyncio.Event()
    component.add_event_handler("session_start", lambda _: ready.set())
    component.connect()
    async with asyncio.timeout(60):
        await ready.wait()
    try:
        yield
    finally:
        await component.disconnect()


async def test_people_are_found_by_a_name_or_its_beginning(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    port = free_port()
    server = await Prosody.start(
        tmp_path_factory.mktemp("directory"),
        config_extra=f"component_ports = {{ {port} }}",
        host_config_extra='Component "people.localhost"\n  component_secret = "secret"',
    )
    try:
        me = await server.add_user("me", "pass")
        async with (
            Running(network_for(server), me, "pass") as (session, _),
            service(port, "people.localhost"),
        ):
            juliet = Contact(ContactId("juliet@localhost"), name="Juliet C.")
            for text in ("Juliet C.", "Juli", "Jul"):
                assert await session.search(text) == [juliet]
            assert await session.search("Romeo") == []
            assert len(await session.search("")) == 2
    finally:
        await server.stop()


async def test_a_server_without_a_directory_is_said_to_have_none(prosody: Prosody) -> None:
    me = await prosody.add_user("directory.me", "pass")
    async with Running(network_for(prosody), me, "pass") as (session, _):
        with pytest.raises(NetworkError, match="no directory of people"):
            await session.search("juliet")


def test_a_form_of_the_old_kind_is_filled_in_as_it_asks() -> None:
    form = fromstring(  # noqa: S314 - our own
        "<iq><query xmlns='jabber:iq:search'><instructions>!</instructions><first/><nick/><email/></query></iq>"
    )
    searches = [
        [(each.tag, each.text) for each in one] for one in directory.searches_for(form, "x")
    ]
    assert searches == [[("{jabber:iq:search}nick", "x")], [("{jabber:iq:search}first", "x")]]
    answer = fromstring(  # noqa: S314 - our own
        "<iq><query xmlns='jabber:iq:search'><item jid='a@b.example'><first>A</first><last>B</last></item>"
        "<item jid='@'/><item/><item jid='server.example'/></query></iq>"
    )
    assert list(directory.found_in(answer)) == [Contact(ContactId("a@b.example"), name="A B")]


def test_what_a_directory_says_is_bounded() -> None:
    items = "".join(
        f"<item jid='{n}@b.example'><nick>{'x' * 5000}</nick></item>" for n in range(500)
    )
    answer = fromstring(f"<iq><query xmlns='jabber:iq:search'>{items}</query></iq>")  # noqa: S314
    found = list(directory.found_in(answer))
    assert len(found) == directory.MAX_FOUND
    assert all(len(each.name or "") <= 1000 for each in found)
