"""What bridges do about ``m.direct``: the engine of this one, and the ways of others as baselines.

The baselines are modelled on what is known of other bridges, on lists of entries; they are not their code.

The rule that must never break: a strategy knows what it is shown and what it is told to manage,
and nothing of what anybody meant.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from dm_bridge.direct import (
    DirectDocument,
    Keep,
    Ledger,
    Malformed,
    Mind,
    Put,
    activate,
    manage,
    observe,
)
from dm_bridge.ids import RoomId, UserId
from dm_bridge.testing.writers import BOT, GHOST_PREFIX, Content, entries, put_under


class Strategy(Protocol):
    """Decides for one account."""

    def manage(self, room: str, ghost: str) -> None:
        """From now on ``room`` is to be marked under ``ghost``."""

    def observe(self, content: Content, at: float) -> Content | None:
        """``content`` stands there, ``at`` seconds; what to write, None: nothing."""


class Engine:
    """`dm_bridge.direct.observe`."""

    def __init__(self) -> None:
        self.mind = Mind(Ledger.of(UserId("@user:example.org"), never_keys=[UserId(BOT)]))

    def manage(self, room: str, ghost: str) -> None:
        ledger = manage(self.mind.ledger, RoomId(room), UserId(ghost))
        self.mind = replace(self.mind, ledger=activate(ledger, RoomId(room)))

    def observe(self, content: Content, at: float) -> Content | None:
        document = DirectDocument.parse(content)
        if isinstance(document, Malformed):
            raise ValueError(f"a writer wrote what no homeserver stores: {document.reason}")
        outcome = observe(self.mind, document, at=at)
        self.mind = outcome.mind
        match outcome.decision:
            case Put(written):
                return written.content()
            case Keep():
                return None
        raise AssertionError("a document is never refused")


class _Baseline:
    def __init__(self) -> None:
        self.managed: dict[str, str] = {}

    def manage(self, room: str, ghost: str) -> None:
        self.managed[room] = ghost

    def _missing(self, content: Content) -> list[tuple[str, str]]:
        found = entries(content)
        return [(ghost, room) for room, ghost in self.managed.items() if (ghost, room) not in found]

    def _rooms(self, ghost: str) -> list[str]:
        return [room for room, other in self.managed.items() if other == ghost]


class AddAgain(_Baseline):
    """Appends what is missing, always (as bridgev2)."""

    def observe(self, content: Content, at: float) -> Content | None:
        missing = self._missing(content)
        if not missing:
            return None
        result = copy.deepcopy(content)
        for ghost, room in missing:
            put_under(result, ghost, room)
        return result


class ReplaceLists(_Baseline):
    """``{**current, **new}``: the list of a ghost is replaced (as mautrix-python)."""

    def observe(self, content: Content, at: float) -> Content | None:
        missing = self._missing(content)
        new = {ghost: self._rooms(ghost) for ghost, _ in missing}
        return {**copy.deepcopy(content), **new} if missing else None


class RebuildGhosts(_Baseline):
    """Takes every key of a ghost away and writes all of them anew."""

    def observe(self, content: Content, at: float) -> Content | None:
        others = {key: value for key, value in content.items() if not key.startswith(GHOST_PREFIX)}
        ours = {ghost: self._rooms(ghost) for ghost in self.managed.values()}
        result = {**copy.deepcopy(others), **ours}
        return None if entries(result) == entries(content) else result


class BelieveRemovals(_Baseline):
    """Takes every mark that is gone for the user's decision."""

    def __init__(self) -> None:
        super().__init__()
        self._marked: set[str] = set()
        self._given_up: set[str] = set()

    def observe(self, content: Content, at: float) -> Content | None:
        missing = self._missing(content)
        self._given_up |= {room for _, room in missing if room in self._marked}
        present = self.managed.keys() - {room for _, room in missing}
        self._given_up -= present
        result = copy.deepcopy(content)
        to_add = [entry for entry in missing if entry[1] not in self._given_up]
        for ghost, room in to_add:
            put_under(result, ghost, room)
        self._marked = self.managed.keys() - self._given_up
        return result if to_add else None


ENGINE = "this engine"
ADD_AGAIN = "append, always"
STRATEGIES: Mapping[str, Callable[[], Strategy]] = {
    ENGINE: Engine,
    ADD_AGAIN: AddAgain,
    "replace the ghost's list": ReplaceLists,
    "rebuild all ghosts' keys": RebuildGhosts,
    "every removal is meant": BelieveRemovals,
}
