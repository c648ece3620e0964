"""The connector API: what a network offers, and what the bridge offers to it.

A connector is found through the entry point group ``dm_bridge.connectors``; the entry point names
an object that satisfies `Connector`. A connector imports ``dm_bridge.network``, ``dm_bridge.texts``,
``dm_bridge.ids``, ``dm_bridge.errors`` and where it needs it ``dm_bridge.web``, and nothing else of the bridge.

All of it is called in the one event loop of the bridge's process, never from another thread; what is not
``async`` returns at once and does no I/O. A connector may start tasks, and ends them where this page says so.
What raises anything but what is named here is taken for a bug: it is logged with its traceback, and only the
login or the message that it is about suffers.

The life of a connector: `Connector.build` once, `Network.start` once; then any number of logins and sessions
side by side; `Network.stop` once, after the last session has been disconnected. A process may be killed at any
point of it, without a word.

The rule that must never break: a session acknowledges an event to its network only after
`EventSink.deliver` has returned, because only then is the event safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pydantic import BaseModel

from dm_bridge.ids import ChatId, ContactId, LoginId, NetworkName, RemoteId
from dm_bridge.network.abilities import (
    OutgoingEdit,
    OutgoingReactions,
    OutgoingRetraction,
    Reference,
)
from dm_bridge.network.events import RemoteEvent, SessionState, Text
from dm_bridge.network.login import LoginProcess
from dm_bridge.network.media import OutgoingMedia, Place
from dm_bridge.network.signals import Signal

API_VERSION = 1
"""The version of this API. A connector says in `Connector.api_version` which one it was written for, and is
refused when that is another.

It is raised when a connector that keeps to these files would no longer work. What is only added does not raise
it: new events, capabilities, optional methods, fields with a default. A package that uses such a thing says in
its own requirements from which release of dm-bridge on there is one.
"""


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

    ``id``: the same for as long as the login exists, also after the user has logged in again.
    ``remote``: the one of `LoginDone`: who the user is there.
    ``position``: the last one that `EventSink.deliver` committed for this login, or else the one of
    `LoginDone`; None when there is none yet. All up to there is committed; what came after it may be
    committed, and may never have been delivered. After a database was restored it may be an older one.
    """

    id: LoginId
    remote: ContactId
    credentials: Mapping[str, str] = field(repr=False)
    position: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a session can do beyond text both ways; what is not declared is not promised.

    ``catches_up``: what was written while no session was connected is delivered by the next one that begins
    at the last committed position. Else, what the network did not keep is lost, and that is accepted.
    ``own_messages``: what the user writes on another device is delivered, with ``from_self``.
    ``sends_once``: a message that is sent again because its fate is unknown (`OutgoingMessage.attempted`)
    never arrives twice. Else it may, or `Session.send` raises with ``certain=False`` instead.
    ``formatting``: ``html`` is carried both ways, as far as the network has such formatting.
    ``late_failures``: that a message could not be delivered may be told after `Session.send` returned
    (`RemoteFailure`).
    ``moves``: a contact's new address is reported (`ContactMoved`); nothing is sent to either address while the
    bridge has such an event and has not moved the chat yet.
    ``lines``: a text of several lines, and of up to ``largest_text`` bytes, arrives as one message. Else it
    arrives as several, in order.
    ``largest_text``: of one message, in bytes of UTF-8; None where there is no limit that people meet.
    ``replies``: `OutgoingMessage.reply_to` is shown as an answer to that message.
    ``edits``, ``retractions``, ``reactions``, ``reads``, ``typing``, ``presence``: the session has the methods of
    `dm_bridge.network.abilities`. With the last three, what contacts do of it is told as well (`RemoteRead`,
    `RemoteTyping`, `RemotePresence`), as far as their clients show it.
    ``media``: `OutgoingMessage.attachment` may be an `OutgoingMedia`, of up to ``largest_media`` bytes; None
    where no limit is known, and 0 where this account can send none, of which `send` says why.
    ``profiles``, ``contacts``, ``search``, ``blocks``, ``requests``: the session has the methods of
    `dm_bridge.network.people`. With ``profiles``, changes are told (`RemoteProfile`); with ``requests``, that
    somebody asks to be a contact (`RemoteRequest`).
    ``history``: the session has the methods of `dm_bridge.network.history`.
    """

    catches_up: bool = False
    own_messages: bool = False
    sends_once: bool = False
    formatting: bool = False
    late_failures: bool = False
    moves: bool = False
    lines: bool = False
    largest_text: int | None = None
    replies: bool = False
    edits: bool = False
    retractions: bool = False
    reactions: bool = False
    reads: bool = False
    typing: bool = False
    presence: bool = False
    media: bool = False
    largest_media: int | None = None
    profiles: bool = False
    contacts: bool = False
    search: bool = False
    blocks: bool = False
    requests: bool = False
    history: bool = False


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message to send.

    ``chat``: made by `Session.chat_with`, or that of an event which a session delivered.
    ``id``: derived from the Matrix event, 32 letters, digits, ``-`` and ``_``; the same on every retry, in
    every process. Use it as the network's own id for deduplication where there is one.
    ``attempted``: when an earlier attempt began whose end is not known, perhaps in another process, in
    seconds since the epoch; None when the network surely does not have the message.
    ``insisted``: whether the user knows that it may have arrived, and has asked to have it sent again since.
    ``reply_to``: the message that it answers; without `Capabilities.replies`, pass over it.
    ``attachment``: a file, with `Capabilities.media` only; ``content`` is what is said of it, and its body ""
    when nothing is. Or a place: a network without places passes over it, as ``content`` names it as well.
    """

    chat: ChatId
    id: RemoteId
    content: Text
    attempted: float | None = None
    insisted: bool = False
    reply_to: Reference | None = None
    attachment: OutgoingMedia | Place | None = None


Outgoing = OutgoingMessage | OutgoingEdit | OutgoingRetraction | OutgoingReactions
"""What a user does in a chat."""


class EventSink(Protocol):
    """Where a session puts what happens. Each session has its own, from any of its tasks."""

    async def deliver(self, events: Sequence[RemoteEvent], position: str | None = None) -> None:
        """Commit ``events``, in order; returns when that is done, and only then may they be acknowledged.

        Of one chat, one delivery at a time: await it before the next, else their order is not known. To
        deliver an event again is harmless: what has the same id is dropped.

        ``position``: where in the network's own record the session stands after these events, in any
        form it likes (text without NUL, some 10,000 characters at most); committed together with them, and
        given to the next session as `Login.position`. None: unchanged. ``events`` may be empty. Never give
        one that passes an event which is not delivered.

        Raises `StorageError` when they could not be stored, or may not have been: keep them, and deliver them
        again after a pause, for as long as it takes. It has no deadline of its own; a network that wants to
        hear something meanwhile must get it from another task. Cancelled, it may have committed or not.
        """
        ...

    def signal(self, signal: Signal) -> None:
        """Pass on what is gone a moment later: typing, presence. Returns at once; it may be dropped."""
        ...

    def report(self, state: SessionState) -> None:
        """Tell where the session stands, whenever that changes. Returns at once.

        After ``BAD_CREDENTIALS`` and ``LOGGED_OUT`` the bridge calls `Session.disconnect` from a task of its
        own, and asks the user to log in again.
        """
        ...


class Session(Protocol):
    """The live connection of one login. It reconnects by itself, with backoff and jitter.

    Of one login there is one session at a time; when a process was stopped for long and another one has taken
    over, for a moment there may be two. What the session can do it may say with `Capable`.
    """

    async def connect(self) -> None:
        """Start connecting, and keep connected. Called once, if at all.

        Begins and returns, without waiting for the network: many logins connect at the same time. Reports
        through states, the first of them soon; does not raise.
        """
        ...

    async def disconnect(self) -> None:
        """Close the connection, and stop reconnecting; afterwards the session does nothing any more.

        Called at the end, from any state, also when `connect` never was, and perhaps twice. Returns within
        five seconds, whatever the network or a `deliver` under way does; after eight it is cancelled. A
        `send` that waits ends with a `NetworkError`. No task is left, and nothing is delivered or reported
        afterwards; what was not committed stays with the network. Does not raise.
        """
        ...

    async def contact(self, contact: ContactId) -> Contact:
        """What is known about a person, within two seconds; never raises for an unknown one.

        Asked before a room is made, whether the session is connected or not: answer from memory where asking
        takes long.
        """
        ...

    def chat_with(self, contact: ContactId) -> ChatId:
        """The private chat with a person, the same each time, and the one that events of this chat name."""
        ...

    async def send(self, message: OutgoingMessage) -> RemoteId:
        """Send; returns the id under which the message is known once the network has accepted it.

        Called for several chats at once; of one chat, the next message comes after this has ended. It ends
        within a minute, with a file within a quarter of an hour: the bridge waits for as long as it takes. It
        may be cancelled at any time, and the same message may then come again, to this session or another
        one.

        With ``message.attempted``, an earlier attempt may have succeeded: where the network can tell, ask it
        first, and if so return the same id. Where it cannot, send again only if its readers know copies by
        their id; else raise with ``certain=False``.

        Raises `NetworkError`. Its text is told to the user: a plain sentence.
        ``retry_after``: seconds after which the same call can succeed; meanwhile, the messages of this chat
        wait behind it. None when it cannot: the user is told, and the next message is sent.
        ``certain``: True when the network surely does not have the message; False when it may.
        While there is no connection: with ``retry_after``, and ``certain``; nothing is kept to be sent later.
        After the credentials were refused: `CredentialsError`, without ``retry_after``.
        """
        ...


@runtime_checkable
class Capable(Protocol):
    """A session that says what it can do. Optional: one without it can do what `Capabilities()` says."""

    @property
    def capabilities(self) -> Capabilities:
        """As far as is known now: they may depend on the server, and count once the session is connected."""
        ...


def capabilities_of(session: Session) -> Capabilities:
    """What a session declares, or nothing."""
    return session.capabilities if isinstance(session, Capable) else Capabilities()


class Network(Protocol):
    """A configured network: one per connector and bridge.

    ``name``: that of the connector. ``title``: how people call the network. Except for `start` and `stop`, its
    methods are called at any time in between, from any task; those about addresses also without any login.
    """

    name: NetworkName
    title: str

    async def start(self) -> None:
        """Called once, before anything else. Raises `ConfigError`, and then the bridge does not start.

        Does not wait for the network: a server that is away is no reason not to start.
        """
        ...

    async def stop(self) -> None:
        """Called once, after the last session has been disconnected; ends what `start` began."""
        ...

    def start_login(self) -> LoginProcess:
        """A new login attempt. Several may be under way."""
        ...

    def open_session(self, login: Login, sink: EventSink) -> Session:
        """The session of a login; not connected yet.

        Raises `BridgeError` when the login cannot be used as the bridge is configured now: the user is shown
        why, and it is tried again where the error has a ``retry_after``.
        """
        ...

    def parse_contact(self, text: str) -> ContactId:
        """The normal form of a contact's address as a person types it; of a `ContactId`, that id itself.

        Every spelling of an address has one normal form, because a contact is known by it: without blanks
        around, without NUL and line breaks, and never the same for two people.
        Raises `UserError` when it is none; the message says what one looks like.
        """
        ...

    def contact_of(self, chat: ChatId) -> ContactId:
        """With whom a private chat is; the reverse of `Session.chat_with`."""
        ...

    def contact_uri(self, contact: ContactId) -> str:
        """A URI for the contact (``mynet:romeo``), shown in room information. What a URI cannot have is quoted."""
        ...


class Connector(Protocol):
    """What an entry point names: turns a section of the configuration into a `Network`.

    ``name``: ``[a-z][a-z0-9]*``, the entry point's own name; it is part of every ghost's user id, so it never
    changes. ``title``: how people call the network. ``api_version``: the `API_VERSION` it was written for.
    ``config_model``: of the section ``networks.<name>``, without ``enabled``; a field of type ``SecretStr`` may
    also be given as a file, ``<field>_file``. Its problems are shown with their place in the configuration.
    """

    name: NetworkName
    title: str
    api_version: int
    config_model: type[BaseModel]

    def build(self, config: BaseModel) -> Network:
        """The network as configured, from an instance of ``config_model``. Raises `ConfigError`; does no I/O."""
        ...
