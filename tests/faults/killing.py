"""The bridge dies, hangs, or is told to go: at random, and at named points of its conversations.

The rule that must never break: a kill is a SIGKILL that the bridge cannot see coming; at a named point it comes
before the frame at that point is passed on.
"""

from __future__ import annotations

import asyncio
import signal

from dm_bridge.testing.dialects import Frame
from dm_bridge.testing.fault_proxy import DROP, PASS, FaultProxy, Verdict
from tests.faults.load import Run
from tests.faults.scenarios import Inject, Scenario
from tests.faults.world import World

SEND = r"^PUT .*/send/m\.room\.message/"
TRANSACTION = r"^PUT .*/transactions/"
_AWAY = (0.0, 1.0)


def _proxy(world: World, name: str) -> FaultProxy:
    proxy: FaultProxy = getattr(world, name)
    return proxy


def kill_at(proxy: str, pattern: str, *, answer: bool, among: int = 1) -> Inject:
    """Kill when such a frame comes: the first, or by the seed one of the first ``among``."""

    async def inject(run: Run) -> None:
        async def kill(_: Frame) -> Verdict:
            await run.world.bridge.kill()
            return DROP

        skip = run.rng.randrange(among)
        trap = _proxy(run.world, proxy).when(pattern, kill, answer=answer, skip=skip)
        await run.happened(trap.sprung, pattern)
        await run.some_time(*_AWAY)
        await run.world.restart()
        await run.some_time()

    return inject


async def kill_after_arrival(run: Run) -> None:
    """Kill when a message is with the network, before the network's acknowledgement is passed on."""
    trap_set = asyncio.Event()

    async def sent(_: Frame) -> Verdict:
        trap_set.set()
        return PASS

    async def kill(_: Frame) -> Verdict:
        await run.world.bridge.kill()
        return DROP

    network = run.world.network
    network.when(r"^<message", sent, skip=run.rng.randrange(6))
    if await run.happened(trap_set, "a message to the network"):
        trap = network.when(r"^<a ", kill, answer=True)
        if await run.happened(trap.sprung, "an acknowledgement of the network"):
            run.injected -= 1
    await run.some_time(*_AWAY)
    await run.world.restart()
    await run.some_time()


async def kill_at_random(run: Run) -> None:
    for _ in range(2):
        await run.some_time()
        await run.world.bridge.kill()
        run.injected += 1
        await run.some_time(*_AWAY)
        await run.world.restart()


async def kill_while_starting(run: Run) -> None:
    """Kill while the bridge makes up for what it missed."""
    await run.world.bridge.kill()
    await run.some_time(0.5, 1.5)
    starting = asyncio.create_task(run.world.bridge.run())
    await run.some_time(0.6, 2.5)
    await run.world.bridge.kill()
    run.injected += 2
    await asyncio.gather(starting, return_exceptions=True)
    await run.world.restart()
    await run.some_time()


async def terminate(run: Run) -> None:
    """SIGTERM under load: it drains and leaves with 0."""
    for _ in range(2):
        await run.some_time()
        with run.must_hold("the bridge leaves with exit code 0 after SIGTERM") as check:
            check(await run.world.bridge.stop() == 0)
        run.injected += 1
        await run.some_time(*_AWAY)
        await run.world.bridge.run()


async def freeze(run: Run) -> None:
    """SIGSTOP, for longer than the timeouts of everything that waits for the bridge."""
    await run.some_time()
    run.world.bridge.signal(signal.SIGSTOP)
    try:
        await run.some_time(8, 10)
    finally:
        run.world.bridge.signal(signal.SIGCONT)
    run.injected += 1
    await run.some_time()


SCENARIOS = (
    Scenario(
        "killed before what was pushed is committed",
        "process",
        kill_at("database", "^INSERT INTO outbox", answer=False, among=8),
    ),
    Scenario(
        "killed after it was committed, before the database's answer",
        "process",
        kill_at("database", "^INSERT INTO outbox", answer=True, among=8),
    ),
    Scenario(
        "killed after it was committed, before the 200",
        "process",
        kill_at("pushes", TRANSACTION, answer=True, among=8),
    ),
    Scenario(
        "killed before what the network brought is committed",
        "process",
        kill_at("database", "INSERT INTO inbox", answer=False, among=8),
    ),
    Scenario(
        "killed after it was committed, before the acknowledgement",
        "process",
        kill_at("database", "INSERT INTO inbox", answer=True, among=8),
    ),
    Scenario(
        "killed before a message reaches Matrix",
        "process",
        kill_at("client_api", SEND, answer=False, among=8),
    ),
    Scenario(
        "killed after it reached Matrix, before the answer",
        "process",
        kill_at("client_api", SEND, answer=True, among=8),
    ),
    Scenario(
        "killed after it reached Matrix, before the record",
        "process",
        kill_at("database", "^UPDATE inbox AS i SET state", answer=False, among=3),
    ),
    Scenario(
        "killed while a message goes to the network",
        "process",
        kill_at("network", "^<message", answer=False, among=8),
    ),
    Scenario(
        "killed after the network took it, before its acknowledgement",
        "process",
        kill_after_arrival,
    ),
    Scenario(
        "killed after the network took it, before the record",
        "process",
        kill_at("database", "^UPDATE outbox SET state = ", answer=False, among=8),
    ),
    Scenario(
        "killed before createRoom",
        "process",
        kill_at("client_api", "^POST .*/createRoom", answer=False),
    ),
    Scenario(
        "killed inside createRoom, before the answer",
        "process",
        kill_at("client_api", "^POST .*/createRoom", answer=True),
    ),
    Scenario(
        "killed after createRoom, before the record",
        "process",
        kill_at("database", "^UPDATE portal SET state = 'open'", answer=False),
    ),
    Scenario(
        "killed inside register",
        "process",
        kill_at("client_api", "^POST .*/register", answer=True),
    ),
    Scenario(
        "killed inside a change of profile",
        "process",
        kill_at("client_api", "^PUT .*/profile/", answer=True),
    ),
    Scenario(
        "killed inside join",
        "process",
        kill_at("client_api", "^POST .*/join", answer=True),
    ),
    Scenario(
        "killed before m.direct is written",
        "process",
        kill_at("client_api", r"^PUT .*/account_data/m\.direct", answer=False, among=3),
    ),
    Scenario(
        "killed after m.direct was written, before the answer",
        "process",
        kill_at("client_api", r"^PUT .*/account_data/m\.direct", answer=True, among=3),
    ),
    Scenario("killed at random", "process", kill_at_random),
    Scenario("killed again while it starts", "process", kill_while_starting),
    Scenario("told to stop (SIGTERM) under load", "process", terminate),
    Scenario("stopped for longer than every timeout (SIGSTOP)", "process", freeze),
)
