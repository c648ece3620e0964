"""Plays one history, and says what was wrong with it.

The rule that must never break: the same seed plays the same history, to the byte of its trace.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import structlog

from dm_bridge.testing.dice import Dice
from dm_bridge.testing.life import task_factory
from dm_bridge.testing.simulator.checks import Checks, Tally, rest
from dm_bridge.testing.simulator.faults import FAULTS
from dm_bridge.testing.simulator.faults_of_many import FAULTS_OF_MANY, HARMLESS
from dm_bridge.testing.simulator.people import DOINGS, Act
from dm_bridge.testing.simulator.plan import ONE, Plan, plan
from dm_bridge.testing.simulator.restoring import RESTORING
from dm_bridge.testing.simulator.world import World
from dm_bridge.testing.virtual_time import Stuck, VirtualLoop, run_virtually

PATIENCE = 7200.0
"""Seconds within which everything comes to rest after the last fault."""
PROMPT = 30.0
"""Seconds within which a message arrives while only another room is in trouble."""

ALL = {**DOINGS, **FAULTS, **FAULTS_OF_MANY, **RESTORING}
_NOBODY_ELSE_NOTICES = {"one room fails", *HARMLESS}

Sabotage = Callable[[World], None]
"""Breaks a new bridge, to see whether that is found."""


@dataclass(frozen=True, slots=True)
class Result:
    """``violations``: none if all was well. ``lasted``: seconds of virtual time."""

    seed: int
    kind: str
    violations: tuple[str, ...]
    trace: tuple[str, ...]
    injected: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    lasted: float = 0.0
    processes: int = 0


def play(seed: int, kind: str = ONE, chosen: Plan | None = None) -> Result:
    """The history of a seed, or of a plan of one's own, with the chance of that seed."""
    chosen = chosen or plan(seed, kind)
    loop = VirtualLoop()
    loop.set_task_factory(cast(Any, task_factory))
    state = random.getstate()
    random.seed(f"bridge {chosen.name}")
    dice = Dice(f"dice {chosen.name}", loop.time)
    try:
        return run_virtually(_play(chosen, dice), loop)
    except Stuck as error:
        return Result(seed, kind, (str(error),), tuple(dice.trace), dice.injected)
    finally:
        random.setstate(state)


async def _play(chosen: Plan, dice: Dice) -> Result:
    world = World(dice, chosen.setup)
    checks = Checks(world)
    with _hearing(world):
        world.start(world.pusher.run())
        for _ in range(world.wanted):
            world.launch()
        for person in world.people:
            await world.log_in(person)
            world.follow_invites(person)
        began = world.now
        acts = []
        for act in chosen.acts:
            await asyncio.sleep(max(0.0, began + act.at - world.now))
            dice.say(f"act: {act.kind} {act.person} {act.contact}")
            acts.append(world.start(ALL[act.kind](world, act)))
        if acts:
            await asyncio.wait(acts)
        for sweep in (True, False):
            if not await rest(checks, PATIENCE):
                checks.found(f"no rest: {', '.join(checks.unfinished()[:8])}")
                break
            if sweep:
                for bridge in world.bridges:
                    bridge.sweep()
                await asyncio.sleep(1.0)
        else:
            checks.at_rest()
            _was_prompt(chosen.acts, world, checks)
        for problem in world.broken:
            checks.found(problem)
        await world.end()
    return Result(
        chosen.seed,
        chosen.kind,
        tuple(checks.violations),
        tuple(dice.trace),
        dice.injected,
        checks.tally,
        world.now,
        world.processes,
    )


def _was_prompt(acts: tuple[Act, ...], world: World, checks: Checks) -> None:
    """Where the only trouble was that of single rooms, nobody else had to wait."""
    if any(act.kind not in DOINGS and act.kind not in _NOBODY_ELSE_NOTICES for act in acts):
        return
    troubled = {
        (world.people[act.person].account.address, world.people[act.person].contacts[act.contact])
        for act in acts
        if act.kind in ("one room fails", "user_upgrades")  # whose client may let the ghost wait
    }
    for (account, contact), delay in checks.delays.items():
        if (account, contact) not in troubled and delay > PROMPT:
            checks.found(f"a message between {account} and {contact} took {delay:.0f} seconds")


@contextmanager
def _hearing(world: World) -> Iterator[None]:
    """Listen to the log of the bridge: what it calls an error of its own is one."""

    def hear(_logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        said = event["event"]
        if method == "exception" or "of our own" in said:
            error = _current_error()
            if "a bug of the connector" not in error:
                world.broken.append(f"{said}: {error}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[hear],
        wrapper_class=structlog.make_filtering_bound_logger(40),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _current_error() -> str:
    return repr(sys.exc_info()[1])
