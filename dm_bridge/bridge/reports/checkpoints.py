"""Message checkpoints: how far each message that a user wrote has come.

Of the steps, CLIENT and HOMESERVER are for others to report. Ours are BRIDGE (taken in), DECRYPTED (only that it
cannot be), REMOTE (what became of it on the network), and COMMAND (it was for the bot).

The rule that must never break: the same is reported once, and what a message says is not part of it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from mautrix.types import EventType, MessageType
from mautrix.util.message_send_checkpoint import (
    MessageSendCheckpoint,
    MessageSendCheckpointReportedBy,
    MessageSendCheckpointStatus,
    MessageSendCheckpointStep,
)

from dm_bridge.ids import EventId, RoomId
from dm_bridge.matrix.homeserver import Json
from dm_bridge.store.outbox import OutboxRow

Step = MessageSendCheckpointStep
Status = MessageSendCheckpointStatus
REMEMBERED = 10_000
_TYPES = {
    str(each): each
    for each in (EventType.ROOM_MESSAGE, EventType.ROOM_ENCRYPTED, EventType.STICKER)
}
_MESSAGES = {
    str(each): each
    for each in (
        MessageType.TEXT,
        MessageType.EMOTE,
        MessageType.NOTICE,
        MessageType.IMAGE,
        MessageType.STICKER,
        MessageType.VIDEO,
        MessageType.AUDIO,
        MessageType.FILE,
        MessageType.LOCATION,
    )
}


class Checkpoints:
    """Makes them; ``put`` takes them, under a key, or is None where nobody collects any."""

    def __init__(
        self,
        put: Callable[[Hashable, Json], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._put = put
        self._clock = clock
        self._reported: OrderedDict[tuple[EventId, Step], tuple[Status, float, int]] = OrderedDict()

    def taken(self, row: OutboxRow) -> None:
        """The event is committed."""
        self._report(row, Step.BRIDGE, Status.SUCCESS)

    def command(self, row: OutboxRow, *, readable: bool) -> None:
        """The event was for the bot, and has been answered."""
        if readable:
            self._report(row, Step.COMMAND, Status.SUCCESS)
        elif not self._undecrypted(row):
            self._report(row, Step.COMMAND, Status.UNSUPPORTED)

    def delivered(self, row: OutboxRow) -> None:
        """The network has the message."""
        self._report(row, Step.REMOTE, Status.SUCCESS)

    def waiting(self, row: OutboxRow, reason: str) -> None:
        """The network does not have it yet; it is tried again."""
        self._report(row, Step.REMOTE, Status.WILL_RETRY, reason)

    def failed(self, row: OutboxRow, reason: str, *, expired: bool, unsendable: bool) -> None:
        """It is not tried any more. ``expired``: after a long time; ``unsendable``: it never can be sent."""
        if unsendable:
            if not self._undecrypted(row, reason):
                self._report(row, Step.REMOTE, Status.UNSUPPORTED, reason)
        else:
            status = Status.TIMEOUT if expired else Status.PERM_FAILURE
            self._report(row, Step.REMOTE, status, reason)

    def sent_back(self, room: RoomId, event: EventId, reason: str) -> None:
        """The network took the message, and reports later that it was not delivered."""
        self._make(room, event, "m.room.message", None, Step.REMOTE, Status.DELIVERY_FAILED, reason)

    def _undecrypted(self, row: OutboxRow, reason: str | None = None) -> bool:
        if row.event.get("type") != "m.room.encrypted":
            return False
        self._report(row, Step.DECRYPTED, Status.UNSUPPORTED, reason)
        return True

    def _report(
        self, row: OutboxRow, step: Step, status: Status, reason: str | None = None
    ) -> None:
        content = row.event.get("content")
        message = content.get("msgtype") if isinstance(content, dict) else None
        kind = row.event.get("type")
        self._make(row.room, row.id, kind, message, step, status, reason, row.received_at)

    def _make(
        self,
        room: RoomId,
        event: EventId,
        kind: object,
        message: object,
        step: Step,
        status: Status,
        reason: str | None,
        attempt: float = 0.0,
    ) -> None:
        if self._put is None or not isinstance(kind, str) or kind not in _TYPES:
            return
        before = self._reported.pop((event, step), None)
        if before is not None and before[:2] == (status, attempt):
            self._reported[event, step] = before
            return
        number = 0 if before is None else before[2] + 1
        self._reported[event, step] = status, attempt, number
        while len(self._reported) > REMEMBERED:
            self._reported.popitem(last=False)
        checkpoint = MessageSendCheckpoint(
            event_id=event,
            room_id=room,
            step=step,
            timestamp=int(self._clock() * 1000),
            status=status,
            event_type=_TYPES[kind],
            reported_by=MessageSendCheckpointReportedBy.BRIDGE,
            retry_num=number,
            message_type=_MESSAGES.get(message) if isinstance(message, str) else None,
            info=reason or None,
        )
        self._put((event, step, number), checkpoint.serialize())
