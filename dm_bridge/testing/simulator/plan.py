"""The plan of a history: what it begins with, what people do, and which faults happen when. Pure.

The rule that must never break: a plan follows from its seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from dm_bridge.testing.simulator.bridge import Settings
from dm_bridge.testing.simulator.faults import FAULTS
from dm_bridge.testing.simulator.people import Act
from dm_bridge.testing.simulator.world import Setup

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


@dataclass(frozen=True, slots=True)
class Plan:
    """``acts``: in the order in which they begin."""

    seed: int
    setup: Setup
    acts: tuple[Act, ...]


def plan(seed: int) -> Plan:
    """The plan of a seed."""
    draw = Random(f"plan {seed}")  # noqa: S311 - a simulation, no secret
    setup = Setup(
        users=draw.choice((1, 1, 1, 2)),
        contacts=draw.choice((1, 2, 2, 3)),
        archives=draw.random() < 0.75,
        settings=Settings(
            auto_join=draw.random() < 0.7,
            mark_ghosts=draw.random() < 0.5,
            accounts=draw.random() < 0.85,
            status_events=draw.random() < 0.2,
        ),
    )
    length = draw.choice((2.0, 20.0, 60.0, 120.0))
    acts = [
        act
        for person in range(setup.users)
        for contact in range(setup.contacts)
        for act in _chat(draw, person, contact, length)
    ]
    for kind in draw.choices(list(FAULTS), k=draw.randint(0, MOST_FAULTS)):
        for _ in range(draw.choice((1, 1, 1, 2))):
            person, contact = draw.randrange(setup.users), draw.randrange(setup.contacts)
            acts.append(Act(draw.uniform(0, length), kind, person, contact, draw.random()))
    return Plan(seed, setup, tuple(sorted(acts, key=lambda act: act.at)))


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
