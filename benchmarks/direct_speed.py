"""How long one decision takes, for an account with ten thousand direct chats and a full journal.

The rule that must never break: what is timed is `observe` alone, on a document that was parsed before,
as the bridge's keeper calls it, and beside it, in turn, what nobody gets around: reading the same content as JSON
and writing it again. Time is the process's own, so that other work on the machine counts for little.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from dm_bridge.direct import (
    Decision,
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
    """Seconds: for a write on an old copy, which is put right; for an account at rest; for the JSON alone."""

    stale: float
    at_rest: float
    json: float


def measure(managed: int, repeats: int = 15) -> Speed:
    """The fastest of ``repeats`` decisions each, with ``managed`` of the entries being the bridge's."""
    mind, values = full_account(managed)
    old = {key: rooms for key, rooms in values.items() if key not in recent(_STALE)}
    old["@new:example.org"] = ["!new:example.org"]
    text = json.dumps(values)
    works = [_decision(mind, old, puts=True), _decision(mind, values, puts=False)]
    fastest = [float("inf")] * 3
    for _ in range(repeats):
        times = [*(work() for work in works), _timed(lambda: json.dumps(json.loads(text)))]
        fastest = list(map(min, fastest, times))
    return Speed(*fastest)


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


def _decision(mind: Mind, values: dict[str, list[str]], *, puts: bool) -> Callable[[], float]:
    def decide() -> float:
        document = _document(values)
        decided: list[Decision] = []
        seconds = _timed(lambda: decided.append(observe(mind, document, at=1000.0).decision))
        assert isinstance(decided[0], Put) is puts
        return seconds

    return decide


def _timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _document(values: dict[str, list[str]]) -> DirectDocument:
    document = DirectDocument.parse(values)
    assert not isinstance(document, Malformed)
    return document
