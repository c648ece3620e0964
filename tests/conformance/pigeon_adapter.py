"""Pigeons for the conformance kit.

The rule that must never break: whatever is broken on purpose is in the connector, and not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dm_bridge.network.api import API_VERSION
from dm_bridge.network.signals import Availability
from dm_bridge.testing.conformance import Account, Adapter, Deed, Heard, Shared

from .loft import AWAY_FOR_GOOD, FORGETS, NOBODY, Box, Loft, PigeonPerson, Shown
from .pigeons import PigeonNetwork


class NoConfig(BaseModel):
    """Nothing can be configured."""


class PigeonConnector:
    """A `Connector`, of a ``network`` that is given."""

    name = PigeonNetwork.name
    title = PigeonNetwork.title
    api_version = API_VERSION
    config_model: type[BaseModel] = NoConfig

    def __init__(self, network: PigeonNetwork) -> None:
        self._network = network

    def build(self, config: BaseModel) -> PigeonNetwork:
        return self._network


class PigeonAdapter(Adapter):
    """``network``: what makes the connector's network, of a server."""

    strange = (
        "a%b%25", "a/b", "a:b", "a@b@c", "two words", "👋🏽 emoji", "MiXeD", "mixed", "a_b", "=h00",
        "x" * 280,
    )  # fmt: skip
    nobody = NOBODY
    load = 30
    patience = 10.0
    quiet = 0.2
    forgets = FORGETS

    def __init__(self, network: Callable[[Loft], PigeonNetwork] = PigeonNetwork) -> None:
        self._make = network

    async def start(self, directory: Path) -> Loft:
        self.loft = Loft()
        self.connector = PigeonConnector(self._make(self.loft))
        return self.loft

    async def stop(self) -> None: ...

    def config(self, host: str, port: int) -> Mapping[str, Any]:
        return {}

    async def account(self, name: str) -> Account:
        self.loft.boxes[name] = Box(name, "sesame")
        right, wrong = ({"address": name, "password": word} for word in ("sesame", "simsim"))
        return Account(name, (right,), (wrong,))

    async def person(self, name: str) -> PigeonPerson:
        person = self.loft.people[name] = PigeonPerson(self.loft, name)
        return person

    async def device(self, account: Account) -> PigeonPerson:
        return PigeonPerson(self.loft, account.address, self.loft.boxes[account.address])

    async def revoke(self, account: Account) -> None:
        self.loft.boxes[account.address].password = "another"
        await self.loft.cut()

    async def move(self, person: Any) -> None:
        old, new = person.address, f"{person.address} moved"
        person.address = new
        self.loft.people[new] = self.loft.people.pop(old)
        for box in self.loft.boxes.values():
            self.loft.note(box, "move", old, new)

    async def reply(self, person: Any, to: str, about: str, text: str) -> None:
        person.does(to, text, "reply", about)

    async def edit(self, person: Any, to: str, about: str, text: str) -> None:
        person.does(to, text, "edit", about)

    async def retract(self, person: Any, to: str, about: str) -> None:
        person.does(to, "", "retraction", about)

    async def react(self, person: Any, to: str, about: str, emojis: Sequence[str]) -> None:
        person.does(to, "\n".join(emojis), "reactions", about)

    def deeds(self, person: Any) -> Sequence[Deed]:
        deeds: Sequence[Deed] = person.deeds
        return deeds

    async def types(self, person: Any, to: str, typing: bool) -> None:
        self.loft.tell(person.address, to, typing)

    def typists(self, person: Any) -> Sequence[str]:
        typists: Sequence[str] = person.typists
        return typists

    async def read(self, person: Any, to: str, about: str) -> None:
        person.reads(to, about, "read")

    def seen(self, person: Any) -> Sequence[Heard]:
        seen: Sequence[Heard] = person.seen
        return seen

    async def receive(self, person: Any, to: str, about: str) -> None:
        person.reads(to, about, "received")

    def received(self, person: Any) -> Sequence[Heard]:
        received: Sequence[Heard] = person.received
        return received

    async def befriend(self, account: Account, person: Any) -> None:
        self.loft.boxes[account.address].friends.add(person.address)

    async def appear(self, person: Any, availability: Availability, text: str) -> None:
        person.appear((availability, text))

    def presence(self, person: Any, address: str) -> Shown:
        box = self.loft.boxes[address]
        return box.shows if person.address in box.friends else AWAY_FOR_GOOD

    async def share(self, person: Any, to: str, file: Shared) -> None:
        self.loft.write(person.address, to, file.text, file=file)

    async def shared(self, person: Any) -> Sequence[Shared]:
        files: Sequence[Shared] = person.files
        return files

    async def fetch(self, url: str) -> bytes:
        return self.loft.files[url]

    def bold(self, word: str) -> str:
        return f"*{word}*"

    def emote(self, text: str) -> str:
        return f"/me {text}"
