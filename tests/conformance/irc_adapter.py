"""IRC for the conformance kit: a real ngIRCd or InspIRCd, and people with a client of their own."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dm_bridge.connectors.irc import connector
from dm_bridge.network.api import Connector
from dm_bridge.testing.conformance import Account, Adapter, Deed, Heard, NotOffered, Person
from dm_bridge.testing.inspircd import InspIrcd
from dm_bridge.testing.irc_client import IrcUser, Received
from dm_bridge.testing.irc_server import IrcServer
from dm_bridge.testing.ngircd import NgIrcd
from dm_bridge.testing.znc import Znc
from tests.connectors.irc.znc_module import PLAYBACK

PASSWORD = "sesame"
CHANNEL = "#all"
ROOM = 400
"""Bytes of text in a line, whatever else is in it."""


class IrcPerson:
    """A `Person`, in the channel where everybody sees nicks change. ``reacted``: with what, by id."""

    def __init__(self, user: IrcUser) -> None:
        self.user = user
        self.reacted: dict[str, set[str]] = {}

    @property
    def address(self) -> str:
        return f"{self.user.nick}@net"

    @property
    def heard(self) -> Sequence[Heard]:
        return [
            Heard(f"{line.nick}@net", line.text)
            for line in self.user.received
            if line.command == "PRIVMSG" and line.params[0] == self.user.nick
        ]

    async def say(self, to: str, text: str) -> None:
        for line in filter(str.strip, text.split("\n")):
            for piece in _pieces(line.encode()):
                self.user.send_raw(b"PRIVMSG %s :%s" % (to.partition("@")[0].encode(), piece))
        await self.user.settled()

    async def leave(self) -> None:
        await self.user.quit()

    def id_of(self, text: str) -> str:
        """By which id a message is known, of whichever author; what nobody said is taken for one."""
        ids = {line.text: line.tags.get("msgid", "") for line in self.user.received if _said(line)}
        return ids.get(text, escaped(text))

    async def tag(self, to: str, tags: str, line: str) -> None:
        """Send a line with tags."""
        sent = f"@{tags} {line.format(to.partition('@')[0])}"
        self.user.send_raw(sent.encode("utf-8", "replace"))
        await self.user.settled()


def _said(line: Received) -> bool:
    return line.command == "PRIVMSG"


def escaped(value: str) -> str:
    """A value of a tag, without NUL."""
    for plain, code in (
        ("\\", "\\\\"),
        (";", "\\:"),
        (" ", "\\s"),
        ("\r", "\\r"),
        ("\n", "\\n"),
        ("\0", ""),
    ):
        value = value.replace(plain, code)
    return value


def _pieces(line: bytes) -> list[bytes]:
    """A line in pieces that fit, none of which ends inside a character."""
    pieces = []
    while line:
        end = min(ROOM, len(line))
        while end < len(line) and line[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(line[:end])
        line = line[end:]
    return pieces


class _IrcAdapter(Adapter):
    connector: Connector = connector
    strange = ("a[b]{c}", "we|rd^", "under_score", "tick`s", "MiXeD", "lon" + "g" * 15)
    hostile = (
        "before\r\nPRIVMSG {bystander} :injected\r\nafter",
        "before\nQUIT :after",
    )
    nobody = "nosuchnick@net"
    load = 30
    password = ""
    method = "none"
    caps: tuple[str, ...] = ()
    server: IrcServer

    async def stop(self) -> None:
        await self.server.stop()

    def config(self, host: str, port: int) -> Mapping[str, Any]:
        server = {
            "host": host,
            "port": port,
            "tls": "none",
            "rate": 50.0,
            "burst": 50,
            "methods": [self.method],
            "channels": [CHANNEL],
        }
        return {
            "servers": {"net": server},
            "retry_min": 0.05,
            "retry_max": 0.2,
            "connect_timeout": 5.0,
            "ping_interval": 0.5,
            "ping_timeout": 2.0,
            "send_timeout": 2.0,
            "send_wait": 0.5,
        }

    async def person(self, name: str) -> IrcPerson:
        user = IrcUser(
            name, self.server.host, self.server.port, password=self.password, caps=self.caps
        )
        await user.__aenter__()
        await user.join(CHANNEL)
        return IrcPerson(user)

    async def revoke(self, account: Account) -> None:
        raise NotOffered("a server's password is everybody's")

    async def move(self, person: Person) -> None:
        assert isinstance(person, IrcPerson)
        await person.user.change_nick(f"{person.user.nick}2")

    def bold(self, word: str) -> str:
        return f"\x02{word}\x02"

    def emote(self, text: str) -> str:
        return f"\x01ACTION {text}\x01"


class NgIrcdAdapter(_IrcAdapter):
    """No extensions, and a server password."""

    password = PASSWORD
    method = "server"

    async def start(self, directory: Path) -> tuple[str, int]:
        self.server = await NgIrcd.start(directory, password=PASSWORD)
        return self.server.host, self.server.port

    async def account(self, name: str) -> Account:
        right, wrong = (({"nick": name}, {"password": each}) for each in (PASSWORD, "open barley"))
        return Account(f"{name}@net", right, wrong)


class ZncAdapter(_IrcAdapter):
    """Behind a bouncer that keeps everything, and plays it when it is asked; people are on ngIRCd."""

    method = "server"
    bouncer: Znc

    async def start(self, directory: Path) -> tuple[str, int]:
        self.server = await NgIrcd.start(directory)
        self.home = Path(tempfile.mkdtemp(prefix="dm_bridge_znc_"))
        self.home.chmod(0o755)  # it does not run as root
        module = self.home / "modules" / "playback.py"
        module.parent.mkdir()
        module.write_text(PLAYBACK, encoding="utf-8")
        self.bouncer = await Znc.start(
            self.home, self.server, "bouncer", clears=False, modules=("modpython", "playback")
        )
        return self.bouncer.host, self.bouncer.port

    async def stop(self) -> None:
        await self.bouncer.stop()
        await self.server.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    async def account(self, name: str) -> Account:
        password = await self.bouncer.add_user(name)
        async with IrcUser(f"w{name}"[:20], self.server.host, self.server.port) as watcher:
            await watcher.wait_for_nick(name)
        right, wrong = (
            ({"nick": name}, {"password": each}) for each in (password, f"{name}/net:x")
        )
        return Account(f"{name}@net", right, wrong)

    async def revoke(self, account: Account) -> None:
        await self.bouncer.remove_user(account.address.partition("@")[0])

    async def device(self, account: Account) -> Person:
        name = account.address.partition("@")[0]
        password = account.answers[1]["password"]
        user = IrcUser(name, self.bouncer.host, self.bouncer.port, password=password)
        await user.__aenter__()
        return IrcPerson(user)


class InspIrcdAdapter(_IrcAdapter):
    """Echo, labels, MONITOR, tags of clients; whoever has the nick is who it is."""

    caps = ("message-tags", "echo-message")
    forgets = 6.0

    async def types(self, person: Person, to: str, typing: bool) -> None:
        assert isinstance(person, IrcPerson)
        await person.tag(to, f"+typing={'active' if typing else 'done'}", "TAGMSG {}")

    def typists(self, person: Person) -> Sequence[str]:
        assert isinstance(person, IrcPerson)
        types: dict[str, float] = {}
        for line in person.user.received:
            if line.params[:1] != (person.user.nick,):
                continue
            if line.tags.get("+typing") == "active":
                types[f"{line.nick}@net"] = line.at
            elif "+typing" in line.tags or _said(line):
                types.pop(f"{line.nick}@net", None)
        return [who for who, at in types.items() if time.monotonic() - at < self.forgets]

    async def reply(self, person: Person, to: str, about: str, text: str) -> None:
        assert isinstance(person, IrcPerson)
        await person.tag(to, f"+draft/reply={person.id_of(about)}", "PRIVMSG {} :" + text)

    async def react(self, person: Person, to: str, about: str, emojis: Sequence[str]) -> None:
        assert isinstance(person, IrcPerson)
        target = person.id_of(about)
        had = person.reacted.get(target, set())
        person.reacted[target] = set(emojis)
        for tag, changed in (("react", set(emojis) - had), ("unreact", had - set(emojis))):
            for emoji in changed:
                tags = f"+draft/reply={target};+draft/{tag}={escaped(emoji)}"
                await person.tag(to, tags, "TAGMSG {}")

    def deeds(self, person: Person) -> Sequence[Deed]:
        assert isinstance(person, IrcPerson)
        texts = {
            line.tags["msgid"]: line.text
            for line in person.user.received
            if _said(line) and "msgid" in line.tags
        }
        deeds, reactions = [], dict[tuple[str, str], list[str]]()
        for line in person.user.received:
            target, sender = line.tags.get("+draft/reply"), f"{line.nick}@net"
            if target is None or line.nick == person.user.nick:
                continue
            about = texts.get(target, "")
            if _said(line):
                deeds.append(Deed(sender, "reply", about, line.text))
                continue
            there = reactions.setdefault((sender, target), [])
            if "+draft/react" in line.tags:
                there.append(line.tags["+draft/react"])
            if line.tags.get("+draft/unreact") in there:
                there.remove(line.tags["+draft/unreact"])
            deeds.append(Deed(sender, "reactions", about, "", tuple(there)))
        return deeds

    async def start(self, directory: Path) -> tuple[str, int]:
        self.server = await InspIrcd.start(directory)
        return self.server.host, self.server.port

    async def account(self, name: str) -> Account:
        return Account(f"{name}@net", ({"nick": name},), ())
