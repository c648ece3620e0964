"""What differs between two ``m.direct`` documents, as a set of atoms gone and a set of atoms come.

An *atom* is the smallest thing a writer can change: an entry, as (key, room id), or whatever else
stands under a key, as (key, canonical JSON text). The two never collide: a room id begins with
``!``, which no JSON text does. Order, duplicates and empty lists are no atoms: they carry no meaning.

The rule that must never break: ``difference(a, b)`` is empty exactly when ``a.same_meaning(b)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dm_bridge.direct.document import DirectDocument

Atom = tuple[str, str]
Subject = str
"""What an edit is about: a room id, or ``=`` and a key whose other content changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """Atoms that one version has and another has not. ``added`` and ``removed`` are disjoint."""

    added: frozenset[Atom] = frozenset()
    removed: frozenset[Atom] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)


NO_CHANGE = Change()


def difference(old: DirectDocument, new: DirectDocument) -> Change:
    """What turns ``old`` into ``new``. Costs time for the keys that differ, little for the others."""
    if old is new:
        return NO_CHANGE
    added: set[Atom] = set()
    removed: set[Atom] = set()
    for key in old.keys_unlike(new):
        before, after = old.atoms_of(key), new.atoms_of(key)
        added |= after - before
        removed |= before - after
    return Change(frozenset(added), frozenset(removed))


def subject(atom: Atom) -> Subject:
    """What a change of ``atom`` is about. A room that changes its key is one subject, not two."""
    key, item = atom
    return item if item.startswith("!") else f"={key}"


def subjects(atoms: Iterable[Atom]) -> frozenset[Subject]:
    """The subjects of several atoms."""
    return frozenset(map(subject, atoms))
