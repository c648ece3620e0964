"""Questions of one kind that wait for the next message of a user in a room. A restart forgets them, by design.

The rule that must never break: a question that nobody answers ends by itself, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.errors import BridgeError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.texts import phrase

PATIENCE = 600.0
"""Seconds after which an unanswered question no longer waits."""


@dataclass
class _Question:
    answer: Answer
    expiry: asyncio.Task[None] | None = None


class Questions:
    """``too_long``: the message that is said when one ends by itself. ``closed``: is told whose has ended."""

    def __init__(self, too_long: str, closed: Callable[[UserId], None] = lambda user: None) -> None:
        self._too_long = too_long
        self._closed = closed
        self._open: dict[tuple[RoomId, UserId], _Question] = {}

    def is_open(self, room: RoomId, user: UserId) -> bool:
        """Whether the next message of ``user`` in ``room`` is an answer."""
        return (room, user) in self._open

    def open(self, room: RoomId, user: UserId, answer: Answer) -> None:
        """Wait for an answer, and no longer than `PATIENCE`."""
        question = self._open[(room, user)] = _Question(answer)

        async def expire() -> None:
            await asyncio.sleep(PATIENCE)
            question.expiry = None
            if self._open.get((room, user)) is question:
                self.close(room, user)
                with contextlib.suppress(BridgeError):
                    await question.answer(Reply(phrase(self._too_long)))

        question.expiry = asyncio.create_task(expire(), name="question")

    def close(self, room: RoomId, user: UserId) -> bool:
        """Wait no more; whether there was something to wait for."""
        question = self._open.pop((room, user), None)
        if question is None:
            return False
        if question.expiry is not None:
            question.expiry.cancel()
        self._closed(user)
        return True
