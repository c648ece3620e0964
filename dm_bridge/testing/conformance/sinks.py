"""What stands in for the bridge while a connector is checked: a sink, and an inbox that knows what it has.

The rule that must never break: the inbox drops a copy exactly when the bridge would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dm_bridge.errors import StorageError
from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.events import (
    ContactMoved,
    ReactionChange,
    RemoteEvent,
    RemoteFailure,
    RemoteMessage,
    RemoteReactions,
    RemoteRead,
    RemoteReceived,
    SessionState,
    SessionStatus,
    Written,
)
from dm_bridge.network.signals import Signal

MAX_CHAT_BYTES = 1000
MAX_POSITION = 10_000


@dataclass
class Inbox:
    """What is committed of one login, whichever sessions brought it.

    ``events``: each once. ``again``: copies that were dropped. ``sent``: what `Session.send` returned, by chat.
    """

    position: str | None = None
    events: list[RemoteEvent] = field(default_factory=list)
    again: list[Written] = field(default_factory=list)
    sent: set[tuple[ChatId, RemoteId]] = field(default_factory=set)
    _known: set[tuple[ChatId, RemoteId]] = field(default_factory=set)

    def commit(self, events: Sequence[RemoteEvent], position: str | None) -> None:
        """Keep what is new of ``events``."""
        known = set(self._known)
        for event in events:
            if isinstance(event, Written) and self._is_copy(event, known):
                self.again.append(event)
            else:
                self.events.append(event)
        if position is not None:
            self.position = position

    def _is_copy(self, event: Written, known: set[tuple[ChatId, RemoteId]]) -> bool:
        if (event.chat, event.id) in self._known:
            return True
        if event.other_id is not None and (event.chat, event.other_id) in known:
            return True
        if event.sent_id is not None and (event.chat, event.sent_id) in self.sent:
            return True
        self._known.add((event.chat, event.id))
        return False

    @property
    def messages(self) -> list[RemoteMessage]:
        return [event for event in self.events if isinstance(event, RemoteMessage)]

    @property
    def failures(self) -> list[RemoteFailure]:
        return [event for event in self.events if isinstance(event, RemoteFailure)]

    def texts(self, chat: ChatId | None = None) -> list[str]:
        """What was written, in order; in one chat or in all."""
        return [m.content.body for m in self.messages if chat is None or m.chat == chat]


class Sink:
    """The `EventSink` of one session. It commits to an inbox, unless it is told to fail.

    ``refuse``: how many deliveries fail with `StorageError`, from the next one on. ``hang_before``,
    ``hang_after``: deliveries with events never return, with nothing or all committed. ``slow``: seconds that
    every other delivery takes.
    ``complaints``: what no sink should be given.
    """

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox
        self.states: list[SessionState] = []
        self.signals: list[Signal] = []
        self.complaints: list[str] = []
        self.refuse = 0
        self.refused = 0
        self.hang_before = self.hang_after = False
        self.hanging = 0
        self.slow = 0.0
        self.closed = False
        self._deliveries = 0
        self._under_way: set[ChatId] = set()

    async def deliver(self, events: Sequence[RemoteEvent], position: str | None = None) -> None:
        """See `EventSink`."""
        self.complaints += complaints(events, position)
        self._deliveries += 1
        chats = {event.chat for event in events}
        if chats & self._under_way:
            self.complaints.append(
                "Two deliveries of one chat at the same time, whose order nobody knows: await the first, and"
                " then make the next."
            )
        if self.closed:
            self.complaints.append(
                "A delivery after `disconnect` has returned: end your tasks in it."
            )
        self._under_way |= chats
        try:
            await asyncio.sleep(self.slow if self._deliveries % 2 else 0)
            if self.refuse and events:
                self.refuse -= 1
                self.refused += 1
                raise StorageError("The database cannot be reached.", retry_after=0.1)
            if self.hang_before and events:
                await self._for_ever()
            self.inbox.commit(events, position)
            if self.hang_after and events:
                await self._for_ever()
        finally:
            self._under_way -= chats

    async def _for_ever(self) -> None:
        self.hanging += 1
        await asyncio.Event().wait()

    def signal(self, signal: Signal) -> None:
        """See `EventSink`."""
        if self.closed:
            self.complaints.append(
                "A signal after `disconnect` has returned: end your tasks in it."
            )
        self.signals.append(signal)

    def report(self, state: SessionState) -> None:
        """See `EventSink`."""
        if self.closed:
            self.complaints.append("A state after `disconnect` has returned: end your tasks in it.")
        self.states.append(state)

    @property
    def statuses(self) -> list[SessionStatus]:
        return [state.status for state in self.states]

    @property
    def status(self) -> SessionStatus | None:
        """The newest."""
        return self.states[-1].status if self.states else None


def complaints(events: Sequence[RemoteEvent], position: str | None) -> Iterator[str]:
    """What is wrong with a delivery, whatever it is about."""
    if position is not None and ("\0" in position or len(position) > MAX_POSITION):
        yield f"A position is text without NUL, of {MAX_POSITION} characters at most; not {position[:80]!r}."
    for event in events:
        if not event.chat or len(event.chat.encode()) > MAX_CHAT_BYTES:
            yield f"A chat's id has 1 to {MAX_CHAT_BYTES} bytes; not {event.chat[:80]!r}."
        if any("\0" in text for text in _ids(event)):
            yield "Ids are text without NUL characters."
        if isinstance(event, Written) and not event.id:
            yield "A message without an id cannot be told from its copies."
        if isinstance(event, Written) and not isinstance(event, RemoteMessage) and not event.target:
            yield "What is done to a message names the message, by its reference."
        if isinstance(event, RemoteReactions):
            yield from _odd_reactions(event)
        if isinstance(event, RemoteFailure) and not event.reason:
            yield "A `RemoteFailure` says why, in a sentence for the user."


def _odd_reactions(event: RemoteReactions) -> Iterator[str]:
    if len(set(event.emojis)) < len(event.emojis) or not all(map(str.strip, event.emojis)):
        yield f"`RemoteReactions.emojis` has each emoji once, and no empty ones; not {event.emojis!r}."
    if not event.emojis and event.change is not ReactionChange.ALL:
        yield "Reactions that come or go name at least one."


def _ids(event: RemoteEvent) -> Iterator[str]:
    yield event.chat
    match event:
        case RemoteMessage():
            yield event.id
            yield event.sender
        case RemoteFailure():
            yield event.message
        case ContactMoved():
            yield from (event.id, event.old, event.new, event.new_chat)
        case RemoteRead() | RemoteReceived():
            yield from (event.id, event.target)
        case _:
            yield from (event.id, event.sender, event.target)
