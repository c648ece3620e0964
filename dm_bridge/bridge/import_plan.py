"""What of a network's record is wanted for an import, and what of it the user has read. Pure.

The rule that must never break: of a chat, what is taken has no gap: everything from its newest message back to a
place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.events import RemoteEvent, RemoteMessage, RemoteRead, Written
from dm_bridge.network.history import RecordPart

READ = RemoteId("history:read")


@dataclass(slots=True)
class Pick:
    """Of one chat: ``events``, the oldest first, and how many ``messages`` are among them. ``before``: the place
    before them. ``new``: it was not known before; ``displayed``: what its user has read, if that is known.
    """

    chat: ChatId
    new: bool
    displayed: RemoteId | None
    before: str = ""
    events: list[Written | RemoteRead] = field(default_factory=list)
    messages: int = 0


def pick(
    part: RecordPart,
    wants: Callable[[ChatId], int | None],
    conversations: int,
    messages: int,
) -> list[Pick]:
    """What to take of a part; of the chats with the newest messages first.

    ``wants``: how many more messages of a chat, None when it is not known; of those there may be
    ``conversations`` more, of each ``messages``.
    """
    picks: dict[ChatId, Pick] = {}
    left: dict[ChatId, int] = {}
    after: dict[ChatId, list[Written | RemoteRead]] = {}  # what was read since the newest message
    for entry in reversed(part.entries):
        chat = entry.event.chat
        if chat not in left:
            wanted = wants(chat)
            if wanted is None:
                if conversations <= 0:
                    continue
                if not isinstance(entry.event, Written):
                    after.setdefault(chat, []).append(entry.event)
                    continue
                conversations -= 1
            left[chat] = messages if wanted is None else wanted
            if left[chat] > 0:
                displayed, reads = part.displayed.get(chat), after.pop(chat, [])
                picks[chat] = Pick(chat, wanted is None, displayed, events=reads)
        if left[chat] <= 0:
            continue
        taken = picks[chat]
        taken.events.append(entry.event)
        taken.before = entry.before
        if isinstance(entry.event, RemoteMessage):
            taken.messages += 1
            left[chat] -= 1
    for taken in picks.values():
        taken.events.reverse()
    return list(picks.values())


def read_mark(
    chat: ChatId, events: Sequence[RemoteEvent], displayed: RemoteId | None
) -> RemoteRead | None:
    """Up to where the user has read what is brought over of a chat; None: there is nothing to be said.

    Where the network does not know that, all of it: who logs in has seen their chats elsewhere. What it knows of
    a message that is not among them is either newer, and comes by itself, or older: then nothing of it was read.
    """
    newest: RemoteId | None = None
    for event in events:
        if isinstance(event, RemoteMessage) and not event.from_self:
            newest = event.id
        if displayed is not None and getattr(event, "id", None) == displayed:
            break
    else:
        if displayed is not None:
            return None
    return None if newest is None else RemoteRead(chat, READ, newest, from_self=True)
