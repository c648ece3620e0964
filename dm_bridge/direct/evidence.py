"""What speaks against an explanation of a document, and which explanation is likelier when two are as short.

Two versions are often as few edits away from a document. Of what one of them says its writer did, other
things than the number of edits tell whether it is so:

* Most clients leave an empty list behind when they take the last room out of it, and a few leave none anywhere.
  Where there are empty lists, but none where the writer is said to have taken the last room away, they
  did not: they never had it.
* An empty list where the room stood, on the other hand, is left by somebody who did take it away.
* Where neither is seen, people who move a room move it to the one contact it is about. That two devices do
  that alike is likelier than that a chat was unmarked right after it was marked. So is, of writers with
  old copies, that they put a chat under the bridge's bot, as some clients do of themselves when they join.
* Who takes a room away again, and nothing else, after it was put back, means it.
* Who takes away all that stands under one contact, or moves it to another, does one thing, however many rooms
  that are.

The rule that must never break: this chooses among explanations that are as short as each other, and never
makes one up.
"""

from __future__ import annotations

import enum

from dm_bridge.direct.change import Atom, Change
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.journal import Journal, Source
from dm_bridge.direct.ledger import Ledger
from dm_bridge.ids import RoomId


class Doubt(enum.IntEnum):
    """How much speaks against an explanation."""

    NONE = 0
    UNPROVEN = 1
    """It would cost one of our chats its mark, and nothing shows that anybody took it away."""
    REFUTED = 2
    """Its writer left no trace that they would have left."""


def doubt(ledger: Ledger, journal: Journal, document: DirectDocument, did: Change) -> Doubt:
    """What speaks against somebody's having made ``document`` by doing ``did``."""
    moved = {room for _, room in did.added}
    gone = frozenset(a for a in did.removed if a[1].startswith("!") and a[1] not in moved)
    if not gone or _insisted(journal, gone):
        return Doubt.NONE
    if not all(document.names(key) for key, _ in gone) and document.keeps_empty_lists():
        return Doubt.REFUTED
    ours = [key for key, room in gone if ledger.wants(room)]
    return Doubt.UNPROVEN if ours and not any(map(document.is_emptied, ours)) else Doubt.NONE


def outweighs(ledger: Ledger, did: Change, *, newest: bool) -> bool:
    """Whether ``did`` is likelier than something `Doubt.UNPROVEN` that needs as many edits.

    ``newest``: whether that would have been done to the newest version.
    """
    if not did.added:
        return False
    if all(room.startswith("!") and room not in ledger.managed for _, room in did.added):
        return bool(did.removed)
    return not newest and _is_join_mark(ledger, did)


def is_one_contact(ledger: Ledger, document: DirectDocument, did: Change) -> bool:
    """Whether ``did`` made ``document`` by taking away, or moving, all of one contact outside the bridge."""
    atoms = (*did.added, *did.removed)
    if any(not room.startswith("!") or room in ledger.managed for _, room in atoms):
        return False
    sources, targets = {key for key, _ in did.removed}, {key for key, _ in did.added}
    moved = {room for _, room in did.added} <= {room for _, room in did.removed}
    return len(sources) == 1 and len(targets) <= 1 and moved and not document.atoms_of(*sources)


def _insisted(journal: Journal, gone: frozenset[Atom]) -> bool:
    """Whether somebody took just that away before."""
    return any(
        version.change.removed == gone and not version.change.added
        for version in journal.versions
        if version.source is not Source.WRITTEN
    )


def _is_join_mark(ledger: Ledger, did: Change) -> bool:
    """Whether chats of ours were put under users of the bridge who are not their contact."""
    if any(room not in ledger.managed for _, room in did.removed):
        return False
    return all(
        (dm := ledger.managed.get(RoomId(room))) is not None
        and ledger.is_bridge_user(key)
        and not dm.is_marked_by((key,))
        for key, room in did.added
    )
