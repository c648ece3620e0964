"""Whether other processes live, by what is seen of them.

A process raises its beat in the database every tenth of its lease. Whoever does not see it rise for `DEAD` of
the lease, by their own clock and looking all the while, may take it for dead; the process itself acts only while
its own last beat is younger than `ACTS` of the lease. So clocks need not agree, and a database that was away makes
nobody look dead. On the same machine, a process that has ended is known to be dead at once.

The rule that must never break: nobody is taken for dead who may still act.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dm_bridge.store.instances import Instance

BEAT = 0.1
ACTS = 0.5
DEAD = 0.7
GAP = 0.3
"""Of a lease: from the beginning of one beat to the next; what is not taken as looking all the while."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def seconds() -> float:
    """The time by a clock that never jumps, and that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(_CLOCK)


@dataclass(slots=True)
class _Sign:
    beat: int
    since: float


class VitalSigns:
    """What one process, ``me``, has seen of the others. ``now`` is in seconds of a clock that never jumps.

    ``has_ended``: see `Machine`.
    """

    def __init__(self, me: str, has_ended: Callable[[str, str], bool] | None = None) -> None:
        self._me = me
        self._has_ended = has_ended or Machine().has_ended
        self._signs: dict[str, _Sign] = {}
        self._looked: float | None = None

    def see(self, instances: list[Instance], now: float) -> list[Instance]:
        """Look at all; returns those that are dead."""
        shortest = min((instance.lease for instance in instances), default=0.0)
        if self._looked is None or now - self._looked > GAP * shortest:
            self._signs.clear()  # who knows what they did meanwhile
        self._looked = now
        others = [instance for instance in instances if instance.id != self._me]
        self._signs = {other.id: self._sign(other, now) for other in others}
        return [other for other in others if self._is_dead(other, now)]

    def has_ended(self, other: Instance) -> bool:
        """Whether the machine says that it has ended; else silence alone can tell."""
        return self._has_ended(other.place, other.process)

    def _sign(self, other: Instance, now: float) -> _Sign:
        known = self._signs.get(other.id)
        return known if known is not None and known.beat == other.beat else _Sign(other.beat, now)

    def _is_dead(self, other: Instance, now: float) -> bool:
        if other.beat < 0 or self.has_ended(other):
            return True
        return now - self._signs[other.id].since >= DEAD * other.lease


def this_place() -> str:
    """Where the process ids that we see mean something: this boot of this machine, and its part that we see.

    Empty where that cannot be found out.
    """
    try:
        return f"{_BOOT_ID.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def this_process() -> str:
    """This process: its id, and when it was started, because ids are used again."""
    return f"{os.getpid()} {_started(os.getpid())}"


def has_ended(place: str, process: str) -> bool:
    """Whether a process has surely ended: it was here, and is not here any more."""
    if not place or place != this_place():
        return False
    pid, _, started = process.partition(" ")
    if _started(int(pid)) == started:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return bool(
        _stat(int(pid))
    )  # another one has its id, or it is a zombie; else nobody may see it


def _started(pid: int) -> str:
    """The start of a process in ticks since boot; empty when there is none, or when it has ended."""
    stat = _stat(pid)
    return "" if not stat or stat[0] in ("Z", "X") else stat[19]


def _stat(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on; empty when there is none, or it is hidden."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine that we run on says: where we are, who we are there, and who has surely ended."""

    place: Callable[[], str] = this_place
    process: Callable[[], str] = this_process
    has_ended: Callable[[str, str], bool] = has_ended
