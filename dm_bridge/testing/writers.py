"""Clients that write ``m.direct`` as real ones do, each from the copy that it has, and what their users meant.

A `Writer` turns the copy in front of it into what it writes; `Truth` records what the user wanted by
it, so that afterwards everything that is missing, or there against their will, can be counted. An edit concerns a
room: who removes a room on an old copy removes it, also from a key to which it was moved in the meantime.

The rule that must never break: chance comes from the generator that a writer was given, and from
nowhere else: one seed, one history.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

Content = dict[str, Any]
Entry = tuple[str, str]

BOT = "@bridgebot:example.org"
GHOST_PREFIX = "@_dm_"
PEOPLE = tuple(f"@friend{n}:example.org" for n in range(8))


def entries(content: Mapping[str, Any]) -> set[Entry]:
    """The (key, room) pairs in ``content``, as a lenient reader finds them."""
    return {
        (key, room)
        for key, value in content.items()
        if isinstance(value, list)
        for room in value
        if isinstance(room, str) and room.startswith("!")
    }


@dataclass(frozen=True, slots=True)
class Losses:
    """What is wrong with a document, in entries: measured against what was meant."""

    managed_lost: int
    """Chats of the bridge that should be marked under their ghost and are not."""
    others_lost: int
    """Entries of other rooms that somebody made, nobody removed, and that are gone."""
    reverted: int
    """Chats that the user unmarked, and that are marked again."""
    missed: int
    """Chats that the user unmarked, then marked again, and that are not marked."""
    resurrected: int
    """Entries of other rooms that the user removed or moved away, and that are back."""


@dataclass(slots=True)
class Truth:
    """What everybody means the document to say. ``managed``: room to ghost, for the bridge's rooms.

    ``marked``: rooms of the bridge that the user unmarked and marked again.
    """

    managed: dict[str, str] = field(default_factory=dict)
    unmarked: set[str] = field(default_factory=set)
    marked: set[str] = field(default_factory=set)
    others: set[Entry] = field(default_factory=set)
    unmarks: int = 0

    def add(self, key: str, room: str) -> None:
        self.others.add((key, room))

    def remove(self, room: str) -> None:
        self.others = {entry for entry in self.others if entry[1] != room}

    def move(self, room: str, key: str) -> None:
        self.remove(room)
        self.add(key, room)

    def unmark(self, room: str) -> None:
        self.unmarks += room not in self.unmarked
        self.unmarked.add(room)
        self.marked.discard(room)

    def mark(self, room: str) -> None:
        self.unmarked.discard(room)
        self.marked.add(room)

    def wanted(self) -> set[Entry]:
        """The entries that the bridge is to keep."""
        return {(ghost, room) for room, ghost in self.managed.items() if room not in self.unmarked}

    def losses(self, content: Mapping[str, Any]) -> Losses:
        """How far ``content`` is from what was meant."""
        found = entries(content)
        strangers = {entry for entry in found if entry[1] not in self.managed}
        marked = {room for key, room in found if key == self.managed.get(room)}
        lost = {room for _, room in self.wanted() - found}
        return Losses(
            managed_lost=len(lost - self.marked),
            others_lost=len(self.others - found),
            reverted=len(self.unmarked & marked),
            missed=len(lost & self.marked),
            resurrected=len(strangers - self.others),
        )


class Names:
    """Room ids that were never used before."""

    def __init__(self) -> None:
        self._number = 0

    def room(self) -> str:
        self._number += 1
        return f"!other{self._number}:example.org"


class Writer(ABC):
    """One client. ``cache``: the document of its last /sync, or what it wrote itself since.

    Its user does again what somebody undid. What was done, and is done still, they do once more on an
    old copy that does not show it, with the probability ``repeats``.
    """

    def __init__(self, rng: Random, truth: Truth, names: Names, repeats: float = 0.0) -> None:
        self.rng = rng
        self.truth = truth
        self.names = names
        self.repeats = repeats
        self.cache: Content = {}
        self._current: Content = {}

    def sync(self, content: Content) -> None:
        """A /sync of this client comes through."""
        self.cache = content

    def write(self, history: Sequence[Content]) -> Content | None:
        """What it PUTs now, None: nothing. ``history``: what stood on the homeserver, newest last."""
        self._current = history[-1]
        content = copy.deepcopy(self.base(history))
        if not self.edit(content):
            return None
        content = self.shape(content)
        self.cache = content
        return content

    def base(self, history: Sequence[Content]) -> Content:
        """The copy that it works on."""
        return self.cache

    @abstractmethod
    def edit(self, content: Content) -> bool:
        """Do to ``content`` what the user wants, and tell the truth; False: they want nothing."""

    def shape(self, content: Content) -> Content:
        """How it writes ``content`` down."""
        return content

    # what users do

    def _add(self, content: Content) -> bool:
        ghosts = sorted(set(self.truth.managed.values()))
        key = self.rng.choice(ghosts if ghosts and self.rng.random() < 0.1 else PEOPLE)
        room = self.names.room()
        put_under(content, key, room)
        self.truth.add(key, room)
        return True

    def _remove(self, content: Content) -> bool:
        entry = self._other(content)
        if entry is None:
            return False
        take_out(content, entry[1])
        self.truth.remove(entry[1])
        return True

    def _move(self, content: Content) -> bool:
        entry = self._other(content)
        key = self.rng.choice(PEOPLE)
        if entry is None or (key, entry[1]) in entries(content):
            return False
        take_out(content, entry[1])
        put_under(content, key, entry[1])
        self.truth.move(entry[1], key)
        return True

    def _unmark(self, content: Content) -> bool:
        entry = self._managed(content)
        if entry is None:
            return False
        take_out(content, entry[1])
        self.truth.unmark(entry[1])
        return True

    def _mark(self, content: Content) -> bool:
        marked = {room for _, room in entries(content)}
        rooms = sorted(self.truth.unmarked - marked)
        if not rooms:
            return False
        room = self.rng.choice(rooms)
        put_under(content, self.truth.managed[room], room)
        self.truth.mark(room)
        return True

    def _ordinary(self, content: Content) -> bool:
        """An edit as users make them, by how often they do."""
        kinds: dict[Callable[[Content], bool], int] = {
            self._add: 58, self._remove: 15, self._unmark: 16, self._move: 8, self._mark: 3,
        }  # fmt: skip
        return self.rng.choices([*kinds], [*kinds.values()])[0](content)

    def _other(self, content: Content) -> Entry | None:
        return self._choose({e for e in entries(content) if e[1] not in self.truth.managed})

    def _managed(self, content: Content) -> Entry | None:
        managed = self.truth.managed
        return self._choose({e for e in entries(content) if e[0] == managed.get(e[1])})

    def _choose(self, candidates: set[Entry]) -> Entry | None:
        if self.rng.random() >= self.repeats:
            present = {room for _, room in (*self.truth.others, *entries(self._current))}
            meant = self.truth.managed.keys() - self.truth.unmarked
            candidates = {entry for entry in candidates if entry[1] in present | meant}
        return self.rng.choice(sorted(candidates)) if candidates else None


class CacheOverwriter(Writer):
    """Element Web, FluffyChat, Cinny: changes its /sync cache and writes that."""

    def edit(self, content: Content) -> bool:
        return self._ordinary(content)


class Racer(CacheOverwriter):
    """Element X on creation, nheko: reads from the homeserver, then writes, while others may write between.

    It leaves no empty lists.
    """

    def base(self, history: Sequence[Content]) -> Content:
        missed = self.rng.choices((0, 1, 2), (60, 30, 10))[0]
        return history[max(0, len(history) - 1 - missed)]

    def shape(self, content: Content) -> Content:
        return {key: value for key, value in content.items() if value != []}


class Rebuilder(CacheOverwriter):
    """Element Android: writes the map anew from its database, which knows rooms and one contact for each."""

    def shape(self, content: Content) -> Content:
        rebuilt: Content = {}
        placed: set[str] = set()
        for key, value in content.items():
            for room in dict.fromkeys(room for _, room in sorted(entries({key: value}))):
                if room not in placed:
                    placed.add(room)
                    rebuilt.setdefault(key, []).append(room)
        return rebuilt


class Mover(CacheOverwriter):
    """Puts rooms under other keys: its user's choice among people; once each the inviter's, which is the bot."""

    def __init__(self, rng: Random, truth: Truth, names: Names, repeats: float = 0.0) -> None:
        super().__init__(rng, truth, names, repeats)
        self._joined: set[str] = set()

    def edit(self, content: Content) -> bool:
        chance = self.rng.random()
        if chance < 0.35:
            return self._move(content)
        if chance < 0.55:
            return self._misplace(content)
        if chance < 0.6:
            return self._rekey(content)
        return self._ordinary(content)

    def _misplace(self, content: Content) -> bool:
        entry = self._managed(content)
        if entry is None or entry[1] in self.truth.unmarked | self._joined:
            return False
        self._joined.add(entry[1])
        take_out(content, entry[1])
        put_under(content, BOT, entry[1])
        return True

    def _rekey(self, content: Content) -> bool:
        entry = self._managed(content)
        if entry is None:
            return False
        take_out(content, entry[1])
        put_under(content, self.rng.choice(PEOPLE), entry[1])
        self.truth.unmark(entry[1])
        return True


class BotMarker(CacheOverwriter):
    """Element X and nheko on joining: marks a room under every member, the bridge's bot among them."""

    def __init__(self, rng: Random, truth: Truth, names: Names, repeats: float = 0.0) -> None:
        super().__init__(rng, truth, names, repeats)
        self._joined: set[str] = set()

    def edit(self, content: Content) -> bool:
        entry = self._managed(content) if self.rng.random() < 0.4 else None
        if entry is None or entry[1] in self.truth.unmarked | self._joined:
            return self._ordinary(content)
        self._joined.add(entry[1])
        put_under(content, BOT, entry[1])
        return True


class Shuffler(CacheOverwriter):
    """Keeps the document in containers without order, and appends without looking: reorders and doubles.

    Now and then it does so right after a /sync, without an edit.
    """

    def __init__(self, rng: Random, truth: Truth, names: Names, repeats: float = 0.0) -> None:
        super().__init__(rng, truth, names, repeats)
        self._tidies = False

    def base(self, history: Sequence[Content]) -> Content:
        self._tidies = self.rng.random() < 0.3
        return history[-1] if self._tidies else self.cache

    def edit(self, content: Content) -> bool:
        return self._tidies or self._ordinary(content)

    def shape(self, content: Content) -> Content:
        shuffled: Content = {}
        for key in self.rng.sample(sorted(content), len(content)):
            value = content[key]
            if isinstance(value, list):
                value = self.rng.sample(value, len(value))
                value += value[:1] if len(value) < 8 else []
            shuffled[key] = value
        return shuffled


class Spoiler(CacheOverwriter):
    """Writes what the specification does not allow: beside the lists, within them, in place of ours."""

    _JUNK = ("!room-as-text:example.org", None, 5, {"nested": [None]}, True, 1.5)

    def edit(self, content: Content) -> bool:
        chance = self.rng.random()
        junk = self.rng.choice(self._JUNK)
        key = f"junk{self.rng.randrange(5)}"
        if chance < 0.15 and repr(content.get(key, self)) != repr(junk):
            content[key] = copy.deepcopy(junk)
            return True
        if chance < 0.3 and content:
            value = content[self.rng.choice(sorted(content))]
            if isinstance(value, list):
                value.append(None if isinstance(junk, str) else copy.deepcopy(junk))
                return True
        if chance < 0.4:
            entry = self._managed(content)
            if entry is not None and len(content[entry[0]]) == 1 and self._wanted(entry):
                content[entry[0]] = None if isinstance(junk, str) else copy.deepcopy(junk)
                return True
        return self._ordinary(content)

    def _wanted(self, entry: Entry) -> bool:
        return entry in self.truth.wanted()


WRITERS: Mapping[str, type[Writer]] = {
    "cache overwriter": CacheOverwriter,
    "GET-PUT racer": Racer,
    "map rebuilder": Rebuilder,
    "mover": Mover,
    "bot marker": BotMarker,
    "shuffler": Shuffler,
    "spoiler": Spoiler,
}


def put_under(content: Content, key: str, room: str) -> None:
    """Append ``room`` to the list of ``key``, whatever else stands there."""
    value = content.get(key)
    content[key] = [*(value if isinstance(value, list) else ()), room]


def take_out(content: Content, room: str) -> None:
    """Take ``room`` out of every list; lists that this empties stay, as with most clients."""
    for key, value in content.items():
        if isinstance(value, list) and room in value:
            content[key] = [item for item in value if item != room]
