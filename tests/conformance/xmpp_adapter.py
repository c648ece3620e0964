"""XMPP for the conformance kit: a real Prosody or ejabberd, and people with a client of their own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring
from xml.sax.saxutils import escape, quoteattr

from dm_bridge.connectors.xmpp import connector
from dm_bridge.network.api import Connector
from dm_bridge.network.signals import Availability
from dm_bridge.testing.conformance import Account, Adapter, Deed, Heard, NotOffered, Person, Shared
from dm_bridge.testing.ejabberd import Ejabberd
from dm_bridge.testing.prosody import MODULES, Prosody
from dm_bridge.testing.xmpp_client import Received, XmppUser

PASSWORD = "sesame 123"
STATES = "{http://jabber.org/protocol/chatstates}"
DISPLAYED = "{urn:xmpp:chat-markers:0}displayed"
RECEIVED = "{urn:xmpp:receipts}received"
SHARING = "{urn:xmpp:sfs:0}file-sharing"
METADATA = "{urn:xmpp:file:metadata:0}"
URL = "{urn:xmpp:sfs:0}sources/{http://jabber.org/protocol/url-data}url-data"
LARGEST_FILE = 1_000_000
TAGS = {
    "reply": "{urn:xmpp:reply:0}reply",
    "edit": "{urn:xmpp:message-correct:0}replace",
    "retraction": "{urn:xmpp:message-retract:1}retract",
    "reactions": "{urn:xmpp:reactions:0}reactions",
}


class XmppPerson:
    """A `Person`: one client, that sees only what is sent to it, no copies. ``said``: ids, by text."""

    def __init__(self, user: XmppUser) -> None:
        self.user = user
        self.address = user.bare_jid
        self.said: dict[str, str] = {}

    @property
    def heard(self) -> Sequence[Heard]:
        return [
            Heard(received.sender.partition("/")[0], received.body)
            for received in self.user.received
            if received.carbon is None
            and kind_of(stanza := fromstring(received.xml)) in ("", "reply")  # noqa: S314
            and stanza.find(SHARING) is None
        ]

    async def say(self, to: str, text: str) -> None:
        self.said[text] = self.user.send(to, text, receipt=True)

    async def leave(self) -> None:
        await self.user.disconnect()

    def id_of(self, text: str) -> str:
        """By which id a message is known, of whichever author; what nobody said is taken for one."""
        found = {received.body: received.id for received in self.user.received} | self.said
        return found.get(text, carried(text))

    def does(self, to: str, payload: str, body: str = "") -> None:
        """Send a message to do something to another one."""
        text = f"<body>{escape(body)}</body>" if body else ""
        self.user.send_xml(
            f"<message xmlns='jabber:client' type='chat' to={quoteattr(to)} id='{secrets.token_hex(8)}'>"
            f"{text}{payload}<store xmlns='urn:xmpp:hints'/></message>"
        )


def kind_of(stanza: Element) -> str:
    """What a stanza does to a message, as in `Deed.kind`."""
    return next((kind for kind, tag in TAGS.items() if stanza.find(tag) is not None), "")


def carried(text: str) -> str:
    """A text without what XML cannot carry."""
    return "".join(each for each in text if each >= " " and not "\ud800" <= each <= "\udfff")


class XmppAdapter(Adapter):
    """On Prosody. ``archive``: whether the server keeps one."""

    _server: Prosody | Ejabberd

    connector: Connector = connector
    strange = (
        "juliet%capulet%25",
        r"juliet\40capulet.example",
        r"a\20slash\2fand\3acolon",
        "Mixed.CASE_name",
        "=h00ff=5f_x",
        "plus+tag-_.!#$*,;?^`{|}~",
        "jülïet名前",
        "x" * 240,
    )
    hostile = (
        "before</body></message><message to='{bystander}' type='chat'><body>injected</body></message>after",
        "before</stream:stream>after",
    )
    nobody = "no.such.user@localhost"

    def __init__(self, *, archive: bool = True) -> None:
        self._fetched: dict[str, bytes] = {}
        self._modules = [name for name in MODULES if archive or name != "mam"]

    async def start(self, directory: Path) -> tuple[str, int]:
        self._data = directory / "data" / "localhost" / "accounts"
        self._server = await Prosody.start(
            directory, modules=self._modules, largest_file=LARGEST_FILE
        )
        return self._server.host, self._server.port

    async def stop(self) -> None:
        await self._server.stop()

    def config(self, host: str, port: int) -> Mapping[str, Any]:
        return {
            "servers": {"localhost": {"host": host, "port": port, "tls": "none"}},
            "retry_min": 0.05,
            "retry_max": 0.2,
            "connect_timeout": 5.0,
            "ping_interval": 0.5,
            "ping_timeout": 2.0,
            "send_timeout": 3.0,
            "send_wait": 0.5,
        }

    async def account(self, name: str) -> Account:
        address = await self.register(name)
        right, wrong = ({"jid": address, "password": word} for word in (PASSWORD, "wrong"))
        return Account(address, (right,), (wrong,))

    async def person(self, name: str) -> XmppPerson:
        return await self._client(await self.register(name.lower()))

    async def device(self, account: Account) -> XmppPerson:
        return await self._client(account.address)

    async def revoke(self, account: Account) -> None:
        await self._server.change_password(account.address.partition("@")[0], "another")

    async def reply(self, person: Person, to: str, about: str, text: str) -> None:
        assert isinstance(person, XmppPerson)
        quote = "".join(f"> {line}\n" for line in carried(about).split("\n"))
        person.does(
            to,
            f"<reply xmlns='urn:xmpp:reply:0' to={quoteattr(to)} id={quoteattr(person.id_of(about))}/>"
            f"<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='{len(quote)}'/>"
            "</fallback>",
            quote + text,
        )

    async def edit(self, person: Person, to: str, about: str, text: str) -> None:
        assert isinstance(person, XmppPerson)
        target = quoteattr(person.id_of(about))
        person.does(to, f"<replace xmlns='urn:xmpp:message-correct:0' id={target}/>", text)

    async def retract(self, person: Person, to: str, about: str) -> None:
        assert isinstance(person, XmppPerson)
        target = quoteattr(person.id_of(about))
        person.does(
            to,
            f"<retract xmlns='urn:xmpp:message-retract:1' id={target}/>"
            "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/>",
            "This person took a message back.",
        )

    async def react(self, person: Person, to: str, about: str, emojis: Sequence[str]) -> None:
        assert isinstance(person, XmppPerson)
        each = "".join(f"<reaction>{escape(emoji)}</reaction>" for emoji in emojis)
        target = quoteattr(person.id_of(about))
        person.does(to, f"<reactions xmlns='urn:xmpp:reactions:0' id={target}>{each}</reactions>")

    def deeds(self, person: Person) -> Sequence[Deed]:
        assert isinstance(person, XmppPerson)
        texts = {received.id: received.body for received in person.user.received}
        texts |= {id_: text for text, id_ in person.said.items()}
        return [
            _deed(received, texts)
            for received in person.user.received
            if received.carbon is None and kind_of(fromstring(received.xml))  # noqa: S314
        ]

    async def types(self, person: Person, to: str, typing: bool) -> None:
        assert isinstance(person, XmppPerson)
        state = "composing" if typing else "paused"
        person.does(to, f"<{state} xmlns='http://jabber.org/protocol/chatstates'/>")

    def typists(self, person: Person) -> Sequence[str]:
        assert isinstance(person, XmppPerson)
        types: dict[str, bool] = {}
        stanzas = [*person.user.notices, *person.user.received]
        for received in sorted(stanzas, key=lambda each: each.at):
            states = [each for each in fromstring(received.xml) if each.tag.startswith(STATES)]  # noqa: S314
            if states or received.body:
                typing = any(each.tag == f"{STATES}composing" for each in states)
                types[received.sender.partition("/")[0]] = typing
        return [who for who, typing in types.items() if typing]

    async def read(self, person: Person, to: str, about: str) -> None:
        assert isinstance(person, XmppPerson)
        target = quoteattr(person.id_of(about))
        person.does(to, f"<displayed xmlns='urn:xmpp:chat-markers:0' id={target}/>")

    def seen(self, person: Person) -> Sequence[Heard]:
        return _told(person, DISPLAYED)

    async def receive(self, person: Person, to: str, about: str) -> None:
        assert isinstance(person, XmppPerson)
        target = quoteattr(person.id_of(about))
        person.does(to, f"<received xmlns='urn:xmpp:receipts' id={target}/>")

    def received(self, person: Person) -> Sequence[Heard]:
        return _told(person, RECEIVED)

    async def befriend(self, account: Account, person: Person) -> None:
        assert isinstance(person, XmppPerson)
        owner = await self._client(account.address)
        for one, other in ((owner.user, person.user), (person.user, owner.user)):
            one.subscribe(other.bare_jid)
            await other.asked_by(one.bare_jid)
            other.approve(one.bare_jid)
            await one.subscribed_to(other.bare_jid)
        await owner.leave()

    async def appear(self, person: Person, availability: Availability, text: str) -> None:
        assert isinstance(person, XmppPerson)
        if availability is Availability.OFFLINE:
            raise NotOffered("who is there is not offline")
        show = "<show>away</show>" if availability is Availability.AWAY else ""
        status = f"<status>{escape(text)}</status>" if text else ""
        person.user.send_xml(f"<presence xmlns='jabber:client'>{show}{status}</presence>")

    def presence(self, person: Person, address: str) -> tuple[Availability, str]:
        assert isinstance(person, XmppPerson)
        for who, (show, status) in person.user.present.items():
            if who.partition("/")[0] == address:
                away = show in ("away", "xa", "dnd")
                return (Availability.AWAY if away else Availability.ONLINE), status
        return Availability.OFFLINE, ""

    async def share(self, person: Person, to: str, file: Shared) -> None:
        assert isinstance(person, XmppPerson)
        url = await person.user.upload("file", file.content, file.mimetype)
        name = escape(carried(file.name))
        body = f"{file.text}\n{url}" if file.text else url
        start = len(file.text)
        person.does(
            to,
            "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'>"
            f"<name>{name}</name><media-type>{file.mimetype}</media-type><size>{len(file.content)}</size></file>"
            f"<sources><url-data xmlns='http://jabber.org/protocol/url-data' target={quoteattr(url)}/></sources>"
            "</file-sharing><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:sfs:0'>"
            f"<body start='{start}' end='{len(body)}'/></fallback>",
            body,
        )

    async def shared(self, person: Person) -> Sequence[Shared]:
        assert isinstance(person, XmppPerson)
        files = []
        for received in person.user.received:
            stanza = fromstring(received.xml)  # noqa: S314 - from our own server
            sharing = stanza.find(SHARING)
            if received.carbon is None and sharing is not None:
                files.append(await self._shared(received, stanza, sharing))
        return files

    async def _shared(self, received: Received, stanza: Element, sharing: Element) -> Shared:
        source = sharing.find(URL)
        assert source is not None
        url = source.get("target", "")
        if url not in self._fetched:
            self._fetched[url] = await self.fetch(url)
        described = sharing.find(f"{METADATA}file")
        assert described is not None
        lines = [line for line in received.body.split("\n") if line != url]
        return Shared(
            received.sender.partition("/")[0],
            described.findtext(f"{METADATA}name") or "",
            described.findtext(f"{METADATA}media-type") or "",
            self._fetched[url],
            "\n".join(lines),
        )

    def bold(self, word: str) -> str:
        return f"*{word}*"

    def emote(self, text: str) -> str:
        return f"/me {text}"

    async def _client(self, address: str) -> XmppPerson:
        user = XmppUser(address, PASSWORD, self._server.host, self._server.port)
        await user.connect()
        return XmppPerson(user)

    async def register(self, localpart: str) -> str:
        """Make an account, as Prosody stores it; its own command for that takes a hundred times longer."""
        self._data.mkdir(parents=True, exist_ok=True)
        name = "".join(
            chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"%{byte:02x}"
            for byte in localpart.encode()
        )
        stored = f'return {{ ["password"] = "{PASSWORD}"; }};\n'
        (self._data / f"{name}.dat").write_text(stored, encoding="ascii")
        return f"{localpart}@localhost"


class EjabberdAdapter(XmppAdapter):
    """On ejabberd."""

    async def start(self, directory: Path) -> tuple[str, int]:
        self._server = await Ejabberd.start(directory, largest_file=LARGEST_FILE)
        return self._server.host, self._server.port

    async def register(self, localpart: str) -> str:
        return await self._server.add_user(localpart, PASSWORD)


def _told(person: Person, tag: str) -> list[Heard]:
    """What was told of messages of somebody's, by stanzas with this child."""
    assert isinstance(person, XmppPerson)
    texts = {id_: text for text, id_ in person.said.items()}
    told = []
    for notice in person.user.notices:
        child = fromstring(notice.xml).find(tag)  # noqa: S314 - from our own server
        if child is not None:
            sender = notice.sender.partition("/")[0]
            told.append(Heard(sender, texts.get(child.get("id", ""), "")))
    return told


def _deed(received: Received, texts: Mapping[str, str]) -> Deed:
    """What somebody did, by a stanza. ``texts``: of messages, by id."""
    stanza = fromstring(received.xml)  # noqa: S314 - from our own server
    kind = kind_of(stanza)
    element = stanza.find(TAGS[kind])
    assert element is not None
    text = received.body
    emojis: tuple[str, ...] = ()
    if kind == "reply":
        quoted = stanza.find("{urn:xmpp:fallback:0}fallback/{urn:xmpp:fallback:0}body")
        assert quoted is not None
        text = text[: int(quoted.get("start", ""))] + text[int(quoted.get("end", "")) :]
    if kind == "reactions":
        emojis = tuple(each.text or "" for each in element)
    said = text if kind in ("reply", "edit") else ""
    about = texts.get(element.get("id", ""), "")
    return Deed(received.sender.partition("/")[0], kind, about, said, emojis)
