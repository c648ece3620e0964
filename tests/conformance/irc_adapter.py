"""IRC for the conformance kit: a real ngIRCd or InspIRCd, and people with a client of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dm_bridge.connectors.irc import connector
from dm_bridge.network.api import Connector
from dm_bridge.testing.conformance import Account, Adapter, Heard, NotOffered, Person
from dm_bridge.testing.inspircd import InspIrcd
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.irc_server import IrcServer
from dm_bridge.testing.ngircd import NgIrcd

PASSWORD = "sesame"
CHANNEL = "#all"
ROOM = 400
"""Bytes of text in a line, whatever else is in it."""


class IrcPerson:
    """A `Person`, in the channel where everybody sees nicks change."""

    def __init__(self, user: IrcUser) -> None:
        self.user = user

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
            "send_timeout": 2.0,
            "send_wait": 0.5,
        }

    async def person(self, name: str) -> IrcPerson:
        user = IrcUser(name, self.server.host, self.server.port, password=self.password)
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


class InspIrcdAdapter(_IrcAdapter):
    """Echo, labels, MONITOR; whoever has the nick is who it is."""

    async def start(self, directory: Path) -> tuple[str, int]:
        self.server = await InspIrcd.start(directory)
        return self.server.host, self.server.port

    async def account(self, name: str) -> Account:
        return Account(f"{name}@net", ({"nick": name},), ())
