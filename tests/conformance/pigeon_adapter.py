"""Pigeons for the conformance kit.

The rule that must never break: whatever is broken on purpose is in the connector, and not here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from dm_bridge.network.api import API_VERSION
from dm_bridge.testing.conformance import Account, Adapter

from .loft import NOBODY, Box, Loft, PigeonPerson
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
    patience = 3.0
    quiet = 0.2

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

    def bold(self, word: str) -> str:
        return f"*{word}*"

    def emote(self, text: str) -> str:
        return f"/me {text}"
