"""How long one decision takes, for an account with ten thousand direct chats and a full journal.

The rule that must never break: what is timed is `observe` alone, on a document that was parsed before,
as the bridge's keeper calls it. Time is the process's own, so that other work on the machine counts for little.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

from dm_bridge.direct import (
    DirectDocument,
    DMState,
    Ledger,
    Malformed,
    ManagedDM,
    Mind,
    Put,
    observe,
)
from dm_bridge.ids import RoomId, UserId

ENTRIES = 10_000
VERSIONS = 200
_STALE = 100


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds: for a write on an old copy, which is put right; for an account at rest."""

    stale: float
    at_rest: float


def measure(managed: int, repeats: int = 15) -> Speed:
    """The fastest of ``repeats`` decisions each, with ``managed`` of the entries being the bridge's."""
    mind, values = full_account(managed)
    old = {key: rooms for key, rooms in values.items() if key not in recent(_STALE)}
    old["@new:example.org"] = ["!new:example.org"]
    return Speed(
        _fastest(mind, old, repeats, puts=True), _fastest(mind, values, repeats, puts=False)
    )


def recent(count: int) -> set[str]:
    """The keys that came last."""
    return {f"@friend{number}:example.org" for number in range(VERSIONS - count, VERSIONS)}


@functools.cache
def full_account(managed: int) -> tuple[Mind, dict[str, list[str]]]:
    """A mind that has seen `VERSIONS` versions, and what stands there, not to be changed."""
    values = {
        f"@_dm_xmpp_user{n}=40example.org:example.org": [f"!room{n}abcdefghij:example.org"]
        for n in range(ENTRIES)
    }
    dms = [
        ManagedDM(RoomId(rooms[0]), UserId(key), DMState.ACTIVE)
        for key, rooms in list(values.items())[:managed]
    ]
    mind, document = Mind(Ledger.of(UserId("@user:example.org"), dms)), _document(values)
    for number in range(VERSIONS):
        key, room = UserId(f"@friend{number}:example.org"), RoomId(f"!chat{number}:example.org")
        values[key] = [room]
        document = document.edit(ensure=[(key, room)])
        mind = observe(mind, document, at=float(number)).mind
    return mind, values


def _fastest(mind: Mind, values: dict[str, list[str]], repeats: int, *, puts: bool) -> float:
    best = float("inf")
    for _ in range(repeats):
        document = _document(values)
        start = time.process_time()
        outcome = observe(mind, document, at=1000.0)
        best = min(best, time.process_time() - start)
        assert isinstance(outcome.decision, Put) is puts
    return best


def _document(values: dict[str, list[str]]) -> DirectDocument:
    document = DirectDocument.parse(values)
    assert not isinstance(document, Malformed)
    return document
