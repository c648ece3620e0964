"""Two processes of the bridge on one database: each may die, stand still and be restarted.

The rule that must never break: a fault comes only once each of the two has some of the users.
"""

from __future__ import annotations

import asyncio
import signal

from dm_bridge.testing.dialects import Frame
from dm_bridge.testing.fault_proxy import DROP, Verdict
from dm_bridge.testing.stack import Bridge
from tests.faults.killing import SEND
from tests.faults.load import Run
from tests.faults.scenarios import one
from tests.faults.world import LEASE


def _victim(run: Run, other: Bridge) -> tuple[Bridge, Bridge]:
    """One of the two, by the seed, and who is left."""
    pair = [run.world.bridge, other]
    run.rng.shuffle(pair)
    return pair[0], pair[1]


async def second_by_mistake(run: Run) -> None:
    async with run.world.two():
        run.injected += 1
        await run.newcomer()
        await run.some_time(1, 2)


async def killed(run: Run) -> None:
    async with run.world.two() as other:
        victim, left = _victim(run, other)
        await run.some_time()
        await victim.kill()
        run.injected += 1
        with run.must_hold("the users of a killed process are taken over in time") as check:
            begun = asyncio.get_running_loop().time()
            await run.world.only(left)
            check(asyncio.get_running_loop().time() - begun < 2 * LEASE)
        await run.some_time()
        await victim.stop()
        await victim.run()


async def killed_after_a_send(run: Run) -> None:
    """Both are killed when a message is in Matrix, and its answer never comes; the second is back first."""

    async def kill(_: Frame) -> Verdict:
        for bridge in run.world.bridges:
            await bridge.kill()
        return DROP

    async with run.world.two() as other:
        trap = run.world.client_api.when(SEND, kill, answer=True, skip=run.rng.randrange(6))
        await run.happened(trap.sprung, "an answer to a send")
        for bridge in (other, run.world.bridge):
            await bridge.stop()
            await bridge.run()


async def frozen(run: Run) -> None:
    """SIGSTOP for longer than the lease: who wakes up has lost everything, and writes nothing."""
    async with run.world.two() as other:
        victim, left = _victim(run, other)
        await run.some_time()
        victim.signal(signal.SIGSTOP)
        try:
            await run.world.only(left)
            await run.some_time(1, 2)
        finally:
            victim.signal(signal.SIGCONT)
        run.injected += 1
        await run.some_time(1, 2)


async def rolling_restart(run: Run) -> None:
    async with run.world.two() as other:
        for bridge in (run.world.bridge, other):
            with run.must_hold("a process leaves with exit code 0 after SIGTERM") as check:
                check(await bridge.stop() == 0)
            await run.some_time()
            await bridge.run()
            await run.world.shared()
            run.injected += 1


async def cut_off_from_the_database(run: Run) -> None:
    """All connections to the database hang for longer than the lease, and then go on."""
    async with run.world.two():
        run.world.database.stall()
        await run.some_time(LEASE + 1, LEASE + 3)
        await run.world.database.mend()
        run.injected += 1
        await run.some_time(1, 2)


SCENARIOS = (
    one("a second process, started by mistake", "instances", second_by_mistake),
    one("one of two killed", "instances", killed),
    one("both killed when a message is in Matrix", "instances", killed_after_a_send),
    one("one of two stopped for longer than its lease (SIGSTOP)", "instances", frozen),
    one("a rolling restart", "instances", rolling_restart),
    one("the database hangs for longer than the lease", "instances", cut_off_from_the_database),
)
