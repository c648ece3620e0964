"""XMPP for the conformance kit: a real Prosody, and people with a client of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dm_bridge.connectors.xmpp import connector
from dm_bridge.network.api import Connector
from dm_bridge.testing.conformance import Account, Adapter, Heard
from dm_bridge.testing.prosody import MODULES, Prosody
from dm_bridge.testing.xmpp_client import XmppUser

PASSWORD = "sesame 123"


class XmppPerson:
    """A `Person`: one client, that sees only what is sent to it, no copies."""

    def __init__(self, user: XmppUser) -> None:
        self.user = user
        self.address = user.bare_jid

    @property
    def heard(self) -> Sequence[Heard]:
        return [
            Heard(received.sender.partition("/")[0], received.body)
            for received in self.user.received
            if received.carbon is None
        ]

    async def say(self, to: str, text: str) -> None:
        self.user.send(to, text)

    async def leave(self) -> None:
        await self.user.disconnect()


class XmppAdapter(Adapter):
    """``archive``: whether the server keeps one."""

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
        self._modules = [name for name in MODULES if archive or name != "mam"]

    async def start(self, directory: Path) -> tuple[str, int]:
        self._data = directory / "data" / "localhost" / "accounts"
        self._server = await Prosody.start(directory, modules=self._modules)
        return self._server.host, self._server.port

    async def stop(self) -> None:
        await self._server.stop()

    def config(self, host: str, port: int) -> Mapping[str, Any]:
        return {
            "servers": {"localhost": {"host": host, "port": port, "tls": "none"}},
            "retry_min": 0.05,
            "retry_max": 0.2,
            "connect_timeout": 5.0,
            "send_timeout": 3.0,
            "send_wait": 0.5,
        }

    async def account(self, name: str) -> Account:
        address = self._register(name)
        right, wrong = ({"jid": address, "password": word} for word in (PASSWORD, "wrong"))
        return Account(address, (right,), (wrong,))

    async def person(self, name: str) -> XmppPerson:
        return await self._client(self._register(name.lower()))

    async def device(self, account: Account) -> XmppPerson:
        return await self._client(account.address)

    async def revoke(self, account: Account) -> None:
        await self._server.change_password(account.address.partition("@")[0], "another")

    def bold(self, word: str) -> str:
        return f"*{word}*"

    def emote(self, text: str) -> str:
        return f"/me {text}"

    async def _client(self, address: str) -> XmppPerson:
        user = XmppUser(address, PASSWORD, self._server.host, self._server.port)
        await user.connect()
        return XmppPerson(user)

    def _register(self, localpart: str) -> str:
        """Make an account, as Prosody stores it; its own command for that takes a hundred times longer."""
        self._data.mkdir(parents=True, exist_ok=True)
        name = "".join(
            chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"%{byte:02x}"
            for byte in localpart.encode()
        )
        stored = f'return {{ ["password"] = "{PASSWORD}"; }};\n'
        (self._data / f"{name}.dat").write_text(stored, encoding="ascii")
        return f"{localpart}@localhost"
