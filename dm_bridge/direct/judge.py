"""From what a writer did, the user's decisions; and the document as it should be for everybody else.

What a writer did (`dm_bridge.direct.origin`) is done to the head, not to what they had in front of them: so
what they did not know of survives, ours and everybody's. That is the only reason for which an entry
of a room that we do not manage ever changes.

Of the rooms that the bridge keeps marked:

* taken away: the user's decision, an opt-out. But not if most went at once: that was a client that
  rewrote the list, or a wipe, and is undone for our rooms. Nor if the list of the contact was replaced by
  something that is no list: then the list comes back. Nor if the whole document went missing.
* moved from its contact to a human outside the bridge: the user's decision as well.
* put under another user of the bridge, or under several keys: no decision. `reconcile` tidies up.
* marked again by somebody who did not see it marked: an opt-out is taken back. But not if the homeserver
  did it, when the room was upgraded.

The rule that must never break: an opt-out comes from an edit, and goes with an edit; never from
staleness, never from a write of our own.
"""

from __future__ import annotations

from dataclasses import dataclass

from dm_bridge.direct.change import Atom, Change, subject
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.journal import Journal
from dm_bridge.direct.ledger import DMState, Ledger, ManagedDM, opt_in, opt_out
from dm_bridge.direct.origin import Kind, Origin
from dm_bridge.direct.reasons import Reason, ReasonKind
from dm_bridge.ids import RoomId


@dataclass(frozen=True, slots=True)
class Judgement:
    """``document``: what stands there, with everything put back that its writer did not know of.

    ``put_back``: the rooms, and other subjects, for which it differs from what stands there.
    """

    ledger: Ledger
    document: DirectDocument
    reasons: tuple[Reason, ...] = ()
    put_back: frozenset[str] = frozenset()


def judge(
    ledger: Ledger,
    journal: Journal,
    observed: DirectDocument,
    origin: Origin,
    *,
    vanished: bool = False,
    yielded: frozenset[str] = frozenset(),
) -> Judgement:
    """What ``observed`` means. ``vanished``: the document is empty because it is not there at all.

    ``yielded``: subjects that are not fought over any more; they stay as they are.
    """
    if origin.kind is Kind.FIRST or journal.head is None:
        return Judgement(ledger, observed, (Reason(ReasonKind.ADOPTED),))
    if origin.kind is Kind.SAME:
        return Judgement(ledger, observed)
    did = origin.did
    if origin.only_ours:
        did = Change(
            frozenset(a for a in did.added if a[1] in ledger.managed),
            frozenset(a for a in did.removed if a[1] in ledger.managed),
        )
    decided = _decisions(ledger, observed, did, vanished=vanished)
    did = Change(did.added, frozenset(a for a in did.removed if a[1] not in decided.undone))
    add = {a for a in origin.from_head.removed - did.removed if not decided.settles(a)}
    remove = origin.from_head.added - did.added
    if origin.kind is Kind.JUMPED_BACK and not origin.only_ours:
        remove -= _only_there(ledger, journal.head, remove)
    lists = {key for key, room in add if observed.is_spoiled(key) and ledger.wants(room)}
    if lists:  # all that stood there comes back, not our rooms alone
        add |= {atom for atom in origin.from_head.removed if atom[0] in lists}
        remove |= {atom for atom in origin.from_head.added if atom[0] in lists}
    if yielded:
        add = {atom for atom in add if subject(atom) not in yielded}
        remove = frozenset(atom for atom in remove if subject(atom) not in yielded)
    document = observed.patch(add, remove, journal.head) if add or remove else observed
    put_back = frozenset(map(subject, add | remove))
    chats = sum(what.startswith("!") for what in put_back)
    repaired = (Reason(ReasonKind.REPAIRED_KEY, key) for key in sorted(lists))
    reasons = (*_what_happened(origin, chats, decided), *decided.reasons, *repaired)
    return Judgement(decided.ledger, document, reasons, put_back)


def _only_there(ledger: Ledger, head: DirectDocument, atoms: frozenset[Atom]) -> frozenset[Atom]:
    """Those of ``atoms`` that are rooms of others, and stand under no key in the head.

    What the head lacks may have been lost by a client whose write the bridge did not see in between.
    """
    others = {
        (key, room)
        for key, room in atoms
        if room.startswith("!") and room not in ledger.managed and not ledger.is_bridge_user(key)
    }
    known = head.keys_of({RoomId(room) for _, room in others})
    return frozenset(atom for atom in others if atom[1] not in known)


@dataclass(frozen=True, slots=True)
class _Decisions:
    """``unmarked``: rooms that the user took away; ``undone``: rooms whose removal is undone."""

    ledger: Ledger
    reasons: tuple[Reason, ...] = ()
    unmarked: frozenset[str] = frozenset()
    undone: frozenset[str] = frozenset()

    def settles(self, atom: Atom) -> bool:
        """Whether the user has decided that this entry shall not come back."""
        return atom[1] in self.unmarked and self.ledger.is_bridge_user(atom[0])


def _decisions(
    ledger: Ledger, observed: DirectDocument, did: Change, *, vanished: bool
) -> _Decisions:
    touched = {a[1] for a in (*did.added, *did.removed)} & ledger.managed.keys()
    held = observed.keys_of(touched)
    gone: list[ManagedDM] = []
    back: list[ManagedDM] = []
    undone: set[str] = set()
    for room in sorted(touched):
        dm = ledger.managed[RoomId(room)]
        keys = frozenset(held.get(room, ()))
        before = (keys - _keys(did.added, room)) | _keys(did.removed, room)
        if dm.wanted and _marks(ledger, before) and not _marks(ledger, keys):
            if not keys and any(map(observed.is_spoiled, (dm.ghost, *dm.aliases))):
                undone.add(room)
            else:
                gone.append(dm)
        elif (
            dm.opted_out
            and dm.state is not DMState.RETIRED
            and not dm.is_marked_by(before)
            and dm.is_marked_by(keys)
            and not _is_server_copy(ledger, observed, keys)
        ):
            back.append(dm)
    reasons: list[Reason] = []
    if vanished or _is_rewrite(ledger, observed, did, len(gone)):
        undone.update(dm.room for dm in gone)
        if gone:
            reasons.append(Reason(ReasonKind.REBUILT, count=len(gone)))
        gone = []
    ledger = opt_in(ledger, *(dm.room for dm in back))
    ledger = opt_out(ledger, *(dm.room for dm in gone))
    reasons += [Reason(ReasonKind.USER_MARKED, room=dm.room) for dm in back]
    for dm in gone:
        if not held.get(dm.room):
            reasons.append(Reason(ReasonKind.USER_UNMARKED, room=dm.room))
        else:
            key = held[dm.room][0]
            reasons.append(Reason(ReasonKind.REKEYED, key=key, room=dm.room))
    unmarked = frozenset(dm.room for dm in gone)
    return _Decisions(ledger, tuple(reasons), unmarked, frozenset(undone))


def _is_server_copy(ledger: Ledger, observed: DirectDocument, keys: frozenset[str]) -> bool:
    """Whether a room that is no longer bridged stands under one of ``keys`` too.

    Then it was upgraded, and the homeserver put the new room beside the old one, as Synapse does in every
    list in which it finds the old one. Nobody has marked anything.
    """
    retired = {dm.room for dm in ledger.managed.values() if dm.state is DMState.RETIRED}
    return any(not keys.isdisjoint(under) for under in observed.keys_of(retired).values())


def _keys(atoms: frozenset[Atom], room: str) -> frozenset[str]:
    return frozenset(key for key, item in atoms if item == room)


def _marks(ledger: Ledger, keys: frozenset[str]) -> bool:
    """Whether one of ``keys`` is a user of the bridge: under such a room is ours to keep in order."""
    return any(map(ledger.is_bridge_user, keys))


def _is_rewrite(ledger: Ledger, observed: DirectDocument, did: Change, gone: int) -> bool:
    """Whether most chats went in one write: most of ours (two at least), or most of all."""
    if not gone:
        return False
    removed = {room for _, room in did.removed if room.startswith("!")}
    removed -= {room for _, room in did.added}
    if len(removed) < 2 and gone < 2:
        return False
    entries = observed.entries()
    left = sum((dm.ghost, dm.room) in entries for dm in ledger.managed.values() if dm.wanted)
    return 2 * gone > gone + left or 2 * len(removed) > len(removed) + len(entries)


def _what_happened(origin: Origin, put_back: int, decided: _Decisions) -> tuple[Reason, ...]:
    match origin.kind:
        case Kind.JUMPED_BACK if not decided.reasons:
            return (Reason(ReasonKind.JUMPED_BACK, count=put_back),)
        case Kind.STALE | Kind.JUMPED_BACK:
            return (Reason(ReasonKind.OLD_COPY, count=put_back),)
        case Kind.NOT_WRITTEN:
            return (Reason(ReasonKind.NOT_WRITTEN),)
        case _:
            return ()
