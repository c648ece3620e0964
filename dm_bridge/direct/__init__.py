"""The engine that decides what an account's ``m.direct`` should say. Pure: no I/O, no clock.

`DirectDocument` is what stands there, `Ledger` is what we manage, `Journal` is what was seen before.
`observe` takes all three to a decision. `reconcile` alone puts one document into normal form.

The rule that must never break: nothing here reads the time, the network, a file or a random
number; the same arguments always give the same decision.
"""

from dm_bridge.direct.change import Change, difference
from dm_bridge.direct.document import (
    DirectDocument,
    Entry,
    Malformed,
    MalformedReason,
    NotSet,
    is_room_id,
    is_user_id,
)
from dm_bridge.direct.engine import Mind, Outcome, observe
from dm_bridge.direct.journal import DEFAULT_BOUNDS, Bounds, Journal, Source, Version
from dm_bridge.direct.ledger import (
    DMState,
    Ledger,
    LedgerError,
    ManagedDM,
    activate,
    forget,
    manage,
    opt_in,
    opt_out,
    rename_ghost,
    replace_room,
    retire,
)
from dm_bridge.direct.reasons import Reason, ReasonKind
from dm_bridge.direct.reconcile import Decision, Keep, Put, Refuse, reconcile

__all__ = [
    "DEFAULT_BOUNDS",
    "Bounds",
    "Change",
    "DMState",
    "Decision",
    "DirectDocument",
    "Entry",
    "Journal",
    "Keep",
    "Ledger",
    "LedgerError",
    "Malformed",
    "MalformedReason",
    "ManagedDM",
    "Mind",
    "NotSet",
    "Outcome",
    "Put",
    "Reason",
    "ReasonKind",
    "Refuse",
    "Source",
    "Version",
    "activate",
    "difference",
    "forget",
    "is_room_id",
    "is_user_id",
    "manage",
    "observe",
    "opt_in",
    "opt_out",
    "reconcile",
    "rename_ghost",
    "replace_room",
    "retire",
]
