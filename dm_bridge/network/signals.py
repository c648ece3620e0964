"""What a session says that is gone a moment later: who is typing, who is there.

The rule that must never break: nothing depends on a signal. It is never stored, and may be dropped.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dm_bridge.ids import ChatId, ContactId


class Availability(enum.Enum):
    """Whether a person is there; values are those of Matrix presence."""

    ONLINE = "online"
    AWAY = "unavailable"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class RemoteTyping:
    """A contact types, or has stopped. What is not said again within `TYPING_SECONDS` is over by itself.

    A message of the contact ends it as well; a session need not say so.
    """

    chat: ChatId
    sender: ContactId
    typing: bool


@dataclass(frozen=True, slots=True)
class RemotePresence:
    """A contact came, went, or says something else about it. ``text``: what they say, "" for nothing.

    While a session is not connected, nobody is taken to be there; a session need not say so.
    """

    chat: ChatId
    sender: ContactId
    availability: Availability
    text: str = ""


@dataclass(frozen=True, slots=True)
class RemoteProfile:
    """How a contact is called, and looks, now. None: unchanged, or not known; "": none any more.

    ``name``, ``private_name``: as in `Contact`. ``avatar``: what `Profiles.avatar` is to be asked for, at most
    200 characters, another one for every picture. Said whenever a session learns of it, also again.
    """

    contact: ContactId
    name: str | None = None
    private_name: str | None = None
    avatar: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteRequest:
    """Somebody asks the user to be a contact of theirs, and waits for an answer (`Answers`).

    Said whenever the network says so, also again. ``name``: what they call themselves; ``text``: what they say
    with it. ``withdrawn``: they do not ask any more, or another device of the user has answered.
    """

    contact: ContactId
    name: str | None = None
    text: str = ""
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class RemoteLimit:
    """The contact does not see something that the user has just done, because their client does not know it.

    Said once for each chat and ``what``, a word for the kind of thing. ``text``: one plain sentence for the user.
    """

    chat: ChatId
    what: str
    text: str


Signal = RemoteTyping | RemotePresence | RemoteProfile | RemoteRequest | RemoteLimit

TYPING_SECONDS = 30.0
"""For how long somebody who was said to type is taken to type."""
