"""From what is remembered of an account, a trace that `dm_bridge.direct.replay` plays again.

A journal says what stood there, and why something was done about it. It does not say what the bridge
managed at the time, nor what the user told the bot. Both are concluded from the reasons:

* a room is managed from where it first stands under its ghost, or right before the first decision that
  concerns it, whichever comes first; not before a removal that nobody minded;
* a room that is marked, although it was not to be, or unmarked for one of the reasons that come from
  outside of the document (opted out, retired), was decided about right before that;
* a write that no version gave rise to answers a change of what is managed: what stood there is observed
  once more, so that the replay can make that write;
* a user whom we know as one of the bridge only from a reason becomes an earlier id of the room's ghost.

Every operation is played here as well, so that the trace is put right, by ``opt_out`` and ``opt_in``, where
the replay decides otherwise than was decided then. That happens where what is not in the journal
mattered: versions that are forgotten, a repair that was asked for during a conflict, another limit on what
is remembered.

The rule that must never break: at its end, the trace leaves exactly those rooms opted out that the ledger
says are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dm_bridge.direct.change import Atom
from dm_bridge.direct.journal import Journal, Source, Version
from dm_bridge.direct.ledger import DMState, Ledger, ManagedDM
from dm_bridge.direct.past import Past
from dm_bridge.direct.reasons import Reason, ReasonKind
from dm_bridge.direct.replay import Replay
from dm_bridge.ids import RoomId

Operation = dict[str, Any]


def trace(ledger: Ledger, journal: Journal) -> Iterator[Operation]:
    """The operations of a trace, oldest first; one at a time, since each may hold a whole document."""
    tracer = _Tracer(ledger, journal)
    for number, decision in enumerate(tracer.decisions):
        tracer.decide(number, decision)
        yield from tracer.taken()
    tracer.finish()
    yield from tracer.taken()


class _Was(enum.Enum):
    """What a room was to the bridge when a decision was taken."""

    WANTED = "wanted"
    OPTED_OUT = "opted_out"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class _Fact:
    """What a reason says of a room. ``ghost``, ``alias``, ``ours``: a key that is one, if it says so."""

    room: str
    was: _Was
    ghost: str | None = None
    alias: str | None = None
    ours: str | None = None


@dataclass(frozen=True, slots=True)
class _Decision:
    """What was seen, and what was written because of it; one of both may be missing."""

    seen: Version | None
    written: Version | None

    def facts(self) -> list[_Fact]:
        """What its reasons say of rooms, as they were before it."""
        facts = [] if self.seen is None else [f for r in self.seen.reasons if (f := _before(r))]
        named = {fact.room for fact in facts}
        if self.written is not None:
            facts += [f for r in self.written.reasons if r.room not in named and (f := _asked(r))]
        return facts

    def change(self) -> tuple[frozenset[Atom], frozenset[Atom]]:
        """What was added and removed by it, all in all."""
        added: frozenset[Atom] = frozenset()
        removed: frozenset[Atom] = frozenset()
        for version in (self.seen, self.written):
            if version is not None:
                come, gone = version.change.added, version.change.removed
                added, removed = (
                    (added - gone) | (come - removed),
                    (removed - come) | (gone - added),
                )
        return added, removed

    def outcomes(self) -> dict[str, bool]:
        """The rooms about which the user decided by what was seen: whether each is opted out since."""
        reasons = () if self.seen is None else self.seen.reasons
        facts = [fact for reason in reasons if (fact := _before(reason)) is not None]
        return {fact.room: fact.was is _Was.WANTED for fact in facts}


def _before(reason: Reason) -> _Fact | None:
    """What a reason of something seen says of the time before."""
    if reason.room is None:
        return None
    match reason.kind:
        case ReasonKind.USER_UNMARKED | ReasonKind.REKEYED:
            return _Fact(reason.room, _Was.WANTED)
        case ReasonKind.USER_MARKED:
            return _Fact(reason.room, _Was.OPTED_OUT)
        case _:
            return None


def _asked(reason: Reason) -> _Fact | None:
    """What a reason of something written says."""
    if reason.room is None:
        return None
    match reason.kind:
        case ReasonKind.MARKED:
            return _Fact(reason.room, _Was.WANTED, ghost=reason.key)
        case ReasonKind.MERGED_FROM_ALIAS:
            return _Fact(reason.room, _Was.WANTED, alias=reason.key)
        case ReasonKind.REMOVED_FROM_BRIDGE_USER:
            return _Fact(reason.room, _Was.WANTED, ours=reason.key)
        case ReasonKind.REMOVED_FROM_OTHER:
            return _Fact(reason.room, _Was.WANTED)
        case ReasonKind.UNMARKED_OPTED_OUT:
            return _Fact(reason.room, _Was.OPTED_OUT, alias=reason.key)
        case ReasonKind.OPTED_OUT:
            return _Fact(reason.room, _Was.OPTED_OUT, ghost=reason.key)
        case ReasonKind.UNMARKED_RETIRED:
            return _Fact(reason.room, _Was.RETIRED, alias=reason.key)
        case _:
            return None


class _Tracer:
    """Walks through a journal, and keeps a replay beside it."""

    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        self._ledger = ledger
        self._unseen = journal.versions[-1] if journal.doubt is not None else None
        self._past = Past(journal)
        self.decisions = _decisions(journal.versions)
        self._ghosts = _ghosts(ledger, self.decisions)
        self._begun = self._beginnings()
        self._replay = Replay()
        self._operations: list[Operation] = []

    def taken(self) -> list[Operation]:
        """The operations since this was last asked."""
        taken, self._operations = self._operations, []
        return taken

    def decide(self, number: int, decision: _Decision) -> None:
        """Everything up to the outcome of one decision."""
        if number == 0:
            self._begin(decision)
        for room, key in self._begun.get(number, ()):
            self._manage(room, key)
        for fact in decision.facts():
            self._establish(fact)
        if decision.seen is not None:
            self._past.advance(decision.seen)
            vanished = not self._past.atoms() and _has(decision.seen, ReasonKind.REBUILT)
            self._observe(decision, decision.seen.at, decision.seen.source, vanished=vanished)
        if (written := decision.written) is None:
            return
        if decision.seen is None and not self._is_pending(written):
            self._observe(decision, written.at, Source.READ)
        self._past.advance(written)
        if written is not self._unseen:
            self._observe(decision, written.at, Source.WRITTEN)

    def finish(self) -> None:
        """Make the ledger of the replay opt out of what ours does."""
        for dm in self._ledger.managed.values():
            self._settle(dm)
        for room, known in list(self._replay.mind.ledger.managed.items()):
            if room not in self._ledger.managed and (
                known.opted_out or known.state is not DMState.RETIRED
            ):
                self._opt(room, out=False)
                self._play({"op": "retire", "room": room})

    def _begin(self, decision: _Decision) -> None:
        """What stood there before the first version that is remembered, if there was anything."""
        first = decision.seen or decision.written
        assert first is not None
        if first.seq > 1 and (first.change or decision.seen is None):
            for room, key in self._begun.pop(0, ()):
                self._manage(room, key)
            self._play_content(first.at, Source.READ)

    # -- one operation after the other

    def _observe(
        self, decision: _Decision, at: float, source: Source, *, vanished: bool = False
    ) -> None:
        """Observe what stands there now, and put right what is decided otherwise than it was then."""
        before = set(self._replay.opted_out())
        self._play_content(at, source, vanished=vanished)
        decided = decision.outcomes()
        for room in sorted(before ^ {*self._replay.opted_out()} | decided.keys()):
            self._opt(room, out=decided.get(room, room in before))

    def _play_content(self, at: float, source: Source, *, vanished: bool = False) -> None:
        content = None if vanished else self._past.content()
        self._play({"op": "observe", "content": content, "at": at, "source": source.value})

    def _play(self, operation: Operation) -> None:
        self._operations.append(operation)
        self._replay.play(operation)

    def _known(self, room: str) -> ManagedDM | None:
        return self._replay.mind.ledger.managed.get(RoomId(room))

    def _manage(self, room: str, ghost: str) -> None:
        known = self._known(room)
        if known is None or known.state is DMState.RETIRED or known.ghost != ghost:
            self._play({"op": "manage", "room": room, "ghost": ghost})

    def _opt(self, room: str, *, out: bool) -> None:
        """The room is opted out, or is not; where that was so already, nothing."""
        known = self._known(room)
        if known is None or known.opted_out == out:
            return
        self._manage(room, known.ghost)
        self._play({"op": "opt_out" if out else "opt_in", "room": room})
        if known.state is DMState.RETIRED:
            self._play({"op": "retire", "room": room})

    def _alias(self, room: str, key: str) -> None:
        """``key`` is known as an earlier id of the room's ghost."""
        known = self._known(room)
        assert known is not None
        if key != known.ghost and key not in known.aliases:
            self._play({"op": "manage", "room": room, "ghost": key})
            self._play({"op": "manage", "room": room, "ghost": known.ghost})

    def _establish(self, fact: _Fact) -> None:
        """Make the replay know what a reason says."""
        known = self._known(fact.room)
        ghost = fact.ghost or (known.ghost if known is not None else None)
        ghost = ghost or self._ghost_of(fact.room) or fact.alias
        if ghost is None:
            return
        if known is None or known.state is not DMState.RETIRED or fact.was is not _Was.RETIRED:
            self._manage(fact.room, ghost)
        if fact.alias is not None:
            self._alias(fact.room, fact.alias)
        if fact.ours is not None and not self._replay.mind.ledger.is_bridge_user(fact.ours):
            self._alias(fact.room, fact.ours)
        match fact.was:
            case _Was.WANTED:
                self._opt(fact.room, out=False)
            case _Was.OPTED_OUT:
                self._opt(fact.room, out=True)
            case _Was.RETIRED:
                self._play({"op": "retire", "room": fact.room})

    def _ghost_of(self, room: str) -> str | None:
        """Under whom the room is managed, as far as that is known at this point."""
        standing = sorted(key for key, item in self._past.atoms() if item == room)
        ghosts = self._ghosts.get(room, ())
        return next((key for key in (*standing, *ghosts) if key in ghosts), None) or next(
            iter(standing), None
        )

    def _is_pending(self, written: Version) -> bool:
        """Whether the replay has decided on this write already."""
        journal = self._replay.mind.journal
        if journal.doubt is None or journal.head is None:
            return False
        return journal.head.same_meaning(self._past.after(written))

    def _settle(self, dm: ManagedDM) -> None:
        """At the end, the replay's row of a room says what ours says."""
        if dm.state is DMState.PENDING and not dm.opted_out and self._known(dm.room) is None:
            return  # nothing was marked for it, and no operation says that it waits
        known = self._known(dm.room)
        if known is None or known.ghost != dm.ghost or known.opted_out != dm.opted_out:
            self._manage(dm.room, dm.ghost)
        self._opt(dm.room, out=dm.opted_out)
        known = self._known(dm.room)
        assert known is not None
        if dm.state is DMState.RETIRED and known.state is not DMState.RETIRED:
            self._play({"op": "retire", "room": dm.room})
        elif dm.state is DMState.ACTIVE:
            self._manage(dm.room, dm.ghost)

    def _beginnings(self) -> dict[int, list[tuple[str, str]]]:
        """For each decision, the rooms that are managed from there on, and under whom.

        Those that stand under their ghost, from where they do; a room that somebody took away although
        nobody minded was not managed then.
        """
        begun: dict[str, tuple[int, str]] = {}
        evident: set[str] = set()
        for key, room in self._past.atoms():
            if key in self._ghosts.get(room, ()):
                begun[room] = (0, key)
        for number, decision in enumerate(self.decisions):
            evident |= {fact.room for fact in decision.facts()}
            added, removed = decision.change()
            for _, room in removed:
                if room not in evident:
                    begun.pop(room, None)
            for key, room in added:
                if room not in evident and key in self._ghosts.get(room, ()):
                    begun.setdefault(room, (number, key))
        at: dict[int, list[tuple[str, str]]] = {}
        for room, (number, key) in sorted(begun.items()):
            dm = self._ledger.managed.get(RoomId(room))
            waits = dm is not None and dm.state is DMState.PENDING
            if room in evident or (dm is not None and not waits):
                at.setdefault(number, []).append((room, key))
        return at


def _decisions(versions: Sequence[Version]) -> list[_Decision]:
    """What was seen together with what was written at once because of it."""
    decisions: list[_Decision] = []
    for version in versions:
        if version.source is not Source.WRITTEN:
            decisions.append(_Decision(version, None))
        elif (
            decisions
            and (last := decisions[-1]).written is None
            and last.seen is not None
            and last.seen.at == version.at
        ):
            decisions[-1] = _Decision(last.seen, version)
        else:
            decisions.append(_Decision(None, version))
    return decisions


def _ghosts(ledger: Ledger, decisions: Iterable[_Decision]) -> dict[str, dict[str, None]]:
    """For each room that is or was managed, the ids of its ghost that are known, the newest first."""
    found: dict[str, dict[str, None]] = {}
    for dm in ledger.managed.values():
        found[dm.room] = dict.fromkeys((dm.ghost, *sorted(dm.aliases)))
    for decision in decisions:
        for fact in decision.facts():
            ids = (fact.ghost, fact.alias)
            found.setdefault(fact.room, {}).update(dict.fromkeys(i for i in ids if i is not None))
    return found


def _has(version: Version, kind: ReasonKind) -> bool:
    return any(reason.kind is kind for reason in version.reasons)
