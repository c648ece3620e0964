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
from tests.faults.scenarios import Inject, one
from tests.faults.world import World

SEND = r"^PUT .*/send/m\.room\.message/"
TRANSACTION = r"^PUT .*/transactions/"
_AWAY = (0.0, 1.0)


def _proxy(world: World, name: str) -> FaultProxy:
    proxy: FaultProxy = getattr(world, name)
    return proxy


def kill_at(
    proxy: str, pattern: str, *, answer: bool, among: int = 1, newcomer: bool = False
) -> Inject:
    """Kill when such a frame comes: the first, or by the seed one of the first ``among``.

    ``newcomer``: the first frame that is about somebody whom nobody has met.
    """

    async def inject(run: Run) -> None:
        async def kill(_: Frame) -> Verdict:
            await run.world.bridge.kill()
            return DROP

        skip = run.rng.randrange(among)
        trap = _proxy(run.world, proxy).when(pattern, kill, answer=answer, skip=skip)
        if newcomer:
            await run.newcomer()
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
    one(
        "killed before what was pushed is committed",
        "bridge",
        kill_at("database", "^INSERT INTO outbox", answer=False, among=8),
    ),
    one(
        "killed after it was committed, before the database's answer",
        "bridge",
        kill_at("database", "^INSERT INTO outbox", answer=True, among=8),
    ),
    one(
        "killed after it was committed, before the 200",
        "bridge",
        kill_at("pushes", TRANSACTION, answer=True, among=8),
    ),
    one(
        "killed before what the network brought is committed",
        "bridge",
        kill_at("database", "INSERT INTO inbox", answer=False, among=8),
    ),
    one(
        "killed after it was committed, before the acknowledgement",
        "bridge",
        kill_at("database", "INSERT INTO inbox", answer=True, among=8),
    ),
    one(
        "killed before a message reaches Matrix",
        "bridge",
        kill_at("client_api", SEND, answer=False, among=8),
    ),
    one(
        "killed after it reached Matrix, before the answer",
        "bridge",
        kill_at("client_api", SEND, answer=True, among=8),
    ),
    one(
        "killed after it reached Matrix, before the record",
        "bridge",
        kill_at("database", "^UPDATE inbox AS i SET state", answer=False, among=3),
    ),
    one(
        "killed while a message goes to the network",
        "bridge",
        kill_at("network", "^<message", answer=False, among=8),
    ),
    one(
        "killed after the network took it, before its acknowledgement",
        "bridge",
        kill_after_arrival,
    ),
    one(
        "killed after the network took it, before the record",
        "bridge",
        kill_at("database", "UPDATE outbox AS x SET state = ", answer=False, among=8),
    ),
    one(
        "killed before createRoom",
        "bridge",
        kill_at("client_api", "^POST .*/createRoom", answer=False, newcomer=True),
    ),
    one(
        "killed inside createRoom, before the answer",
        "bridge",
        kill_at("client_api", "^POST .*/createRoom", answer=True, newcomer=True),
    ),
    one(
        "killed after createRoom, before the record",
        "bridge",
        kill_at("database", "^UPDATE portal SET state = 'open'", answer=False, newcomer=True),
    ),
    one(
        "killed inside register",
        "bridge",
        kill_at("client_api", "^POST .*/register", answer=True, newcomer=True),
    ),
    one(
        "killed inside a change of profile",
        "bridge",
        kill_at("client_api", "^PUT .*/profile/", answer=True, newcomer=True),
    ),
    one(
        "killed inside join",
        "bridge",
        kill_at("client_api", "^POST .*/join", answer=True, newcomer=True),
    ),
    one(
        "killed before m.direct is written",
        "bridge",
        kill_at("client_api", r"^PUT .*/account_data/m\.direct", answer=False, newcomer=True),
    ),
    one(
        "killed after m.direct was written, before the answer",
        "bridge",
        kill_at("client_api", r"^PUT .*/account_data/m\.direct", answer=True, newcomer=True),
    ),
    one("killed at random", "bridge", kill_at_random),
    one("killed again while it starts", "bridge", kill_while_starting),
    one("told to stop (SIGTERM) under load", "bridge", terminate),
    one("stopped for longer than every timeout (SIGSTOP)", "bridge", freeze),
)
