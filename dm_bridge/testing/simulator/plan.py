"""The plan of a history: what it begins with, what people do, and which faults happen when. Pure.

There are *kinds* of histories: of one process (`ONE`), of several on one database (`MANY`), and of a homeserver
that is restored from a backup (`RESTORED`).

The rule that must never break: a plan follows from its seed and its kind alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from dm_bridge.testing.simulator.bridge import Settings
from dm_bridge.testing.simulator.faults import FAULTS
from dm_bridge.testing.simulator.faults_of_many import FAULTS_OF_MANY
from dm_bridge.testing.simulator.people import Act
from dm_bridge.testing.simulator.world import Setup

ONE, MANY, RESTORED = "one", "many", "restored"
KINDS = (ONE, MANY, RESTORED)
MOST_FAULTS = 5
_SELDOM = {
    "user_begins": 0.5,
    "user_leaves": 0.15,
    "user_kicks": 0.1,
    "user_upgrades": 0.15,
    "friend_visits": 0.1,
    "client_reads": 0.5,
    "client_adds": 0.4,
    "client_writes_old": 0.2,
    "user_unmarks": 0.15,
}
"""How likely somebody does what happens at most once in a chat."""
_TOO_LONG = ("homeserver away for long",)
"""What lasts for hours, in which several processes do a lot; it is played with one."""
RESTORED_TOO = 0.05
"""How likely the homeserver is restored from a backup where there are several processes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``acts``: in the order in which they begin."""

    seed: int
    setup: Setup
    acts: tuple[Act, ...]
    kind: str = ONE

    @property
    def name(self) -> str:
        """What its chance follows from."""
        return f"{self.seed}" if self.kind == ONE else f"{self.kind} {self.seed}"


def plan(seed: int, kind: str = ONE) -> Plan:
    """The plan of a seed."""
    if kind == MANY:
        return _of_many(seed)
    if kind == RESTORED:
        return _of_restored(seed)
    draw = Random(f"plan {seed}")  # noqa: S311 - a simulation, no secret
    setup = _setup(draw, users=draw.choice((1, 1, 1, 2)), contacts=draw.choice((1, 2, 2, 3)))
    length, acts = _chats(draw, setup)
    acts += _faults(draw, setup, length, list(FAULTS))
    return Plan(seed, setup, _in_order(acts))


def _of_many(seed: int) -> Plan:
    draw = Random(f"plan {MANY} {seed}")  # noqa: S311
    setup = replace(
        _setup(draw, users=draw.choice((1, 2, 3, 4)), contacts=draw.choice((1, 1, 2))),
        processes=draw.choice((1, 2, 2, 3)),
        lease=draw.choice((10.0, 30.0)),
        one_machine=draw.random() < 0.3,
    )
    length, acts = _chats(draw, setup)
    of_one = [kind for kind in FAULTS if kind not in _TOO_LONG]
    for kinds in (list(FAULTS_OF_MANY), draw.choice(([], of_one))):
        acts += _faults(draw, setup, length, kinds)
    if draw.random() < RESTORED_TOO:
        acts += _restore(draw, setup, length)
    return Plan(seed, setup, _in_order(acts), MANY)


def _of_restored(seed: int) -> Plan:
    draw = Random(f"plan {RESTORED} {seed}")  # noqa: S311
    setup = _setup(draw, users=draw.choice((1, 1, 2)), contacts=draw.choice((1, 2, 3)))
    length, acts = _chats(draw, setup)
    acts += _faults(draw, setup, length, draw.choice(([], list(FAULTS))))
    for _ in range(draw.choice((1, 1, 2))):
        acts += _restore(draw, setup, length)
    return Plan(seed, setup, _in_order(acts), RESTORED)


def _restore(draw: Random, setup: Setup, length: float) -> list[Act]:
    """The homeserver is restored, and somewhat later some go on."""
    at = draw.uniform(0, length)
    acts = [Act(at, "homeserver restored", size=draw.random())]
    for person in range(setup.users):
        for contact in range(setup.contacts):
            acts += [
                Act(at + draw.uniform(5, 250), kind, person, contact, draw.random())
                for kind in ("contact_writes", "user_writes", "writes_elsewhere", "user_begins")
                for _ in range(draw.choice((0, 0, 1, 2)))
            ]
    return acts


def _in_order(acts: list[Act]) -> tuple[Act, ...]:
    return tuple(sorted(acts, key=lambda act: act.at))


def _setup(draw: Random, *, users: int, contacts: int) -> Setup:
    return Setup(
        users=users,
        contacts=contacts,
        archives=draw.random() < 0.75,
        settings=Settings(
            auto_join=draw.random() < 0.7,
            mark_ghosts=draw.random() < 0.5,
            accounts=draw.random() < 0.85,
            status_events=draw.random() < 0.2,
        ),
    )


def _chats(draw: Random, setup: Setup) -> tuple[float, list[Act]]:
    """How long it lasts, and what happens in all chats."""
    length = draw.choice((2.0, 20.0, 60.0, 120.0))
    return length, [
        act
        for person in range(setup.users)
        for contact in range(setup.contacts)
        for act in _chat(draw, person, contact, length)
    ]


def _faults(draw: Random, setup: Setup, length: float, kinds: Sequence[str]) -> list[Act]:
    acts: list[Act] = []
    if not kinds:
        return acts
    for kind in draw.choices(kinds, k=draw.randint(0, MOST_FAULTS)):
        for _ in range(draw.choice((1, 1, 1, 2))):
            person, contact = draw.randrange(setup.users), draw.randrange(setup.contacts)
            acts.append(Act(draw.uniform(0, length), kind, person, contact, draw.random()))
    return acts


def _chat(draw: Random, person: int, contact: int, length: float) -> list[Act]:
    """What happens in one chat. Messages often come in a burst."""
    acts = []
    for kind, most in (("contact_writes", 5), ("user_writes", 5), ("writes_elsewhere", 2)):
        burst = draw.random() < 0.3
        begin = draw.uniform(0, length)
        for _ in range(draw.randint(0, most)):
            at = begin + draw.uniform(0, 0.2) if burst else draw.uniform(0, length)
            acts.append(Act(at, kind, person, contact, draw.random()))
    acts += [
        Act(draw.uniform(0, length), kind, person, contact, draw.random())
        for kind, probability in _SELDOM.items()
        if draw.random() < probability
    ]
    return acts
