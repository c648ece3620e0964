"""The versions of one account's document that were seen or written, newest last.

Only the newest version, the *head*, is kept whole. Each version knows how it differs from the one
before it, so that older ones are reached by walking back, at the cost of what changed, not of
what stands there.

The rule that must never break: the changes chain. Undoing the change of the newest version from the
head gives the version before it, and so on; what is forgotten is forgotten from the far end.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from dm_bridge.direct.change import NO_CHANGE, Change, Subject, difference, subject
from dm_bridge.direct.document import DirectDocument
from dm_bridge.direct.reasons import Reason


class Source(enum.Enum):
    """How a version came to be known."""

    PUSHED = "pushed"
    """The homeserver's module pushed it."""
    WATCHED = "watched"
    """It came down a watched /sync."""
    ACTIVITY = "activity"
    """It was read because the account did something."""
    SWEEP = "sweep"
    """It was read because it had not been read for long."""
    READ = "read"
    """It was read before or after a write of ours."""
    WRITTEN = "written"
    """We wrote it."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version. ``at``: seconds since the epoch; ``change``: from the version before it."""

    seq: int
    at: float
    source: Source
    change: Change = NO_CHANGE
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many versions a journal remembers, and for how many seconds. The head always stays."""

    count: int = 200
    age: float = 90 * 86400.0


DEFAULT_BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class Struggle:
    """How often a room was fought over of late (`dm_bridge.direct.conflicts`), and when last."""

    times: int
    at: float


@dataclass(frozen=True, slots=True)
class Journal:
    """What is remembered of an account's document.

    ``doubt``: set while the head is a version of ours that has not been seen since it was decided
    on: the document that stood there then. ``echoes``: whether every write of ours came
    back as an observation; None while there was none. ``struggles``: rooms that others keep changing.
    ``attempted``: whether the write in doubt was really tried; ``sent``: whether it may have been. While it surely
    was not, nobody can have had the head in front of them.
    """

    head: DirectDocument | None = None
    versions: tuple[Version, ...] = ()
    doubt: DirectDocument | None = None
    echoes: bool | None = None
    attempted: bool = True
    sent: bool = True
    struggles: Mapping[Subject, Struggle] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def seq(self) -> int:
        """The number of the head; 0 before anything was seen."""
        return self.versions[-1].seq if self.versions else 0

    def seen(
        self,
        document: DirectDocument,
        at: float,
        source: Source,
        reasons: tuple[Reason, ...] = (),
        change: Change | None = None,
    ) -> Journal:
        """``document`` stands there: the new head, unless it means what the head means.

        ``change``: from the head to it, when that is known already.
        """
        if change is None:
            change = NO_CHANGE if self.head is None else difference(self.head, document)
        if self.versions and not change:
            return replace(self, head=document, doubt=None)
        version = Version(self.seq + 1, at, source, change, reasons)
        return replace(self, head=document, versions=(*self.versions, version), doubt=None)

    def intend(
        self,
        document: DirectDocument,
        at: float,
        reasons: tuple[Reason, ...],
        doubt: DirectDocument,
        *,
        attempted: bool = True,
        change: Change | None = None,
    ) -> Journal:
        """``document`` is to be written over ``doubt``: the new head, for as long as that lasts.

        ``change``: from the head to it, when that is known already.
        """
        journal = self.seen(document, at, Source.WRITTEN, reasons, change)
        return replace(journal, doubt=doubt, attempted=attempted, sent=attempted)

    def untried(self) -> Journal:
        """The intended version surely was not written; it is decided upon again when the document is next seen.

        It stays the head: entries of others that it gives back are remembered nowhere else.
        """
        return self if self.doubt is None else replace(self, attempted=False, sent=False)

    def sending(self) -> Journal:
        """The intended version is about to be written: from now on somebody may have it."""
        return replace(self, sent=True)

    def abandon(self) -> Journal:
        """As if nothing had been intended: to decide anew about what stands there."""
        if self.doubt is None:
            return self
        written = self.versions[-1]
        if written.source is not Source.WRITTEN:  # it would have changed nothing
            return replace(self, doubt=None)
        before = self.versions[:-1] or (Version(written.seq, written.at, Source.READ),)
        return replace(self, head=self.doubt, versions=before, doubt=None)

    def bounded(self, bounds: Bounds, now: float) -> Journal:
        """Without the versions that are too many or too old."""
        kept = self.versions[-max(1, bounds.count) :]
        start = 0
        while start < len(kept) - 1 and kept[start].at < now - bounds.age:
            start += 1
        kept = kept[start:]
        return self if len(kept) == len(self.versions) else replace(self, versions=kept)

    def distances(self, change: Change) -> Iterator[tuple[int, Distance]]:
        """For every version from the head back, its age (0: the head) and how far W is from it.

        ``change``: from the head to W. The same `Distance` is handed out again and again, changed:
        take what is needed before going on.
        """
        distance = Distance(change)
        for age, version in enumerate(reversed(self.versions)):
            yield age, distance
            distance.undo(version.change)


class Distance:
    """How a document W differs from a version B, kept up to date while B walks back in time."""

    __slots__ = ("_counts", "added", "removed")

    def __init__(self, change: Change) -> None:
        self.added = set(change.added)
        self.removed = set(change.removed)
        self._counts: dict[Subject, int] = {}
        for atom in (*self.added, *self.removed):
            self._count(subject(atom), 1)

    @property
    def edits(self) -> int:
        """How many subjects differ: a room that changed its key is one edit."""
        return len(self._counts)

    @property
    def change(self) -> Change:
        """From B to W."""
        return Change(frozenset(self.added), frozenset(self.removed))

    def undo(self, step: Change) -> None:
        """B becomes the version before it, from which ``step`` led to B."""
        for atom in step.added:
            self._toggle(atom, self.removed, self.added)
        for atom in step.removed:
            self._toggle(atom, self.added, self.removed)

    def _toggle(
        self, atom: tuple[str, str], gone: set[tuple[str, str]], come: set[tuple[str, str]]
    ) -> None:
        if atom in gone:
            gone.discard(atom)
            self._count(subject(atom), -1)
        else:
            come.add(atom)
            self._count(subject(atom), 1)

    def _count(self, what: Subject, by: int) -> None:
        count = self._counts.get(what, 0) + by
        if count:
            self._counts[what] = count
        else:
            del self._counts[what]
