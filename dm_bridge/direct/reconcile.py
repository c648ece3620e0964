"""Decides what to write: (what we manage, what stands there) -> Put, Keep or Refuse.

The rule that must never break: an entry whose room we do not manage never changes here.

A managed room, by what the ledger says of it:

* wanted (active, and not opted out): under its ghost, and under no other user at all, because many
  clients take a room for a direct chat only when it stands under exactly one.
* opted out: not under its ghost, nor under an alias of it. Wherever else the user put it, it stays.
* PENDING: as the document has it; a user may mark a room before they join it.
* RETIRED: not under its ghost, nor under an alias of it.
* fought over (``yielded``): as the document has it.

A ghost is always a proper key for its own room, also when it is a never-key: a chat with oneself
is under one's own ghost.

This function sees one version, and puts it into normal form. What came before, and with it the
question who decided what, is for `dm_bridge.direct.judge`, which comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import assert_never

from dm_bridge.direct.document import (
    DirectDocument,
    Entry,
    Malformed,
    MalformedReason,
    NotSet,
    is_user_id,
)
from dm_bridge.direct.ledger import DMState, Ledger, ManagedDM
from dm_bridge.direct.reasons import Reason, ReasonKind
from dm_bridge.ids import RoomId, UserId


@dataclass(frozen=True, slots=True)
class Put:
    """Write ``document``."""

    document: DirectDocument
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """What stands there says all it should: write nothing."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """What stands there could not be written back: touch nothing, and tell a person."""

    reason: MalformedReason
    sentence: str


Decision = Put | Keep | Refuse


def reconcile(
    ledger: Ledger,
    observed: DirectDocument | Malformed | NotSet,
    yielded: Set[str] = frozenset(),
) -> Decision:
    """What to do about ``observed``, read just now.

    With no writes by others in between, the document of a `Put` is one that gets a `Keep`.
    """
    match observed:
        case Malformed(reason):
            return Refuse(reason, _refusal(ledger.account, reason))
        case NotSet():
            document = DirectDocument()
        case DirectDocument():
            document = observed
        case _:
            assert_never(observed)
    held = document.keys_of(ledger.managed)
    return normal_form(ledger, document, held, not_in_form(ledger, held), yielded)


Held = Mapping[str, tuple[str, ...]]
"""For each managed room that stands somewhere, the keys under which it does (`keys_of`)."""


def not_in_form(ledger: Ledger, held: Held) -> list[RoomId]:
    """The rooms that are not both wanted and under their ghost alone, in the ledger's order."""
    return [
        room
        for room, dm in ledger.managed.items()
        if held.get(room) != (dm.ghost,) or dm.opted_out or dm.state is not DMState.ACTIVE
    ]


def normal_form(
    ledger: Ledger,
    document: DirectDocument,
    held: Held,
    rooms: Iterable[RoomId],
    yielded: Set[str],
) -> Put | Keep:
    """`reconcile` for a document. ``rooms``: those `not_in_form`."""
    ensure: list[Entry] = []
    drop: list[Entry] = []
    reasons: list[Reason] = []
    for room in rooms:
        dm = ledger.managed[room]
        if room in yielded:
            reasons.append(Reason(ReasonKind.CONFLICT, dm.ghost, room))
            continue
        verdict = _judge(ledger, dm, held.get(room, ()))
        if verdict.marked:
            ensure.append((dm.ghost, room))
        drop += [(key, room) for key in verdict.drop]
        reasons += verdict.reasons
    if unsound := set(document.unsound()):
        ours = sorted(e for e in ledger.wanted() if e[0] in unsound and e[1] not in yielded)
        ensure += ours
        reasons += [Reason(ReasonKind.REPAIRED_KEY, key) for key in dict(ours)]
    if ensure or drop:
        return Put(document.edit(ensure=ensure, drop=drop), tuple(reasons))
    return Keep(tuple(reasons))


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one managed room asks for: to come under its ghost (``marked``), to leave keys (``drop``)."""

    marked: bool = False
    drop: tuple[UserId, ...] = ()
    reasons: tuple[Reason, ...] = ()


def _judge(ledger: Ledger, dm: ManagedDM, keys: tuple[str, ...]) -> _Verdict:
    """The rules of this module for one room that stands under ``keys``, and not as it should."""
    match dm.state:
        case DMState.PENDING:
            return _Verdict(reasons=(Reason(ReasonKind.PENDING, dm.ghost, dm.room),))
        case DMState.RETIRED:
            return _unmarked(dm, keys, ReasonKind.UNMARKED_RETIRED)
        case DMState.ACTIVE if dm.opted_out:
            verdict = _unmarked(dm, keys, ReasonKind.UNMARKED_OPTED_OUT)
            left_alone = Reason(ReasonKind.OPTED_OUT, dm.ghost, dm.room)
            return verdict if verdict.drop else _Verdict(reasons=(left_alone,))
        case DMState.ACTIVE:
            return _marked(ledger, dm, keys)
        case _:
            assert_never(dm.state)


def _unmarked(dm: ManagedDM, keys: tuple[str, ...], why: ReasonKind) -> _Verdict:
    ours = tuple(UserId(key) for key in keys if key == dm.ghost or key in dm.aliases)
    reasons = tuple(Reason(why, key, dm.room) for key in ours)
    return _Verdict(drop=ours, reasons=reasons)


def _marked(ledger: Ledger, dm: ManagedDM, keys: tuple[str, ...]) -> _Verdict:
    others = tuple(UserId(key) for key in keys if key != dm.ghost and is_user_id(key))
    reasons = [Reason(_why_dropped(ledger, dm, key), key, dm.room) for key in others]
    if dm.ghost not in keys:
        reasons.append(Reason(ReasonKind.MARKED, dm.ghost, dm.room))
    return _Verdict(dm.ghost not in keys, others, tuple(reasons))


def _why_dropped(ledger: Ledger, dm: ManagedDM, key: UserId) -> ReasonKind:
    if key in dm.aliases:
        return ReasonKind.MERGED_FROM_ALIAS
    if ledger.is_bridge_user(key):
        return ReasonKind.REMOVED_FROM_BRIDGE_USER
    return ReasonKind.REMOVED_FROM_OTHER


def _refusal(account: UserId, reason: MalformedReason) -> str:
    return (
        f"The direct chats (m.direct) of {account} are left as they are, because what the "
        f"homeserver stores there could not be written back unchanged: {reason.sentence}. "
        "Set m.direct to a JSON object, for example {}, and the bridge adds its chats again."
    )
