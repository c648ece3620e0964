"""The connector API: what a network offers, and what the bridge offers to it.

A connector is found through the entry point group ``dm_bridge.connectors``; the entry point names
an object that satisfies `Connector`. A connector imports ``dm_bridge.network``, ``dm_bridge.ids``
and ``dm_bridge.errors``, and nothing else of the bridge.

The rule that must never break: a session acknowledges an event to its network only after
`EventSink.deliver` has returned, because only then is the event safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel

from dm_bridge.ids import ChatId, ContactId, LoginId, NetworkName, RemoteId
from dm_bridge.network.events import RemoteEvent, SessionState, Text
from dm_bridge.network.login import LoginProcess

API_VERSION = 1
"""Raised when a connector written for an earlier version would no longer work."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A person on the network.

    ``name``: what the person calls themselves publicly, or None when not known.
    ``private_name``: what this login's user calls them (an address book entry); shown to that user only.
    """

    id: ContactId
    name: str | None = None
    private_name: str | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """What `Network.open_session` gets. ``credentials`` are those of `LoginDone`, unsealed.

    ``position``: the last one that `EventSink.deliver` committed for this login, or else the one of
    `LoginDone`; None when there is none yet. What came after it may never have been delivered.
    """

    id: LoginId
    remote: ContactId
    credentials: Mapping[str, str] = field(repr=False)
    position: str | None = None


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to send. ``id``: derived from the Matrix event, the same on every retry.

    ``attempted``: when an earlier attempt began, perhaps in another process, in seconds since the
    epoch; None when the network surely does not have the message.
    """

    chat: ChatId
    id: RemoteId
    content: Text
    attempted: float | None = None


class EventSink(Protocol):
    """Where a session puts what happens."""

    async def deliver(self, events: Sequence[RemoteEvent], position: str | None = None) -> None:
        """Store ``events``, in order; returns when they are committed.

        ``position``: where in the network's own record the session stands after these events, in any
        form it likes (text without NUL, some 10,000 characters at most); committed together with them, and
        given to the next session as `Login.position`. None: unchanged. ``events`` may be empty.

        Raises `StorageError` when they could not be stored; the session then does not acknowledge them.
        """
        ...

    def report(self, state: SessionState) -> None:
        """Tell where the session stands. Returns at once."""
        ...


class Session(Protocol):
    """The live connection of one login. It reconnects by itself, with backoff and jitter."""

    async def connect(self) -> None:
        """Start connecting, and keep connected. Reports through states; does not raise."""
        ...

    async def disconnect(self) -> None:
        """Close the connection, within five seconds, and stop reconnecting."""
        ...

    async def contact(self, contact: ContactId) -> Contact:
        """What is known about a person, within two seconds; never raises for an unknown one."""
        ...

    def chat_with(self, contact: ContactId) -> ChatId:
        """The private chat with a person."""
        ...

    async def send(self, message: OutgoingMessage) -> RemoteId:
        """Send; returns the id under which the message is known once the network has accepted it.

        Raises `NetworkError`: with ``retry_after`` when the same call can succeed later, without when
        it cannot; ``certain`` is False when the message may have been sent all the same.
        """
        ...


class Network(Protocol):
    """A configured network: one per connector and bridge."""

    name: NetworkName
    title: str

    async def start(self) -> None:
        """Called once, before the first session."""
        ...

    async def stop(self) -> None:
        """Called once, after the last session has been disconnected."""
        ...

    def start_login(self) -> LoginProcess:
        """A new login attempt."""
        ...

    def open_session(self, login: Login, sink: EventSink) -> Session:
        """The session of a login; not connected yet."""
        ...

    def parse_contact(self, text: str) -> ContactId:
        """The normal form of a contact's address as a person types it.

        Raises `UserError` when it is none; the message says what one looks like.
        """
        ...

    def contact_of(self, chat: ChatId) -> ContactId:
        """With whom a private chat is; the reverse of `Session.chat_with`."""
        ...

    def contact_uri(self, contact: ContactId) -> str:
        """A URI for the contact (``xmpp:romeo@example.org``), shown in room information."""
        ...


class Connector(Protocol):
    """What an entry point names: turns a section of the configuration into a `Network`."""

    name: NetworkName
    title: str
    api_version: int
    config_model: type[BaseModel]

    def build(self, config: BaseModel) -> Network:
        """The network as configured. Raises `ConfigError`; does no I/O."""
        ...
