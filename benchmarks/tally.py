"""Numbered messages, and the check that each arrived exactly once and in order.

The rule that must never break: arrival is what an independent Matrix client saw on /sync; nothing
is counted because somebody says that it was sent.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dm_bridge.testing.matrix_client import MatrixUser, Seen

BODY_LENGTH = 100
_FILLER = "lorem ipsum dolor sit amet " * 8
_TAG = re.compile(r"run (\S+) chat (\S+) message (\d+) ")


class Disorder(Exception):
    """A message was lost, doubled, misplaced or overtaken."""


def body(run: str, chat: str, number: int) -> str:
    """The text of one message: `BODY_LENGTH` characters, plain in every markup."""
    return f"run {run} chat {chat} message {number} {_FILLER}"[:BODY_LENGTH].rstrip()


@dataclass(frozen=True, slots=True)
class _Arrival:
    chat: str
    number: int
    room: str
    sender: str


@dataclass(slots=True)
class Tally:
    """What ``user`` sees of the runs that were announced."""

    user: MatrixUser
    _expected: dict[str, dict[str, int]] = field(default_factory=dict)

    def expect(self, run: str, chats: Mapping[str, int]) -> None:
        """Announce a run: how many messages each chat will have, numbered from 0."""
        if run in self._expected:
            raise ValueError(f"two runs are called {run}")
        self._expected[run] = dict(chats)

    async def finished(self, run: str, after: int, patience: float) -> float:
        """When (`time.monotonic`) the last message of ``run`` arrived.

        ``after``: where in the user's events to begin. Raises `Disorder` when something is missing
        after ``patience`` seconds, or wrong.
        """
        missing = sum(self._expected[run].values())

        def complete(seen: Seen) -> bool:
            nonlocal missing
            found = _arrival(seen, run)
            missing -= found is not None
            return missing == 0

        try:
            last = await self.user.wait_for(complete, patience, after=after)
        except TimeoutError:
            raise Disorder(f"run {run}: {missing} messages did not arrive") from None
        self._audit(run, self.user.seen[after:])
        return last.at

    def audit(self) -> None:
        """Check every run once more, for what came late. Raises `Disorder`."""
        for run in self._expected:
            self._audit(run, self.user.seen)

    def _audit(self, run: str, events: Iterable[Seen]) -> None:
        chats: dict[str, list[_Arrival]] = defaultdict(list)
        for seen in events:
            arrival = _arrival(seen, run)
            if arrival is not None:
                chats[arrival.chat].append(arrival)
        expected = self._expected[run]
        if chats.keys() != expected.keys():
            raise Disorder(f"run {run}: {len(chats)} chats arrived instead of {len(expected)}")
        for chat, arrivals in chats.items():
            numbers = [arrival.number for arrival in arrivals]
            if numbers != list(range(expected[chat])):
                raise Disorder(f"run {run}, chat {chat}: {_trouble(numbers, expected[chat])}")
            if len({(arrival.room, arrival.sender) for arrival in arrivals}) != 1:
                raise Disorder(f"run {run}, chat {chat}: it came in several rooms, or by several")
        if len({arrivals[0].room for arrivals in chats.values()}) != len(chats):
            raise Disorder(f"run {run}: two chats came in one room")


def _arrival(seen: Seen, run: str) -> _Arrival | None:
    if seen.kind != "timeline" or seen.body is None:
        return None
    match = _TAG.match(seen.body)
    if match is None or match.group(1) != run:
        return None
    return _Arrival(match.group(2), int(match.group(3)), seen.room_id, seen.sender)


def _trouble(numbers: list[int], expected: int) -> str:
    if len(set(numbers)) != len(numbers):
        return f"{len(numbers) - len(set(numbers))} messages came twice"
    if len(numbers) != expected:
        return f"{expected - len(numbers)} messages are missing"
    first = next(at for at, number in enumerate(numbers) if number != at)
    return f"message {numbers[first]} came where {first} was due"
