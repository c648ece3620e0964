"""What the kit needs to know of a network: how its server is run, and how people on it act.

The author of a connector writes one `Adapter`. Between the connector and the server the kit puts a proxy, with
which it cuts, refuses and holds up connections; so an adapter knows nothing of faults.

The rule that must never break: what an adapter does to the server, and how its people talk, shares no code with
the connector; else one would hide the mistakes of the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from dm_bridge.network.api import Connector
from dm_bridge.network.signals import Availability
from dm_bridge.testing.fault_proxy import FaultProxy


class NotOffered(Exception):
    """A network or its connector has nothing that a check could be about; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account on the network, with which the bridge logs in.

    ``address``: what contacts write to. ``answers``: what its user answers to the steps of the login, one mapping
    of field to value for each step. ``wrong``: the same for a user who has the password wrong, with one that no
    sentence has by chance; empty where there is none.
    """

    address: str
    answers: tuple[Mapping[str, str], ...] = field(repr=False)
    wrong: tuple[Mapping[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Heard:
    """A text that somebody got. ``sender``: as `Account.address`; ``text``: as it came over the wire."""

    sender: str
    text: str


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did to a message, as the client of who got it shows it.

    ``sender``: as `Account.address`. ``kind``: ``reply``, ``edit``, ``retraction`` or ``reactions``. ``about``:
    what the message said at first; empty when this client knows no message that could be meant. ``text``: of a
    reply or an edit, without any quote. ``emojis``: all that the sender reacts with to that message from now on.
    """

    sender: str
    kind: str
    about: str
    text: str = ""
    emojis: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shared:
    """A file that somebody sent or got. ``sender``: as `Account.address`; "" for one to send.

    ``mimetype``: "" where it is not said. ``text``: what is said of the file, without its address.
    """

    sender: str
    name: str
    mimetype: str
    content: bytes = field(repr=False)
    text: str = ""


class Person(Protocol):
    """Somebody on the network who is not the bridge: a contact, or the user's own other device.

    ``address``: how the bridge's user would type it. ``heard``: the messages that came so far, in order; that one
    is changed or taken back is none, and a reaction is none (`Adapter.deeds`).
    """

    @property
    def address(self) -> str: ...

    @property
    def heard(self) -> Sequence[Heard]: ...

    async def say(self, to: str, text: str) -> None:
        """Send ``text``, as it is to go over the wire, to an address; several lines may be several messages."""
        ...

    async def leave(self) -> None:
        """Disconnect; idempotent."""
        ...


class Line(Protocol):
    """The way from the connector to the server. `ProxyLine` is one for every server that listens on TCP.

    ``connections``: how many the connector has made so far.
    """

    @property
    def connections(self) -> int: ...

    async def cut(self) -> None:
        """Break what is connected, without a word. New connections can be made at once."""
        ...

    async def refuse(self) -> None:
        """Break what is connected, and let nobody connect until `mend`."""
        ...

    async def hang(self) -> None:
        """Pass nothing on until `mend`, and close nothing: the server seems to be asleep."""
        ...

    async def mute(self) -> None:
        """Pass on what the connector sends, and nothing that the server says, until `mend`."""
        ...

    async def mend(self) -> None:
        """Be as at the beginning."""
        ...

    async def close(self) -> None:
        """Nobody will use it any more."""
        ...


class ProxyLine:
    """A `Line` through a TCP proxy."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy

    @property
    def connections(self) -> int:
        return self.proxy.connections

    async def cut(self) -> None:
        self.proxy.cut()

    async def refuse(self) -> None:
        self.proxy.refuse()
        self.proxy.cut()

    async def hang(self) -> None:
        self.proxy.stall()

    async def mute(self) -> None:
        self.proxy.mute()

    async def mend(self) -> None:
        await self.proxy.mend()

    async def close(self) -> None:
        await self.proxy.__aexit__(None, None, None)


class Adapter(ABC):
    """How the kit reaches one network. Made once for all checks, in the order of its methods here.

    What a network has not, an adapter answers with `NotOffered`; the check is then skipped, with its text.

    ``connector``: what is checked.
    ``strange``: names that `person` is also asked for: as hostile as the network lets its addresses be, with
    percent signs, slashes, colons, blanks, capitals, emoji, and very long.
    ``hostile``: texts that would break out of a message if the connector let them, in the network's own protocol.
    ``nobody``: an address to which no message can be delivered, if the network says so, at once or later.
    ``patience``: seconds within which what should happen happens. ``load``: messages that may come at once.
    ``quiet``: seconds for which nothing may happen where nothing should.
    ``forgets``: seconds after which people's clients take it that nobody types any more, where it is not said
    again; None where they do not, or after a minute or so.
    """

    connector: Connector
    strange: Sequence[str] = ()
    hostile: Sequence[str] = ()
    nobody: str | None = None
    patience: float = 30.0
    quiet: float = 1.5
    load: int = 60
    forgets: float | None = None

    @abstractmethod
    async def start(self, directory: Path) -> tuple[str, int] | Line:
        """Start a server that keeps its files in ``directory``; the host and port where it listens.

        What listens on no port gives a `Line` of its own.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Stop the server."""

    @abstractmethod
    def config(self, host: str, port: int) -> Mapping[str, Any]:
        """The connector's section of the configuration, for a server there; with short pauses.

        Short also until a silent server is asked for a sign of life, and until that is waited for no longer.
        """

    @abstractmethod
    async def account(self, name: str) -> Account:
        """A new account for a user of the bridge. ``name``: small letters and digits, not used before."""

    @abstractmethod
    async def person(self, name: str) -> Person:
        """Somebody new who is connected, and can be written to. ``name``: as for `account`, or a strange one."""

    @abstractmethod
    async def revoke(self, account: Account) -> None:
        """Let the server refuse the account's credentials from now on, and close its connections."""

    def bold(self, word: str) -> str | None:
        """How the network writes a word in bold; None: not at all."""
        return None

    def emote(self, text: str) -> str | None:
        """How the network writes ``/me waves``, for the text ``waves``; None: not at all."""
        return None

    async def device(self, account: Account) -> Person:
        """The account's owner, connected with another client. For `Capabilities.own_messages`."""
        raise NotOffered("the adapter knows no other devices")

    async def move(self, person: Person) -> None:
        """Let a person take another address; ``person.address`` is then the new one. For `Capabilities.moves`."""
        raise NotOffered("the adapter knows nobody who moves")

    # What people do to messages. A message is named by what it said at first, whoever of the two wrote it; in one
    # check no two say the same. What nobody said is sent as if it were the id of a message.

    async def reply(self, person: Person, to: str, about: str, text: str) -> None:
        """Send ``text`` to an address, as an answer to a message. For `Capabilities.replies`."""
        raise NotOffered("the adapter knows no answers")

    async def edit(self, person: Person, to: str, about: str, text: str) -> None:
        """Change a message into ``text``, also one that somebody else wrote. For `Capabilities.edits`."""
        raise NotOffered("the adapter knows no edits")

    async def retract(self, person: Person, to: str, about: str) -> None:
        """Take a message back, also one that somebody else wrote. For `Capabilities.retractions`."""
        raise NotOffered("the adapter takes nothing back")

    async def react(self, person: Person, to: str, about: str, emojis: Sequence[str]) -> None:
        """React to a message with these emojis, and no others any more. For `Capabilities.reactions`."""
        raise NotOffered("the adapter knows no reactions")

    def deeds(self, person: Person) -> Sequence[Deed]:
        """What others did to messages, as the person's client shows it, in order. For all four."""
        raise NotOffered("the adapter sees nothing of what is done to messages")

    # What people show of themselves. A message is named as above. What the person's client shows is what it was
    # told by others; an adapter without a method for what a session declares lets the checks of it be skipped.

    async def types(self, person: Person, to: str, typing: bool) -> None:
        """Let a person type a message to an address, or stop. For `Capabilities.typing`."""
        raise NotOffered("the adapter knows nobody who types")

    def typists(self, person: Person) -> Sequence[str]:
        """The addresses of those who type, as the person's client shows it now. For `Capabilities.typing`."""
        raise NotOffered("the adapter does not see who types")

    async def read(self, person: Person, to: str, about: str) -> None:
        """Let a person have read a message, and tell its author's address. For `Capabilities.reads`."""
        raise NotOffered("the adapter knows nobody who reads")

    def seen(self, person: Person) -> Sequence[Heard]:
        """Which messages of the person others have read, as their client shows it: by whom, and what it said."""
        raise NotOffered("the adapter does not see what was read")

    async def receive(self, person: Person, to: str, about: str) -> None:
        """Let the person's client say that a message has arrived. For `RemoteReceived`."""
        raise NotOffered("the adapter knows no receipts")

    def received(self, person: Person) -> Sequence[Heard]:
        """Which messages of the person have arrived, as in `seen`. For networks where sessions tell that."""
        raise NotOffered("the adapter sees no receipts")

    async def befriend(self, account: Account, person: Person) -> None:
        """Let an account's owner and a person see whether the other is there. For `Capabilities.presence`."""
        raise NotOffered("the adapter knows nobody who shows whether they are there")

    async def appear(self, person: Person, availability: Availability, text: str) -> None:
        """Let a person say whether they are there, and why, "" for nothing. For `Capabilities.presence`."""
        raise NotOffered("the adapter knows nobody who shows whether they are there")

    def presence(self, person: Person, address: str) -> tuple[Availability, str]:
        """Whether somebody is there, and what they say, as the person's client shows it now."""
        raise NotOffered("the adapter does not see who is there")

    # Files.

    async def share(self, person: Person, to: str, file: Shared) -> None:
        """Send a file to an address. For `Capabilities.media`."""
        raise NotOffered("the adapter sends no files")

    async def shared(self, person: Person) -> Sequence[Shared]:
        """The files that others sent to the person, in order, fetched as their client would. For the same."""
        raise NotOffered("the adapter gets no files")

    async def fetch(self, url: str) -> bytes:
        """What is at the address of a file that was delivered; by default got by HTTP, as by anybody."""
        timeout = aiohttp.ClientTimeout(total=self.patience)
        async with aiohttp.ClientSession(timeout=timeout) as web, web.get(url) as response:
            response.raise_for_status()
            return await response.read()
