"""Which version had a writer in front of them? From it follows what they did.

Nobody says so: a client writes the whole document, made from whatever copy it has. But it makes
few edits at a time, and none at all is no reason to write. So the version that W was made from is
taken to be the one with the fewest edits to W, but at least one; of several, the newest, unless something
speaks against that one (`dm_bridge.direct.evidence`). What we were about to write, and surely did not, was in
front of nobody. An edit is one room added, removed or moved to another key, or one piece of other content
changed.

Exactly an older version again, W can be, too, and that is ambiguous. In this order:

1. W is what stood there when we decided on a write that has not been seen since. Then the write
   did not arrive (`Kind.NOT_WRITTEN`), if every other write of ours was seen or this one was never accepted, and
   if W reads the same to the last empty list: who takes a mark away often leaves one behind. Otherwise the
   silence says nothing.
2. W is one edit away from the head: the user took their last step back (`Kind.EDIT`), unless an edit
   of an older version explains it better.
3. All of one contact outside the bridge, and nothing else, was taken away or moved: somebody did that
   (`Kind.EDIT`).
4. W is further away: the document jumped back (`Kind.JUMPED_BACK`), as after a restored backup. Nobody
   edited anything. Two edits away, a client with an old copy may have taken back its own last step; that counts
   for the chats of the bridge only, where a decision of the user is at stake.

The rule that must never break: total and deterministic; what it says a writer did, applied to the
version it names, gives what they wrote, except for a document that jumped back.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dm_bridge.direct import evidence
from dm_bridge.direct.change import NO_CHANGE, Change, difference
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.evidence import Doubt
from dm_bridge.direct.journal import Distance, Journal
from dm_bridge.direct.ledger import Ledger

FAR = 3
"""Edits from the head to an exact older version that nobody makes by hand between two looks."""


class Kind(enum.Enum):
    """How a document came about."""

    FIRST = "first"
    """Nothing was seen before: it is as it is."""
    SAME = "same"
    """It says what the head says."""
    EDIT = "edit"
    """Made from the head: its writer knew everything."""
    STALE = "stale"
    """Made from an older version: what came later was unknown to its writer."""
    JUMPED_BACK = "jumped_back"
    """An older version, whole, without anybody's edit."""
    NOT_WRITTEN = "not_written"
    """What stood there before our last write, which did not arrive."""


@dataclass(frozen=True, slots=True)
class Origin:
    """``from_head``: how the head and the document differ. ``did``: what its writer changed.

    ``only_ours``: of what they did, only what concerns chats of the bridge is certain enough.
    """

    kind: Kind
    from_head: Change = NO_CHANGE
    did: Change = NO_CHANGE
    only_ours: bool = False


def find(ledger: Ledger, journal: Journal, document: DirectDocument) -> Origin:
    """The origin of ``document``, which stands there now."""
    if journal.head is None:
        return Origin(Kind.FIRST)
    from_head = difference(journal.head, document)
    if not from_head:
        return Origin(Kind.SAME)
    tells = journal.echoes is not False or not journal.attempted
    if tells and _is_in_doubt(journal, document):
        return Origin(Kind.NOT_WRITTEN, from_head)
    search = _Search(ledger, journal, document, from_head)
    for age, distance in journal.distances(from_head):
        search.consider(age, distance)
    made = Origin(Kind.STALE if search.age else Kind.EDIT, from_head, search.did)
    if not search.exact:
        return made
    if search.edits_from_head == 1:
        return made
    if evidence.is_one_contact(ledger, document, from_head):
        return Origin(Kind.EDIT, from_head, from_head)
    if search.edits_from_head < FAR and search.fewest == 1:
        return Origin(Kind.JUMPED_BACK, from_head, search.did, only_ours=True)
    return Origin(Kind.JUMPED_BACK, from_head)


class _Search:
    """For the version that W was made from. ``did``: the ``fewest`` edits, from the version of that ``age``;
    ``exact``: some version is W itself."""

    def __init__(
        self, ledger: Ledger, journal: Journal, document: DirectDocument, from_head: Change
    ) -> None:
        self._ledger = ledger
        self._journal = journal
        self._document = document
        self.fewest = 0
        self._doubt: Doubt | None = None
        self.edits_from_head = 0
        self.did = from_head
        self.age = 0
        self.exact = False

    def consider(self, age: int, distance: Distance) -> None:
        """Another version, older than those before."""
        edits = distance.edits
        if age == 0:
            self.edits_from_head = edits
            if self._journal.doubt is not None and not self._journal.sent:
                return  # it was never there
        if edits == 0:
            self.exact = True
        elif not self.fewest or edits < self.fewest:
            self.fewest, self.age, self.did, self._doubt = edits, age, distance.change, None
        elif edits == self.fewest < FAR:
            self._weigh(age, distance.change)

    def _weigh(self, age: int, did: Change) -> None:
        """``did`` explains W in as many edits as what was found."""
        if self._doubt is None:
            self._doubt = self._doubt_of(self.did)
        if self._doubt is Doubt.NONE or (other := self._doubt_of(did)) >= self._doubt:
            return
        if self._doubt is Doubt.UNPROVEN and not evidence.outweighs(
            self._ledger, did, newest=self.age == 0
        ):
            return
        self.age, self.did, self._doubt = age, did, other

    def _doubt_of(self, did: Change) -> Doubt:
        return evidence.doubt(self._ledger, self._journal, self._document, did)


def _is_in_doubt(journal: Journal, document: DirectDocument) -> bool:
    """Whether this is what stood there before a write of ours that was not seen since, word for word."""
    return journal.doubt is not None and journal.doubt.reads_like(document)
