"""The whole decision, for one account, from one observation to the next.

    what stands there ──> origin ──> judge ──> reconcile ──> Put | Keep | Refuse
                          who made   what did   normal form
                          it, from   they       of our rooms
                          what?      decide?

The rule that must never break: `observe` is a function. The same mind and the same observation
give the same mind and the same decision; a mind that is told of its own written document answers `Keep`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dm_bridge.direct import conflicts
from dm_bridge.direct.change import difference, subjects
from dm_bridge.direct.document import DirectDocument, Malformed, NotSet
from dm_bridge.direct.journal import DEFAULT_BOUNDS, Bounds, Journal, Source
from dm_bridge.direct.judge import judge
from dm_bridge.direct.ledger import DMState, Ledger, forget
from dm_bridge.direct.origin import Kind, Origin, find
from dm_bridge.direct.reasons import LEFT_ALONE
from dm_bridge.direct.reconcile import (
    Decision,
    Keep,
    Put,
    normal_form,
    not_in_form,
    reconcile,
)
from dm_bridge.ids import RoomId


@dataclass(frozen=True, slots=True)
class Mind:
    """What is managed for an account, and what is remembered of its document."""

    ledger: Ledger
    journal: Journal = field(default_factory=Journal)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The decision, and the mind that has taken it.

    The mind of a `Put` takes the write as made. When it surely was not, use ``mind.journal.untried()``.
    """

    mind: Mind
    decision: Decision
    kind: Kind | None = None


def observe(
    mind: Mind,
    observed: DirectDocument | Malformed | NotSet,
    *,
    at: float,
    source: Source = Source.READ,
    bounds: Bounds = DEFAULT_BOUNDS,
    writing: bool = True,
) -> Outcome:
    """What to do about ``observed``, seen ``at`` (seconds since the epoch).

    ``writing``: whether a `Put` will be tried at once. Otherwise it is remembered, and decided upon
    again when the document is next seen.
    """
    if isinstance(observed, Malformed):
        return Outcome(mind, reconcile(mind.ledger, observed))
    document = DirectDocument() if isinstance(observed, NotSet) else observed
    journal = conflicts.calmed(mind.journal, at)
    yielded = conflicts.yielded(journal)
    origin = find(mind.ledger, journal, document)
    judgement = judge(
        mind.ledger,
        journal,
        document,
        origin,
        vanished=isinstance(observed, NotSet),
        yielded=yielded,
    )
    held = judgement.document.keys_of(judgement.ledger.managed)
    rooms = not_in_form(judgement.ledger, held)
    normal = normal_form(judgement.ledger, judgement.document, held, rooms, yielded)
    target = normal.document if isinstance(normal, Put) else judgement.document
    journal = _learn(journal, origin)
    why = tuple(reason for reason in normal.reasons if reason.kind not in LEFT_ALONE)
    if origin.kind is Kind.NOT_WRITTEN:
        why = (*journal.versions[-1].reasons, *why)
        journal = journal.abandon()
    else:
        journal = journal.seen(document, at, source, judgement.reasons, origin.from_head)
    changed = difference(document, target)
    decision: Decision = Keep((*judgement.reasons, *normal.reasons))
    if changed:
        fought = subjects((*changed.added, *changed.removed)) & subjects(
            (*origin.from_head.added, *origin.from_head.removed)
        )
        untried = origin.kind is Kind.NOT_WRITTEN and not mind.journal.attempted
        if origin.kind is not Kind.STALE and not untried:
            journal = conflicts.struggled(journal, fought, at)
        journal = journal.intend(target, at, why, document, attempted=writing, change=changed)
        decision = Put(target, (*judgement.reasons, *normal.reasons))
    ledger = _without_settled(judgement.ledger, document, rooms)
    return Outcome(Mind(ledger, journal.bounded(bounds, at)), decision, origin.kind)


def _learn(journal: Journal, origin: Origin) -> Journal:
    """Learn whether every write of ours comes back as an observation, as long as that is so."""
    if journal.doubt is None or journal.echoes is False:
        return journal
    if origin.kind is Kind.SAME:
        return replace(journal, echoes=True)
    if origin.kind is not Kind.NOT_WRITTEN:
        written = journal.versions[-1].change.added
        if written - origin.from_head.removed:
            return replace(journal, echoes=False)
    return journal


def _without_settled(ledger: Ledger, document: DirectDocument, rooms: Iterable[RoomId]) -> Ledger:
    """Forget retired rooms whose mark was seen to be gone; a decision of the user is remembered.

    ``rooms``: those not in normal form, the retired ones among them.
    """
    retired = [dm for dm in map(ledger.managed.__getitem__, rooms) if dm.state is DMState.RETIRED]
    held = document.keys_of({dm.room for dm in retired})
    gone = [dm.room for dm in retired if not dm.is_marked_by(held.get(dm.room, ()))]
    return forget(ledger, *(room for room in gone if not ledger.managed[room].opted_out))
