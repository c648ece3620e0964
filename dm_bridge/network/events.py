"""What a network session delivers: messages and what people do to them, contacts that moved, and its own state.

The rule that must never break: an event carries everything needed to process it later, in another
process, without asking the session again; it can be stored and read back unchanged.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.media import Media, Place


@dataclass(frozen=True, slots=True)
class Text:
    """A text message.

    ``body``: plain text, always present: what somebody sees who sees no formatting. It has no control codes of
    a network; marks that people type themselves, such as ``*so*``, may stay. Any character may be in it,
    also ones that a network cannot carry: those are replaced or left out, and never end the message.
    ``html``: the same with formatting, in the HTML subset that Matrix recommends
    (``org.matrix.custom.html``), or None when there is none. Untrusted: each side sanitises it.
    ``emote``: a ``/me`` message; ``body`` and ``html`` are then without the ``/me``.
    ``mention``: it speaks to the other one of the two by name, and wants to be noticed. That it answers
    a message of theirs is not said by it.
    """

    body: str
    html: str | None = None
    emote: bool = False
    mention: bool = False


@dataclass(frozen=True, slots=True)
class RemoteMessage:
    """A message in a private chat, by the contact or by the user from another device.

    ``chat``: a chat's id has at most some 1,000 bytes. ``id``: unique within the chat, of any length, and the
    same whenever the network delivers the message again: live, late, as a copy, from its record, to
    another session. By it a copy is known. All ids are text without NUL, and not empty.
    ``from_self``: the login's own user wrote it elsewhere; ``sender`` is then `Login.remote`, else the contact.
    What `Session.send` sent is not delivered.
    ``sent_at``: seconds since the epoch, or None when the network does not say.
    ``sender_name``: a name the sender gives themselves in this very message, if any.
    ``other_id``: a second id under which this very message may have been delivered before; ``sent_id``: what
    `Session.send` returned, if the message may be one that the bridge sent. Either drops a copy. Only for
    messages read from a network's record, where a session cannot tell.
    ``reference``: by which id others speak of this message (edits, replies, reactions, receipts), where that is
    not ``id``. It need not be unique; of several messages of one author, the newest is meant.
    ``reply_to``: the reference of the message that this one answers; without any quote of it in ``content``.
    ``quote``: what the network says of the message that is answered, plain and short; shown only where that
    message is not known.
    ``attachment``: a file or a place; ``content`` is then what is said of it, and its body "" when nothing is.
    ``unreadable``: it is encrypted from end to end; ``content`` says so, and what the user can do. Of several
    such messages in a row, the first is shown.
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
    reference: RemoteId | None = None
    reply_to: RemoteId | None = None
    attachment: Media | Place | None = None
    unreadable: bool = False
    quote: str = ""


@dataclass(frozen=True, slots=True)
class RemoteEdit:
    """The author of a message has changed it. ``content``: what it says now, all of it.

    Of a message with a file, ``content`` is what is said of the file; with an ``attachment``, it takes the place
    of the one before, without it that one stays.

    ``target``: the reference of the message, of the same author; after several edits still the first one's, or
    that of the edit before. An edit of a message that the bridge does not know is shown as a message.
    ``id``, ``reference`` and all else: as in `RemoteMessage`; an edit has an id of its own.
    """

    chat: ChatId
    id: RemoteId
    target: RemoteId
    sender: ContactId
    from_self: bool
    content: Text
    sent_at: float | None = None
    other_id: RemoteId | None = None
    sent_id: RemoteId | None = None
    reference: RemoteId | None = None
    attachment: Media | Place | None = None


@dataclass(frozen=True, slots=True)
class RemoteRetraction:
    """The author of a message has taken it back. ``target``: as in `RemoteEdit`."""

    chat: ChatId
    id: RemoteId
    target: RemoteId
    sender: ContactId
    from_self: bool
    sent_at: float | None = None
    other_id: RemoteId | None = None
    sent_id: RemoteId | None = None


class ReactionChange(enum.Enum):
    """How `RemoteReactions.emojis` are meant: all that there are now, or only those that come or go."""

    ALL = "all"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class RemoteReactions:
    """Somebody reacts to a message, of whichever author. ``emojis``: each once; empty with ``ALL``: no more.

    ``target``: the reference of the message. ``id``: unique within the chat, like that of a message.
    """

    chat: ChatId
    id: RemoteId
    target: RemoteId
    sender: ContactId
    from_self: bool
    emojis: tuple[str, ...]
    change: ReactionChange = ReactionChange.ALL
    sent_at: float | None = None
    other_id: RemoteId | None = None
    sent_id: RemoteId | None = None


@dataclass(frozen=True, slots=True)
class RemoteRead:
    """Somebody has read a message, and all before it: the contact one of the user's, or the user, on another
    device, one of the contact's (``from_self``).

    ``target``: the reference of the message, or its `RemoteMessage.id`. ``id``: unique within the chat, and the
    same when the network says it again. One about a message that the bridge does not know is dropped.
    """

    chat: ChatId
    id: RemoteId
    target: RemoteId
    from_self: bool


@dataclass(frozen=True, slots=True)
class RemoteReceived:
    """A device of the contact has a message of the user. ``target``, ``id``: as in `RemoteRead`."""

    chat: ChatId
    id: RemoteId
    target: RemoteId


@dataclass(frozen=True, slots=True)
class RemoteFailure:
    """The network reports, later, that a message we sent was not delivered.

    Delivered after `Session.send` has returned. ``message``: the id that it returned. ``reason``: a sentence for
    the user, plain text on one line.
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


Written = RemoteMessage | RemoteEdit | RemoteRetraction | RemoteReactions
"""What a person does in a chat."""

Receipt = RemoteRead | RemoteReceived
"""What became of a message at its reader's."""

RemoteEvent = Written | Receipt | RemoteFailure | ContactMoved


class SessionStatus(enum.Enum):
    """The life of a session; values follow the bridge-state vocabulary of Matrix bridges.

    ``CONNECTING``: at the beginning, and before another attempt where a session likes to say so.
    ``CONNECTED``: messages go both ways; after it, only a loss is reported.
    ``TRANSIENT_DISCONNECT``: there is no connection, and the session tries again by itself.
    ``BAD_CREDENTIALS``: the network refuses the credentials: reported once, then no more attempts, because
    they could lock the user out; ``reason`` says what the user can do. ``LOGGED_OUT``: the same, after the user
    has ended the login elsewhere. ``UNKNOWN_ERROR``: something went wrong that the connector does not
    expect; the session goes on trying.
    """

    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    TRANSIENT_DISCONNECT = "TRANSIENT_DISCONNECT"
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    LOGGED_OUT = "LOGGED_OUT"
    UNKNOWN_ERROR = "UNKNOWN_ERROR"


@dataclass(frozen=True, slots=True)
class SessionState:
    """Where a session stands. ``reason``: one plain sentence for the user, without secrets; "" for none."""

    status: SessionStatus
    reason: str = ""
