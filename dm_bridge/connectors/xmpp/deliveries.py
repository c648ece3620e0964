"""Outgoing messages between "handed to the stream" and "accepted by the server".

The rule that must never break: at any time at most one of us resends a message: the stream, while
it may still be resumed, or the caller, after it was told how its attempt ended.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from dm_bridge.errors import NetworkError
from dm_bridge.texts import phrase

_REMEMBERED = 1000
Outcome = NetworkError | None
"""How an attempt ended: None when the server accepted the message."""


class Deliveries:
    """The messages of one login that are on their way, by id."""

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Future[Outcome]] = {}
        self._accepted: OrderedDict[str, None] = OrderedDict()
        self._sent_back: set[str] = (
            set()
        )  # of the open ones: an error may overtake the acknowledgement

    def __len__(self) -> int:
        return len(self._open)

    def was_accepted(self, identifier: str) -> bool:
        """Whether the server accepted the message not long ago."""
        return identifier in self._accepted

    def pending(self, identifier: str) -> asyncio.Future[Outcome] | None:
        """The attempt under way for this message, if any. Await it only through `asyncio.shield`."""
        return self._open.get(identifier)

    def begin(self, identifier: str) -> asyncio.Future[Outcome]:
        """A new attempt; there must be none under way."""
        assert identifier not in self._open
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._open[identifier] = future
        return future

    def accept(self, identifier: str) -> None:
        """The server has the message."""
        if identifier in self._open:
            if identifier not in self._sent_back:
                self._accepted[identifier] = None
            while len(self._accepted) > _REMEMBERED:
                self._accepted.popitem(last=False)
            self._settle(identifier, None)

    def sent_back(self, identifier: str) -> None:
        """The message was not delivered after all: when it is sent again, it is to be sent."""
        self._accepted.pop(identifier, None)
        if identifier in self._open:
            self._sent_back.add(identifier)

    def abandon(self, *, certain: bool, only: set[str] | None = None) -> None:
        """The stream will not carry these messages (all, or ``only`` some) any more.

        ``certain``: the server surely does not have them.
        """
        for identifier in list(self._open):
            if only is None or identifier in only:
                sentence = phrase("xmpp-lost-before" if certain else "xmpp-lost-while")
                self._settle(identifier, NetworkError(sentence, certain=certain, retry_after=1.0))

    def _settle(self, identifier: str, outcome: Outcome) -> None:
        self._sent_back.discard(identifier)
        future = self._open.pop(identifier)
        if not future.done():
            future.set_result(outcome)
