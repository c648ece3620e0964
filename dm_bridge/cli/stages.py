"""What the demo has of each network: a real server, a login of the user, and a contact to talk with.

The rule that must never break: the contact is an independent client, which shares no code with the bridge.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dm_bridge.errors import BridgeError
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.ngircd import NgIrcd
from dm_bridge.testing.processes import LOOPBACK
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack

ALICE, ROMEO, JULIET = "alice", "romeo", "juliet"
PASSWORD = "wherefore-art-thou"  # noqa: S105 - for servers that live on loopback, for minutes
PATIENCE = 60.0
LARGEST_FILE = 100_000_000


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody on the network. ``hear`` returns when a text arrived, and from whom it was."""

    address: str
    say: Callable[[str], object]
    hear: Callable[[str], Awaitable[tuple[float, str]]]


class Server(Protocol):
    """What is the same of all servers."""

    host: str
    port: int

    @property
    def running(self) -> bool: ...
    @property
    def log(self) -> Path: ...
    async def version(self) -> str: ...
    async def stop(self) -> None: ...


class Stage(Protocol):
    """One network. ``title``: the network; ``program``: its server; ``user``: the bridge's user there."""

    title: str
    program: str
    ghost_name: str
    user: str

    @property
    def server(self) -> Server: ...

    @property
    def prosody(self) -> Prosody | None:
        """For `Stack.start`."""
        ...

    def config(self) -> Mapping[str, Any]:
        """What the bridge's configuration needs besides."""
        ...

    async def start(self, place: Path) -> None:
        """Start the server, below ``place``."""
        ...

    async def log_in(self, stack: Stack, alice: MatrixUser) -> list[str]:
        """Log in with the bot; what to tell of that, the bot's last words at the end."""
        ...

    def contact(self, stack: Stack) -> contextlib.AbstractAsyncContextManager[Contact]:
        """The contact, connected."""
        ...

    def addresses(self) -> str:
        """What one needs to try the server with a client."""
        ...


class XmppStage:
    """Prosody. See `Stage`."""

    title = "XMPP"
    program = "Prosody"
    ghost_name = "Juliet Capulet"

    def __init__(self) -> None:
        self.prosody: Prosody | None = None
        self.user = ""

    @property
    def server(self) -> Prosody:
        assert self.prosody is not None
        return self.prosody

    def config(self) -> Mapping[str, Any]:
        return {"media": {"private_hosts": [LOOPBACK]}}  # where its contacts' files are

    async def start(self, place: Path) -> None:
        from dm_bridge.testing.xmpp_client import quiet_slixmpp

        quiet_slixmpp()
        self.prosody = await Prosody.start(place / "prosody", largest_file=LARGEST_FILE)

    async def log_in(self, stack: Stack, alice: MatrixUser) -> list[str]:
        self.user = await self.server.add_user(ROMEO, PASSWORD)
        room = await stack.open_bot_chat(alice)
        talk = await stack.log_in(alice, room, self.user, PASSWORD)
        await alice.wait_for(
            lambda seen: (
                seen.type == "m.room.redaction"
                and talk.password_event in (seen.event.get("redacts"), seen.content.get("redacts"))
            ),
            timeout=PATIENCE,
        )
        hidden = await alice.event(room, talk.password_event)
        if "body" in hidden["content"]:
            raise BridgeError("The message with the password is still readable.")
        return [
            f"{alice.user_id} wrote `login xmpp`, {self.user} and the password to {stack.bot}",
            "the message with the password has been removed from the chat",
            talk.said[-1],
        ]

    @contextlib.asynccontextmanager
    async def contact(self, stack: Stack) -> AsyncIterator[Contact]:
        async with stack.xmpp_user(JULIET, PASSWORD, nickname=self.ghost_name) as juliet:

            async def hear(text: str) -> tuple[float, str]:
                seen = await juliet.wait_for_text(text, timeout=PATIENCE)
                return seen.at, seen.sender.partition("/")[0]

            yield Contact(juliet.bare_jid, lambda text: juliet.send(self.user, text), hear)

    def addresses(self) -> str:
        domain = self.server.domain
        return (
            f"server {self.server.host} port {self.server.port} without encryption, "
            f"users {JULIET}@{domain} and {ROMEO}@{domain}"
        )


class IrcStage:
    """ngIRCd. See `Stage`."""

    title = "IRC"
    program = "ngIRCd"
    ghost_name = "Juliet"
    user = ROMEO
    prosody = None

    def __init__(self) -> None:
        self._ngircd: NgIrcd | None = None

    @property
    def server(self) -> NgIrcd:
        assert self._ngircd is not None
        return self._ngircd

    def config(self) -> Mapping[str, Any]:
        server = {
            "host": self.server.host,
            "port": self.server.port,
            "tls": "none",
            "channels": ["#verona"],
            "rate": 50.0,
            "burst": 50,
        }
        return {"networks": {"irc": {"servers": {"verona": server}}}}

    async def start(self, place: Path) -> None:
        self._ngircd = await NgIrcd.start(place / "ngircd")

    async def log_in(self, stack: Stack, alice: MatrixUser) -> list[str]:
        room = await stack.open_bot_chat(alice)
        said = ""
        for line in (f"login irc {ROMEO}", "none"):
            mark = alice.mark()
            await alice.send_text(room, line)
            seen = await alice.wait_for(
                lambda seen: (
                    seen.sender == stack.bot
                    and any(
                        words in (seen.body or "") for words in ("log in there", "⚠", "You are")
                    )
                ),
                timeout=PATIENCE,
                after=mark,
            )
            said = seen.body or ""
        if "You are logged in" not in said:
            raise BridgeError(f"The bot did not log {alice.user_id} in: {said}")
        return [f"{alice.user_id} wrote `login irc {ROMEO}` and `none` to {stack.bot}", said]

    @contextlib.asynccontextmanager
    async def contact(self, stack: Stack) -> AsyncIterator[Contact]:
        async with IrcUser(self.ghost_name, self.server.host, self.server.port) as juliet:
            await juliet.join("#verona")

            async def hear(text: str) -> tuple[float, str]:
                seen = await juliet.wait_for_text(text, timeout=PATIENCE)
                return seen.at, seen.nick

            yield Contact(self.ghost_name, lambda text: juliet.say(ROMEO, text), hear)

    def addresses(self) -> str:
        return (
            f"server {self.server.host} port {self.server.port} without encryption; your nick is {ROMEO},"
            " take any other. In #verona a change of nick is seen"
        )


STAGES: Mapping[str, type[XmppStage] | type[IrcStage]] = {"xmpp": XmppStage, "irc": IrcStage}
