"""The engine that decides what an account's ``m.direct`` should say. Pure: no I/O, no clock.

`DirectDocument` is what stands there, `Ledger` is what we manage, `Journal` is what was seen before.
`observe` takes all three to a decision, and `dump` keeps what has to be remembered. `reconcile` alone puts
one document into normal form. `examine` judges any account's document by what its rooms say.

What is named here is stable: other projects embed it (docs/library.md), without the rest of the bridge and
with nothing but the standard library.

The rule that must never break: nothing here reads the time, the network, a file or a random
number; the same arguments always give the same decision.
"""

from dm_bridge.direct.audit import Audit, examine
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
from dm_bridge.direct.facts import Membership, RoomFacts
from dm_bridge.direct.findings import Finding, repaired
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
from dm_bridge.direct.room_state import facts_of_sync
from dm_bridge.direct.saved import dump, load

__all__ = [
    "DEFAULT_BOUNDS",
    "Audit",
    "Bounds",
    "Change",
    "DMState",
    "Decision",
    "DirectDocument",
    "Entry",
    "Finding",
    "Journal",
    "Keep",
    "Ledger",
    "LedgerError",
    "Malformed",
    "MalformedReason",
    "ManagedDM",
    "Membership",
    "Mind",
    "NotSet",
    "Outcome",
    "Put",
    "Reason",
    "ReasonKind",
    "Refuse",
    "RoomFacts",
    "Source",
    "Version",
    "activate",
    "difference",
    "dump",
    "examine",
    "facts_of_sync",
    "forget",
    "is_room_id",
    "is_user_id",
    "load",
    "manage",
    "observe",
    "opt_in",
    "opt_out",
    "reconcile",
    "rename_ghost",
    "repaired",
    "replace_room",
    "retire",
]
