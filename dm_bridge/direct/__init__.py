"""The engine that decides what an account's ``m.direct`` should say. Pure: no I/O, no clock.

`DirectDocument` is what stands there, `Ledger` is what we manage, `reconcile` decides between them.

The rule that must never break: nothing here reads the time, the network, a file or a random
number; the same arguments always give the same decision.
"""

from dm_bridge.direct.document import (
    DirectDocument,
    Entry,
    Malformed,
    MalformedReason,
    NotSet,
    is_room_id,
    is_user_id,
)
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
from dm_bridge.direct.reconcile import Decision, Keep, Put, Reason, ReasonKind, Refuse, reconcile

__all__ = [
    "DMState",
    "Decision",
    "DirectDocument",
    "Entry",
    "Keep",
    "Ledger",
    "LedgerError",
    "Malformed",
    "MalformedReason",
    "ManagedDM",
    "NotSet",
    "Put",
    "Reason",
    "ReasonKind",
    "Refuse",
    "activate",
    "forget",
    "is_room_id",
    "is_user_id",
    "manage",
    "opt_in",
    "opt_out",
    "reconcile",
    "rename_ghost",
    "replace_room",
    "retire",
]
