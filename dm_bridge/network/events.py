"""What a network session reports: messages, failures of earlier sends, contacts that moved, its own state.

The rule that must never break: an event carries everything needed to process it later, in another
process, without asking the session again; it can be stored and read back unchanged.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dm_bridge.ids import ChatId, ContactId, RemoteId


@dataclass(frozen=True, slots=True)
class Text:
    """A text message.

    ``body``: plain text, always present, without any network's markup where ``html`` says it.
    ``html``: the same with formatting, in the HTML subset that Matrix recommends
    (``org.matrix.custom.html``), or None when there is none. Untrusted: each side sanitises it.
    ``emote``: a ``/me`` message; ``body`` is then without the ``/me``.
    """

    body: str
    html: str | None = None
    emote: bool = False


@dataclass(frozen=True, slots=True)
class RemoteMessage:
    """A message in a private chat, by the contact or by the user from another device.

    ``id``: unique within the chat and the same when the network delivers the message again.
    ``from_self``: the login's own user wrote it elsewhere. ``sender``: who wrote it.
    ``sent_at``: seconds since the epoch, or None when the network does not say.
    ``sender_name``: a name the sender gives themselves in this very message, if any.
    ``other_id``: a second id under which this very message may have been delivered before; ``sent_id``: what
    `Session.send` returned, if the message may be one that the bridge sent. Either drops a copy. Only for
    messages read from a network's record, where a session cannot tell.
    """

    chat: ChatId
    id: RemoteId
    sender: ContactId
    from_self: bool
    content: Text
    sent_at: float | None = None
    sender_name: str | None = None
    other_id: RemoteId | None = None
    sent_id: RemoteId | None = None


@dataclass(frozen=True, slots=True)
class RemoteFailure:
    """The network reports, later, that a message we sent was not delivered.

    ``message``: the id that `Session.send` returned. ``reason``: a sentence for the user, plain text.
    """

    chat: ChatId
    message: RemoteId
    reason: str


@dataclass(frozen=True, slots=True)
class ContactMoved:
    """A contact has another address (a nick change, an account that moved): the chat goes on with it.

    Reported only when the network, or the connector itself, made sure that both are the same person; who
    takes over an address that became free must not get the chat. ``chat`` and ``old``: as they were until
    now; ``new_chat`` and ``new``: as they are from now on. ``name``: what the contact calls themselves.
    ``id``: unique within ``chat``, and the same when the network reports this very move again.
    """

    chat: ChatId
    id: RemoteId
    old: ContactId
    new: ContactId
    new_chat: ChatId
    name: str | None = None


RemoteEvent = RemoteMessage | RemoteFailure | ContactMoved


class SessionStatus(enum.Enum):
    """The life of a session; values follow the bridge-state vocabulary of Matrix bridges."""

    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    TRANSIENT_DISCONNECT = "TRANSIENT_DISCONNECT"
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    LOGGED_OUT = "LOGGED_OUT"
    UNKNOWN_ERROR = "UNKNOWN_ERROR"


@dataclass(frozen=True, slots=True)
class SessionState:
    """Where a session stands. ``reason``: a sentence for the user, when there is one to tell."""

    status: SessionStatus
    reason: str = ""
