"""Where the import of one login stands, and what that means for its chats. Pure: no I/O, no clock.

A chat is *found*, with its newest messages or some of them. It is *housed* when it has a room, and *settled* with
the others of its batch, which are marked as direct chats in one write. What it lacks may come with the search, or
is *asked* for; then all that is wanted has been *taken* into the inbox, and is *shown*. A chat of which no message
was found yet is taken first: then its room is *made*, and it is *ready* with its batch. A chat in which something
new waits goes before the others, and does not wait for them.

The rule that must never break: nothing new of a chat is shown before what is older of it, unless the older is
given up.
"""

from __future__ import annotations

import enum
import math
from typing import Protocol

from dm_bridge.ids import ChatId, PortalKey


class Door(enum.Enum):
    """What the lane of a chat may do: nothing yet, make its room, or show what waits."""

    SHUT = "shut"
    AJAR = "ajar"
    OPEN = "open"


class Doors(Protocol):
    """What lanes ask, and tell: `dm_bridge.bridge.imports`."""

    def door(self, key: PortalKey) -> Door:
        """What the lane of a chat in which something waits may do now; when that changes, it is woken."""
        ...

    def waits(self, key: PortalKey) -> None:
        """Somebody has written in a chat whose door is shut."""
        ...

    def made(self, key: PortalKey) -> None:
        """The chat has a room, as far as one can be made."""
        ...

    def shown(self, key: PortalKey) -> None:
        """Nothing waits in the chat any more."""
        ...

    def left(self, key: PortalKey) -> None:
        """The door is shut, and nothing of the chat is on its way."""
        ...


class NoDoors:
    """Where nothing is ever brought over."""

    def door(self, key: PortalKey) -> Door:
        return Door.OPEN

    def waits(self, key: PortalKey) -> None: ...

    def made(self, key: PortalKey) -> None: ...

    def shown(self, key: PortalKey) -> None: ...

    def left(self, key: PortalKey) -> None: ...


class Stage(enum.Enum):
    """How far a chat is. ``ASKING``: what it lacks is asked for. ``TAKING``: whether its messages are in the inbox
    is about to be decided. The search goes on to add until that is: it never comes back to what it has left out.
    """

    FOUND = "found"
    HOUSING = "housing"
    HOUSED = "housed"
    SETTLED = "settled"
    ASKING = "asking"
    TAKING = "taking"
    TAKEN = "taken"
    MADE = "made"
    READY = "ready"
    SHOWING = "showing"


UNTAKEN = frozenset({Stage.FOUND, Stage.HOUSING, Stage.HOUSED, Stage.SETTLED, Stage.ASKING})
"""How far a chat is of which not all that is wanted is in the inbox."""
_UNDECIDED = UNTAKEN | {Stage.TAKING}
ROOMLESS = frozenset({Stage.FOUND, Stage.TAKEN})
"""How far a chat is that may have no room yet."""
_DOORS = {
    Stage.FOUND: Door.SHUT,
    Stage.HOUSING: Door.AJAR,
    Stage.HOUSED: Door.SHUT,
    Stage.SETTLED: Door.SHUT,
    Stage.ASKING: Door.SHUT,
    Stage.TAKING: Door.SHUT,
    Stage.TAKEN: Door.AJAR,
    Stage.MADE: Door.SHUT,
    Stage.READY: Door.SHUT,
    Stage.SHOWING: Door.OPEN,
}


_UNSHOWN = frozenset(
    {Stage.SETTLED, Stage.ASKING, Stage.TAKING, Stage.READY, Stage.SHOWING},
)
"""How far a chat is that has its room, and waits for its messages alone."""
_SETTLED = {Stage.HOUSED: Stage.SETTLED, Stage.MADE: Stage.READY}


class ImportState:
    """``searching``: more of the record is looked at. ``finding``: it may have chats that are not known.
    ``making``: more rooms may be made. ``messages``: how many are wanted of each chat.

    ``total``: chats of the import, also those that are done.
    """

    def __init__(self, messages: int, *, searching: bool) -> None:
        self.searching = searching
        self.finding = searching
        self.making = True
        self.total = 0
        self._messages = messages
        self._stages: dict[ChatId, Stage] = {}
        self._places: dict[ChatId, str | None] = {}
        self._had: dict[ChatId, int] = {}
        self._apart: set[ChatId] = set()
        self._urgent: dict[ChatId, None] = {}
        self._batch: set[ChatId] = set()
        self._most = math.inf

    # -- which chats

    def add(
        self, chat: ChatId, place: str | None, had: int = 0, stage: Stage = Stage.FOUND
    ) -> None:
        """So many more messages of a conversation are there. ``place``: what is older begins there, if any is."""
        if chat in self._apart:
            return
        if chat not in self._stages:
            self._stages[chat] = stage
            self.total += 1
        self._places[chat] = place
        self._had[chat] = self._had.get(chat, 0) + had

    def add_no_more(self) -> None:
        """The record is at its end: what chats lack is not there."""
        for chat in [each for each in self._places if self.lacks(each)]:
            self._places[chat] = None

    def leave_out(self, chat: ChatId) -> None:
        """A chat that goes on without its history."""
        self._apart.add(chat)
        self.drop(chat)

    def drop(self, chat: ChatId) -> None:
        """A chat is done."""
        self._stages.pop(chat, None)
        self._places.pop(chat, None)
        self._had.pop(chat, None)
        self._urgent.pop(chat, None)

    def follow(self, earlier: ImportState) -> None:
        """Take over what is not recorded: what goes on without its history, and where something new waits."""
        for chat in earlier._apart:
            self.leave_out(chat)
        self._urgent = {chat: None for chat in earlier._urgent if self.door(chat) is not Door.OPEN}

    @property
    def chats(self) -> list[ChatId]:
        """Those that are not done."""
        return list(self._stages)

    @property
    def left(self) -> int:
        """How many chats are not done."""
        return len(self._stages)

    # -- what is missing

    def wants(self, chat: ChatId) -> int | None:
        """How many more messages of a chat are wanted from the search; None: of a chat that is not known."""
        if chat in self._apart:
            return 0
        stage = self._stages.get(chat)
        if stage is None:
            return None
        return self.lacks(chat) if stage in _UNDECIDED else 0

    def lacks(self, chat: ChatId) -> int:
        """How many messages of a chat are missing, as far as there are any."""
        missing = max(0, self._messages - self._had.get(chat, 0))
        return missing if self._places.get(chat) is not None else 0

    @property
    def lacking(self) -> tuple[int, int]:
        """How many chats the search may complete, and how many messages they lack."""
        untaken = [c for c, stage in self._stages.items() if stage in UNTAKEN - {Stage.ASKING}]
        missing = [lacks for chat in untaken if (lacks := self.lacks(chat))]
        return len(missing), sum(missing)

    def place(self, chat: ChatId) -> str | None:
        """Where what is older than all that is there begins."""
        return self._places.get(chat)

    # -- how far they are

    def stage(self, chat: ChatId) -> Stage | None:
        """How far a chat is; None when it is not part of the import, or done."""
        return self._stages.get(chat)

    def move(self, chat: ChatId, stage: Stage) -> None:
        """A chat is that far now."""
        if chat in self._stages:
            self._stages[chat] = stage

    def shut(self) -> list[ChatId]:
        """Shut all doors; of which chats something may be on its way."""
        self.searching = False
        showing = [chat for chat, stage in self._stages.items() if stage is Stage.SHOWING]
        self._stages = dict.fromkeys(self._stages, Stage.FOUND)
        return showing

    def door(self, chat: ChatId) -> Door:
        """What the chat's lane may do now."""
        stage = self._stages.get(chat)
        if stage is not None:
            return _DOORS[stage]
        return Door.SHUT if self.searching and chat not in self._apart else Door.OPEN

    def hurry(self, chat: ChatId) -> None:
        """Something new waits in a chat: it goes before the others."""
        if self.door(chat) is not Door.OPEN:
            self._urgent[chat] = None

    def is_urgent(self, chat: ChatId) -> bool:
        """Whether something new waits in it."""
        return chat in self._urgent

    def begin_batch(self, most: float) -> None:
        """The rooms of so many chats from now on are marked together."""
        self._batch, self._most = set(), most

    def join_batch(self, chat: ChatId) -> bool:
        """The room of a chat is about to be made, if it has none; whether the batch is full by that."""
        if self._stages.get(chat) not in ROOMLESS:
            return False
        self._batch.add(chat)
        return self.is_full

    def close_batch(self) -> bool:
        """No more rooms are waited for; whether there is any in the batch."""
        if self._batch:
            self._most = len(self._batch)
        return self.is_full

    @property
    def is_full(self) -> bool:
        """Whether no more rooms are made for this batch."""
        return len(self._batch) >= self._most

    @property
    def is_building(self) -> bool:
        """Whether rooms can be made while the search may bring what their chats lack."""
        return self.searching and any(
            stage is Stage.FOUND and self._had[chat] for chat, stage in self._stages.items()
        )

    def is_ahead(self, most: int) -> bool:
        """Whether so many chats have a room and their messages are not shown yet, and that is enough: homeservers
        are slower the more rooms their users have.
        """
        if self.searching or self._urgent:
            return False
        return sum(stage in _UNSHOWN for stage in self._stages.values()) >= most

    @property
    def is_waiting(self) -> bool:
        """Whether nothing has been begun yet for a chat that is known."""
        return Stage.FOUND in self._stages.values()

    def to_make(self, *, ask: bool = True) -> list[ChatId]:
        """The chats for whose rooms something can be done, those in which something new waits first.

        ``ask``: what is lacking of those without any message may be asked for. When the batch is full, no room is
        begun.
        """
        found = [chat for chat in self._stages if self._may_be_made(chat, ask)]
        return sorted(found, key=lambda chat: (chat not in self._urgent, not self._had[chat]))

    def is_to_be_housed(self, chat: ChatId) -> bool:
        """Whether a chat is to have its room before its messages are taken."""
        found = self._stages.get(chat) is Stage.FOUND and self._had[chat] > 0
        return found and chat not in self._urgent

    def _may_be_made(self, chat: ChatId, ask: bool) -> bool:
        stage, urgent = self._stages[chat], chat in self._urgent
        if self.is_full and stage in ROOMLESS:
            return False
        match stage:
            case Stage.FOUND:
                return urgent or ask or self._had[chat] > 0
            case Stage.TAKEN:
                return True
            case Stage.HOUSED | Stage.MADE:
                return urgent
            case _:
                return False

    def release(self) -> None:
        """The rooms that are made are enough for one batch."""
        self._stages = {chat: _SETTLED.get(stage, stage) for chat, stage in self._stages.items()}

    def to_show(self, *, ask: bool = True) -> list[ChatId]:
        """The chats whose batch is complete. Those in which something new waits come first, then those that lack
        nothing.

        ``ask``: what others lack may be asked for.
        """
        found = [chat for chat in self._stages if self._may_be_shown(chat, ask)]
        return sorted(found, key=lambda chat: (chat not in self._urgent, self._is_lacking(chat)))

    def _may_be_shown(self, chat: ChatId, ask: bool) -> bool:
        stage = self._stages[chat]
        if stage is Stage.SETTLED:
            return ask or not self._is_lacking(chat) or chat in self._urgent
        return stage is Stage.READY

    def _is_lacking(self, chat: ChatId) -> bool:
        return self._stages[chat] is Stage.SETTLED and self.lacks(chat) > 0
