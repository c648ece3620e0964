"""Looking for people in the directory of the user's server (XEP-0055), where it has one.

The rule that must never break: only the account's own server says where its directory is, and what is found is
bounded, whatever it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element, SubElement

from slixmpp import InvalidJID

from dm_bridge.connectors.xmpp.addresses import normal_jid
from dm_bridge.connectors.xmpp.characters import xml_text
from dm_bridge.connectors.xmpp.client import Client
from dm_bridge.connectors.xmpp.failures import RejectedError
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ContactId
from dm_bridge.network.api import Contact
from dm_bridge.texts import phrase

_ITEMS = "{http://jabber.org/protocol/disco#items}"
_INFO = "{http://jabber.org/protocol/disco#info}"
_SEARCH = "{jabber:iq:search}"
_FORM = "{jabber:x:data}"
MAX_SERVICES = 20
MAX_FOUND = 50
MAX_TEXT = 200
_NAME_CHARACTERS = 1000
FIELDS = ("fn", "nick", "user", "first", "last", "name", "username", "nickname")
"""The fields of a directory that a name may be in; others are for dates and places."""
_ASKED = 5
_NAMES = ("fn", "name", "nick", "nickname")


class Directory:
    """The one of a session's server. ``timeout``: for each answer, in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._service: str | None = None

    async def search(self, client: Client, text: str) -> list[Contact]:
        """Who is found by a name or a part of it. Raises `NetworkError`, also where there is no directory."""
        service = self._service or await self._find(client)
        self._service = service
        form = await client.request("get", Element(f"{_SEARCH}query"), self._timeout, to=service)
        wanted = xml_text(text[:MAX_TEXT])
        answers = await asyncio.gather(
            *(
                client.request("set", query, self._timeout, to=service)
                for query in searches_for(form, wanted)
            ),
            return_exceptions=True,
        )
        found: dict[ContactId, Contact] = {}
        for answer in answers:
            if isinstance(answer, Element):
                found |= {each.id: each for each in found_in(answer)}
            elif not isinstance(answer, RejectedError):
                raise answer
        return list(found.values())[:MAX_FOUND]

    async def _find(self, client: Client) -> str:
        try:
            answer = await client.request(
                "get", Element(f"{_ITEMS}query"), self._timeout, to=client.domain
            )
        except RejectedError:
            answer = Element("iq")
        services = [client.domain, *services_in(answer)][:MAX_SERVICES]
        found = await asyncio.gather(*(self._is_directory(client, each) for each in services))
        for service, directory in zip(services, found, strict=True):
            if directory:
                return service
        raise NetworkError(phrase("xmpp-no-directory", domain=client.domain))

    async def _is_directory(self, client: Client, service: str) -> bool:
        try:
            answer = await client.request(
                "get", Element(f"{_INFO}query"), self._timeout, to=service
            )
        except NetworkError:
            return False
        return is_directory(answer)


def services_in(answer: Element) -> Iterator[str]:
    """The services of a server that have an address of their own (XEP-0030, section 4)."""
    for item in answer.findall(f"{_ITEMS}query/{_ITEMS}item"):
        try:
            jid = normal_jid(item.get("jid", ""))
        except (InvalidJID, UnicodeError):
            continue
        if jid.domain and not jid.node and item.get("node") is None:
            yield jid.full


def is_directory(answer: Element) -> bool:
    """Whether a service is a directory of people that can be searched."""
    info = answer.find(f"{_INFO}query")
    if info is None:
        return False
    features = {each.get("var") for each in info.findall(f"{_INFO}feature")}
    kinds = {each.get("category") for each in info.findall(f"{_INFO}identity")}
    return "jabber:iq:search" in features and "directory" in kinds


def fields_of(form: Element) -> Sequence[str]:
    """The fields of a search form in which a name can be looked for, the best first."""
    query = form.find(f"{_SEARCH}query")
    if query is None:
        return []
    fields = {each.get("var") for each in query.findall(f"{_FORM}x/{_FORM}field")}
    fields |= {each.tag.removeprefix(_SEARCH) for each in query if each.tag.startswith(_SEARCH)}
    return [each for each in FIELDS if each in fields][:_ASKED]


def searches_for(form: Element, text: str) -> Iterator[Element]:
    """Searches for a name, or its beginning, in the way in which the form asks to be filled in.

    Directories want all fields of a search to fit, so each is a search of its own. Some take a star for anything
    that follows, and some, as ejabberd's on Mnesia, for a star.
    """
    asked = form.find(f"{_SEARCH}query/{_FORM}x")
    for field in fields_of(form):
        if asked is None:
            query = Element(f"{_SEARCH}query")
            SubElement(query, f"{_SEARCH}{field}").text = text
            yield query
            continue
        for value in (text, f"{text}*"):
            query = Element(f"{_SEARCH}query")
            submitted = SubElement(query, f"{_FORM}x", {"type": "submit"})
            kind = SubElement(submitted, f"{_FORM}field", {"var": "FORM_TYPE", "type": "hidden"})
            SubElement(kind, f"{_FORM}value").text = "jabber:iq:search"
            entry = SubElement(submitted, f"{_FORM}field", {"var": field})
            SubElement(entry, f"{_FORM}value").text = value
            yield query


def found_in(answer: Element) -> Iterator[Contact]:
    """Who was found: in a form (XEP-0055, section 2.1), or in the older way."""
    query = answer.find(f"{_SEARCH}query")
    if query is None:
        return
    for item in query.findall(f"{_FORM}x/{_FORM}item")[:MAX_FOUND]:
        values = {
            field.get("var", ""): "".join(value.itertext())
            for field in item.findall(f"{_FORM}field")
            if (value := field.find(f"{_FORM}value")) is not None
        }
        yield from _contact(values.get("jid", ""), values)
    for item in query.findall(f"{_SEARCH}item")[:MAX_FOUND]:
        values = {each.tag.removeprefix(_SEARCH): "".join(each.itertext()) for each in item}
        yield from _contact(item.get("jid", ""), values)


def _contact(address: str, values: dict[str, str]) -> Iterator[Contact]:
    try:
        jid = normal_jid(address)
    except (InvalidJID, UnicodeError):
        return
    if not jid.node:
        return
    whole = " ".join(values.get(each, "") for each in ("first", "last"))
    names = [*(values.get(each, "") for each in _NAMES), whole]
    flat = (" ".join(each[:_NAME_CHARACTERS].split()) for each in names)
    yield Contact(ContactId(jid.bare), name=next(filter(None, flat), None))
