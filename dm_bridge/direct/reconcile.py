"""Decides what to write: (what we manage, what stands there) -> Put, Keep or Refuse.

The rule that must never break: an entry whose room we do not manage never changes, and of a room
that we manage only the entries of users of the bridge do.

The *users of the bridge* that one ledger knows are its account, its never-keys (the bot, the
user's own ghost), and every ghost and alias in it. Everybody else is a human outside the bridge.
A managed room, by what the ledger says of it:

* opted out: as the document has it.
* PENDING: as the document has it; a user may mark a room before they join it.
* RETIRED: not under its ghost, nor under an alias of it.
* ACTIVE: under its ghost, and under no other user of the bridge. If it stood under a retired
  alias, or under the bot, it has thereby moved. Humans outside the bridge are the user's own doing:

  - under a human, and neither under its ghost nor an alias: the user re-keyed it. That counts as
    an opt-out, and the room is as the document has it (`ReasonKind.REKEYED`).
  - under a human as well as under its ghost or an alias: the human stays. One document does not
    tell whether the user added the human or a client marked every member, and what is not
    proven to be a mistake is not ours to undo (`ReasonKind.SHARED`).

A ghost is always a proper key for its own room, also when it is a never-key: a chat with oneself
is under one's own ghost.

This function sees one version. It cannot tell a user who unmarked a room from a client that wrote
an old copy back, so it marks the room again unless the ledger has an opt-out. Telling them apart
takes the versions seen before; that judgement comes first, and reaches this one as opt-outs in the
ledger and as the document to start from.
"""

from __future__ import annotations

import enum
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
from dm_bridge.ids import RoomId, UserId


class ReasonKind(enum.Enum):
    """Why an entry changes, or why it stays although somebody might expect a change."""

    MARKED = "marked"
    MERGED_FROM_ALIAS = "merged_from_alias"
    REMOVED_FROM_BRIDGE_USER = "removed_from_bridge_user"
    UNMARKED_RETIRED = "unmarked_retired"
    REPAIRED_KEY = "repaired_key"

    PENDING = "pending"
    OPTED_OUT = "opted_out"
    REKEYED = "rekeyed"
    SHARED = "shared"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason. ``key``: the user id that it is about; ``room``: None when the whole key is."""

    kind: ReasonKind
    key: UserId
    room: RoomId | None = None

    @property
    def sentence(self) -> str:
        """The reason, for a person."""
        match self.kind:
            case ReasonKind.MARKED:
                return f"{self.room} is marked as a direct chat with {self.key}."
            case ReasonKind.MERGED_FROM_ALIAS:
                return f"{self.room} moves away from {self.key}, an earlier id of the contact."
            case ReasonKind.REMOVED_FROM_BRIDGE_USER:
                return f"{self.room} is no longer marked under {self.key}, who is not the contact."
            case ReasonKind.UNMARKED_RETIRED:
                return f"{self.room} is no longer bridged, so its mark under {self.key} goes."
            case ReasonKind.REPAIRED_KEY:
                return f"What stood under {self.key} was not a list of rooms, and is one again."
            case ReasonKind.PENDING:
                return f"{self.room} waits to be marked until the user has joined it."
            case ReasonKind.OPTED_OUT:
                return f"{self.room} is left alone: the user does not want it as a direct chat."
            case ReasonKind.REKEYED:
                return f"{self.room} is left alone: the user has put it under {self.key}."
            case ReasonKind.SHARED:
                return f"{self.room} also stands under {self.key}, and is left there."
            case _:
                assert_never(self.kind)


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


def reconcile(ledger: Ledger, observed: DirectDocument | Malformed | NotSet) -> Decision:
    """What to do about ``observed``, read just now.

    With no writes by others in between, the document of a `Put` is one that gets a `Keep`.
    """
    match observed:
        case Malformed(reason):
            return Refuse(reason, _refusal(ledger.account, reason))
        case NotSet():
            return _decide(ledger, DirectDocument())
        case DirectDocument():
            return _decide(ledger, observed)
        case _:
            assert_never(observed)


def _decide(ledger: Ledger, document: DirectDocument) -> Decision:
    bridge = _users_of_the_bridge(ledger)
    held = document.keys_of(ledger.managed)
    ensure: list[Entry] = []
    drop: list[Entry] = []
    reasons: list[Reason] = []
    differs = False
    for room, dm in ledger.managed.items():
        keys = held.get(room, ())
        if dm.wanted and keys == (dm.ghost,):
            ensure.append((dm.ghost, room))
            continue
        verdict = _judge(dm, keys, bridge)
        if verdict.marked:
            ensure.append((dm.ghost, room))
        drop += [(key, room) for key in verdict.drop]
        differs = differs or verdict.differs
        reasons += verdict.reasons
    repaired = document.unsound(dict.fromkeys(key for key, _ in ensure))
    reasons += [Reason(ReasonKind.REPAIRED_KEY, key) for key in repaired]
    if differs or repaired:
        return Put(document.edit(ensure=ensure, drop=drop), tuple(reasons))
    return Keep(tuple(reasons))


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one managed room asks for.

    ``marked``: it stands under its ghost in the outcome, by our doing. ``drop``: keys that it
    leaves. ``differs``: whether the document is not yet so.
    """

    marked: bool = False
    drop: tuple[UserId, ...] = ()
    differs: bool = False
    reasons: tuple[Reason, ...] = ()


def _judge(dm: ManagedDM, keys: tuple[str, ...], bridge: frozenset[UserId]) -> _Verdict:
    """The rules of this module for one room that now stands under ``keys``."""
    if dm.opted_out:
        return _Verdict(reasons=(Reason(ReasonKind.OPTED_OUT, dm.ghost, dm.room),))
    match dm.state:
        case DMState.PENDING:
            return _Verdict(reasons=(Reason(ReasonKind.PENDING, dm.ghost, dm.room),))
        case DMState.RETIRED:
            return _judge_retired(dm, keys)
        case DMState.ACTIVE:
            return _judge_active(dm, keys, bridge)
        case _:
            assert_never(dm.state)


def _judge_retired(dm: ManagedDM, keys: tuple[str, ...]) -> _Verdict:
    ours = tuple(UserId(key) for key in keys if key == dm.ghost or key in dm.aliases)
    reasons = tuple(Reason(ReasonKind.UNMARKED_RETIRED, key, dm.room) for key in ours)
    return _Verdict(drop=ours, differs=bool(ours), reasons=reasons)


def _judge_active(dm: ManagedDM, keys: tuple[str, ...], bridge: frozenset[UserId]) -> _Verdict:
    others = [UserId(key) for key in keys if key != dm.ghost and is_user_id(key)]
    humans = [key for key in others if key not in bridge]
    as_the_contact = dm.ghost in keys or not dm.aliases.isdisjoint(keys)
    if humans and not as_the_contact:
        return _Verdict(reasons=tuple(Reason(ReasonKind.REKEYED, key, dm.room) for key in humans))
    drop = tuple(key for key in others if key in bridge)
    reasons = [Reason(_why_dropped(dm, key), key, dm.room) for key in drop]
    if dm.ghost not in keys:
        reasons.append(Reason(ReasonKind.MARKED, dm.ghost, dm.room))
    reasons += [Reason(ReasonKind.SHARED, key, dm.room) for key in humans]
    return _Verdict(
        marked=True,
        drop=drop,
        differs=bool(drop) or dm.ghost not in keys,
        reasons=tuple(reasons),
    )


def _why_dropped(dm: ManagedDM, key: UserId) -> ReasonKind:
    alias = key in dm.aliases
    return ReasonKind.MERGED_FROM_ALIAS if alias else ReasonKind.REMOVED_FROM_BRIDGE_USER


def _users_of_the_bridge(ledger: Ledger) -> frozenset[UserId]:
    """Every user that this ledger knows not to be a human outside the bridge."""
    dms = ledger.managed.values()
    aliases = (dm.aliases for dm in dms if dm.aliases)
    ghosts = frozenset(dm.ghost for dm in dms)
    return ledger.never_keys.union({ledger.account}, ghosts, *aliases)


def _refusal(account: UserId, reason: MalformedReason) -> str:
    return (
        f"The direct chats (m.direct) of {account} are left as they are, because what the "
        f"homeserver stores there could not be written back unchanged: {reason.sentence}. "
        "Set m.direct to a JSON object, for example {}, and the bridge adds its chats again."
    )
