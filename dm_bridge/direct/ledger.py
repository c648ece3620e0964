"""What the bridge manages in one account's ``m.direct``: which rooms, under which key, in what state.

The rule that must never break: a transition that is not in the table below raises `LedgerError`
and leaves the ledger as it was; there is no other way from one state to another.

    =============  =================  =================  ===================
    transition     PENDING            ACTIVE             RETIRED
    =============  =================  =================  ===================
    manage         error              error              PENDING
    activate       ACTIVE             (nothing)          error
    retire         RETIRED            RETIRED            (nothing)
    opt_out/in     sets, clears       sets, clears       error
    rename_ghost   the old id becomes an alias, in every state
    replace_room   old one RETIRED, new one takes over   decision goes over
    forget         error              error              gone
    =============  =================  =================  ===================

Saying again what is already so changes nothing, because events arrive at least once. `forget`
asks for RETIRED because a room that is forgotten earlier leaves its mark behind for ever.

An opt-out is the user's decision that a room is no direct chat. It is not a state: it survives
activation, retirement, upgrades and renames, and only `opt_in` clears it.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from dm_bridge.direct.document import Entry, is_room_id, is_user_id
from dm_bridge.ids import RoomId, UserId


class LedgerError(ValueError):
    """A transition that the ledger does not allow; the ledger is unchanged."""


class DMState(enum.Enum):
    """Where a managed DM is in its life."""

    PENDING = "pending"
    """The user has not joined yet: nothing is marked for them."""
    ACTIVE = "active"
    """The user has joined: the room should be marked, also after they leave."""
    RETIRED = "retired"
    """The portal is gone: our mark goes too."""


@dataclass(frozen=True, slots=True)
class ManagedDM:
    """One room that the bridge is responsible for.

    ``ghost``: the key that it belongs under. In a ghost's own ``m.direct`` that is the user.
    ``aliases``: earlier ids of the ghost, which may still stand in the document.
    """

    room: RoomId
    ghost: UserId
    state: DMState = DMState.PENDING
    opted_out: bool = False
    aliases: frozenset[UserId] = frozenset()

    def __post_init__(self) -> None:
        if not is_room_id(self.room):
            raise LedgerError(f"not a room id: {self.room!r}")
        if not is_user_id(self.ghost):
            raise LedgerError(f"not a user id: {self.ghost!r}")
        if self.ghost in self.aliases:
            raise LedgerError(f"{self.ghost} cannot be an alias of itself")

    @property
    def wanted(self) -> bool:
        """Whether the room should stand under its ghost."""
        return self.state is DMState.ACTIVE and not self.opted_out

    def is_marked_by(self, keys: Collection[str]) -> bool:
        """Whether one of ``keys`` is the ghost, under its present or an earlier id."""
        return self.ghost in keys or not self.aliases.isdisjoint(keys)


@dataclass(frozen=True)
class Ledger:
    """All that is managed for ``account``. Made by `Ledger.of`, changed by the functions below.

    ``never_keys``: users whom a managed room must not stand under: the bot, the user's own ghost.
    """

    account: UserId
    managed: Mapping[RoomId, ManagedDM] = field(default_factory=lambda: MappingProxyType({}))
    never_keys: frozenset[UserId] = frozenset()

    @staticmethod
    def of(
        account: UserId, dms: Iterable[ManagedDM] = (), never_keys: Iterable[UserId] = ()
    ) -> Ledger:
        """A ledger of ``dms``. Raises `LedgerError` when two of them are about one room."""
        managed: dict[RoomId, ManagedDM] = {}
        for dm in dms:
            if dm.room in managed:
                raise LedgerError(f"{dm.room} is managed twice")
            managed[dm.room] = dm
        return Ledger(account, MappingProxyType(managed), frozenset(never_keys))

    @cached_property
    def bridge_users(self) -> frozenset[str]:
        """Every user known not to be a human outside the bridge.

        The account itself, its never-keys, and every ghost and alias in the ledger.
        """
        dms = self.managed.values()
        aliases = (dm.aliases for dm in dms if dm.aliases)
        return self.never_keys.union({self.account}, (dm.ghost for dm in dms), *aliases)

    def is_bridge_user(self, key: str) -> bool:
        """Whether ``key`` is a user of the bridge, as far as this ledger knows."""
        return key in self.bridge_users

    def wants(self, room: str) -> bool:
        """Whether ``room`` should stand under its ghost."""
        dm = self.managed.get(RoomId(room))
        return dm is not None and dm.wanted

    def wanted(self) -> frozenset[Entry]:
        """The entries that should stand in the document."""
        return frozenset((dm.ghost, dm.room) for dm in self.managed.values() if dm.wanted)


def manage(ledger: Ledger, room: RoomId, ghost: UserId) -> Ledger:
    """Become responsible for ``room``, PENDING; again, when it was retired: an opt-out stays then.

    A room that is managed and not retired is an error.
    """
    known = ledger.managed.get(room)
    if known is None:
        return _with(ledger, ManagedDM(room, ghost))
    if known.state is not DMState.RETIRED:
        raise LedgerError(f"{room} is managed already")
    aliases = (known.aliases | {known.ghost}) - {ghost}
    return _with(ledger, ManagedDM(room, ghost, DMState.PENDING, known.opted_out, aliases))


def activate(ledger: Ledger, room: RoomId) -> Ledger:
    """The user has joined ``room``."""
    return _with(ledger, replace(_living(ledger, room), state=DMState.ACTIVE))


def retire(ledger: Ledger, room: RoomId) -> Ledger:
    """The portal of ``room`` is gone."""
    return _with(ledger, replace(_managed(ledger, room), state=DMState.RETIRED))


def opt_out(ledger: Ledger, *rooms: RoomId) -> Ledger:
    """The user has decided that each of ``rooms`` is no direct chat."""
    return _with(ledger, *(replace(_living(ledger, room), opted_out=True) for room in rooms))


def opt_in(ledger: Ledger, *rooms: RoomId) -> Ledger:
    """The user has taken their decisions back."""
    return _with(ledger, *(replace(_living(ledger, room), opted_out=False) for room in rooms))


def rename_ghost(ledger: Ledger, old: UserId, new: UserId) -> Ledger:
    """The contact behind ``old`` is now behind ``new``, in every room of theirs.

    Renaming back makes an alias the ghost again. A ghost without a room here is an error.
    """
    rooms = [dm for dm in ledger.managed.values() if dm.ghost == old]
    if not rooms:
        raise LedgerError(f"no room of {old} is managed")
    return _with(
        ledger, *(replace(dm, ghost=new, aliases=(dm.aliases | {old}) - {new}) for dm in rooms)
    )


def replace_room(ledger: Ledger, old: RoomId, new: RoomId) -> Ledger:
    """``old`` was upgraded to ``new``, which takes over ghost, state, opt-out and aliases.

    ``new`` may be managed already: it keeps what it knows, and a decision about either is one about it. Of a
    RETIRED room only a decision is left to take over.
    """
    dm = _managed(ledger, old)
    known = ledger.managed.get(new)
    if old == new:
        raise LedgerError(f"{old} cannot take its own place")
    if dm.state is DMState.RETIRED and not dm.opted_out:
        raise LedgerError(f"{old} is retired")
    gone = replace(dm, state=DMState.RETIRED, opted_out=False)
    heir = replace(dm, room=new)
    if known is not None:
        heir = replace(
            heir,
            state=known.state if dm.state is DMState.RETIRED else dm.state,
            opted_out=dm.opted_out or known.opted_out,
            aliases=(dm.aliases | known.aliases | {known.ghost}) - {dm.ghost},
        )
    return _with(ledger, gone, heir)


def forget(ledger: Ledger, *rooms: RoomId) -> Ledger:
    """Stop being responsible for RETIRED rooms, once their marks are gone."""
    for room in rooms:
        if _managed(ledger, room).state is not DMState.RETIRED:
            raise LedgerError(f"{room} must be retired before it is forgotten")
    if not rooms:
        return ledger
    gone = set(rooms)
    kept = {key: dm for key, dm in ledger.managed.items() if key not in gone}
    return replace(ledger, managed=MappingProxyType(kept))


def _managed(ledger: Ledger, room: RoomId) -> ManagedDM:
    dm = ledger.managed.get(room)
    if dm is None:
        raise LedgerError(f"{room} is not managed")
    return dm


def _living(ledger: Ledger, room: RoomId) -> ManagedDM:
    dm = _managed(ledger, room)
    if dm.state is DMState.RETIRED:
        raise LedgerError(f"{room} is retired")
    return dm


def _with(ledger: Ledger, *dms: ManagedDM) -> Ledger:
    if not dms:
        return ledger
    changed = {**ledger.managed, **{dm.room: dm for dm in dms}}
    return replace(ledger, managed=MappingProxyType(changed))
