"""One account through a history: clients that write, a homeserver that keeps the last write, a bridge.

The rule that must never break: a history is made of its seed alone, and every strategy is played
the same chances: who syncs, who writes, what is seen.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.direct_strategies import Strategy
from dm_bridge.testing.writers import GHOST_PREFIX, WRITERS, Content, Names, Truth, Writer

CLIENTS = 3
STEPS = 100
SYNCED = 0.5
"""How often a client's /sync comes through between two events."""
NEW_CHAT = 0.25
SETTLING = 20
"""Decisions after the last write of others, at most; if the bridge still writes then, it never stops."""
_MEAN_SECONDS = 60.0
_BEFORE = 3


@dataclass(slots=True)
class Result:
    """Sums over histories: what there was, what went wrong, what it cost."""

    managed: int = 0
    others: int = 0
    unmarks: int = 0
    marks: int = 0
    managed_lost: int = 0
    others_lost: int = 0
    reverted: int = 0
    missed: int = 0
    resurrected: int = 0
    puts: int = 0
    livelocks: int = 0

    def add(self, other: Result) -> None:
        for one in dataclasses.fields(self):
            name = one.name
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Setting:
    """``writers``: whose kinds the clients are of; ``rate``: how many of their writes the bridge sees;
    ``echo``: how many of its own it sees again; ``race``: into how many of its writes a client writes between
    the bridge's read and its write; ``repeats``: see `Writer`."""

    writers: tuple[str, ...]
    rate: float = 1.0
    echo: float = 0.5
    race: float = 0.0
    repeats: float = 0.0
    steps: int = STEPS
    synced: float = SYNCED


class World:
    """The homeserver's copy, the clients around it, and the bridge under test."""

    def __init__(self, seed: int, setting: Setting, strategy: Strategy) -> None:
        self.setting = setting
        self.strategy = strategy
        self.truth = Truth()
        self.now = 0.0
        self.history: deque[Content] = deque([{}], maxlen=_BEFORE)
        self.result = Result()
        self._events = Random(f"events {seed}")
        self._seen = Random(f"seen {seed}")
        names = Names()
        self.clients: Sequence[Writer] = [
            WRITERS[kind](Random(f"{kind} {number} {seed}"), self.truth, names, setting.repeats)
            for number, kind in zip(range(CLIENTS), _kinds(seed, setting.writers), strict=False)
        ]

    def play(self) -> Result:
        self._observe()
        for _ in range(self.setting.steps):
            self.now += self._events.expovariate(1 / _MEAN_SECONDS)
            for client in self.clients:
                if self._events.random() < self.setting.synced:
                    client.sync(self.history[-1])
            if self._events.random() < NEW_CHAT:
                self._new_chat()
                self._observe()
            elif self._client_writes() and self._seen.random() < self.setting.rate:
                self._observe()
        self._settle()
        losses = self.truth.losses(self.history[-1])
        result = self.result
        result.managed = len(self.truth.wanted())
        result.others = len(self.truth.others)
        result.unmarks = self.truth.unmarks
        result.marks = len(self.truth.marked)
        result.managed_lost, result.others_lost = losses.managed_lost, losses.others_lost
        result.reverted, result.missed = losses.reverted, losses.missed
        result.resurrected = losses.resurrected
        return result

    def _new_chat(self) -> None:
        number = len(self.truth.managed)
        ghosts = sorted(set(self.truth.managed.values()))
        ghost = f"{GHOST_PREFIX}{number}:example.org"
        if ghosts and self._events.random() < 0.2:
            ghost = self._events.choice(ghosts)
        room = f"!managed{number}:example.org"
        self.truth.managed[room] = ghost
        self.strategy.manage(room, ghost)

    def _client_writes(self) -> bool:
        client = self.clients[self._events.randrange(len(self.clients))]
        written = client.write(self.history)
        if written is None:
            return False
        self.history.append(written)
        return True

    def _observe(self) -> bool:
        """The bridge sees what stands there; whether it wrote."""
        put = self.strategy.observe(self.history[-1], self.now)
        if put is None:
            return False
        raced = self.setting.race and self._seen.random() < self.setting.race
        between = self.history[-1] if raced and self._client_writes() else None
        self.history.append(put)
        self.result.puts += 1
        self.now += 0.1
        if between is not None:
            self._see(between)
        if self._seen.random() < self.setting.echo:
            self._see(self.history[-1])
        return True

    def _see(self, content: Content) -> None:
        """One more version comes by. If the bridge writes because of it, that is not seen again at once."""
        put = self.strategy.observe(content, self.now)
        if put is not None:
            self.history.append(put)
            self.result.puts += 1

    def _settle(self) -> None:
        """Everybody else has stopped: the bridge is to come to rest."""
        for _ in range(SETTLING):
            self.now += _MEAN_SECONDS
            if not self._observe():
                return
        self.result.livelocks += 1


def _kinds(seed: int, writers: tuple[str, ...]) -> list[str]:
    order = Random(f"kinds {seed}")
    kinds = order.sample(writers, min(CLIENTS, len(writers)))
    return [kinds[number % len(kinds)] for number in range(CLIENTS)]


def histories(count: int, seed: int, setting: Setting, make: Callable[[], Strategy]) -> Result:
    """The sums over ``count`` histories, the first of which is made of ``seed``."""
    total = Result()
    for number in range(count):
        total.add(World(seed + number, setting, make()).play())
    return total
