"""When to stop fighting: a room that others keep changing back is left alone for a while.

A struggle is counted whenever a decision puts right what had been right before, and its writer knew
that, or wrote the very same document again. Somebody with an old copy does not count: every write
of theirs is something new, is answered by one of ours at most, and they will catch up in the end.

The rule that must never break: against writers who keep changing the same thing back, the number of our
writes about it is bounded, by `LIMIT` until it has been calm for `CALM` seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

from dm_bridge.direct.change import Subject
from dm_bridge.direct.journal import Journal, Struggle

LIMIT = 5
CALM = 3600.0
"""Seconds without a struggle after which one is forgotten."""


def yielded(journal: Journal) -> frozenset[Subject]:
    """What is not fought over any more, for now. Ask after `calmed`."""
    return frozenset(what for what, s in journal.struggles.items() if s.times >= LIMIT)


def calmed(journal: Journal, now: float) -> Journal:
    """Without the struggles that have been over for long."""
    kept = {what: s for what, s in journal.struggles.items() if 0 <= now - s.at < CALM}
    if len(kept) == len(journal.struggles):
        return journal
    return replace(journal, struggles=MappingProxyType(kept))


def struggled(journal: Journal, what: Iterable[Subject], now: float) -> Journal:
    """Each of ``what`` was changed back by others, and put right again by us."""
    struggles = dict(journal.struggles)
    for one in what:
        before = struggles.get(one)
        struggles[one] = Struggle((before.times if before else 0) + 1, now)
    return replace(journal, struggles=MappingProxyType(struggles))


def at_peace(journal: Journal) -> Journal:
    """Without any struggle: somebody asked to try again."""
    return replace(journal, struggles=MappingProxyType({}))
