"""The database goes, hangs, forgets its connections, and will not be written to.

The rule that must never break: while the database takes nothing, no push is answered with 200.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator

from dm_bridge.testing.dialects import Frame
from dm_bridge.testing.fault_proxy import RESET, End, Verdict
from tests.faults.load import Run
from tests.faults.scenarios import Inject, one
from tests.faults.world import DATABASE

_ENDED = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{DATABASE}'"  # noqa: S608


@contextlib.asynccontextmanager
async def no_push_is_accepted(run: Run) -> AsyncIterator[None]:
    """No message of a user is taken meanwhile."""

    def observe(frame: Frame) -> None:
        if "/transactions/" not in frame.what:
            return
        if frame.to_server:
            asked[frame.what] = b" out " in frame.data
        elif asked.pop(frame.what, False):
            check(frame.status >= 500)

    asked: dict[str, bool] = {}
    with run.must_hold("a push is answered with 5xx while the database takes nothing") as check:
        run.world.pushes.observers.append(observe)
        try:
            yield
        finally:
            run.world.pushes.observers.remove(observe)


def broken_down(how: signal.Signals) -> Inject:
    """The server ends, and is back after a while."""

    async def inject(run: Run) -> None:
        await run.world.postgres.break_down(how)
        run.injected += 1
        async with no_push_is_accepted(run):
            await run.some_time(1, 3)
        await run.world.postgres.start_again()
        await run.some_time(0.5, 1)

    return inject


async def connections_refused(run: Run) -> None:
    """It cannot be reached."""
    run.world.database.refuse()
    run.world.database.cut()
    run.injected += 1
    async with no_push_is_accepted(run):
        await run.some_time(1, 3)


def cut_at(pattern: str, *, answer: bool) -> Inject:
    """The connection ends at a statement, several times."""

    async def inject(run: Run) -> None:
        async def cut(_: Frame) -> Verdict:
            return RESET

        skip = run.rng.randrange(4)
        trap = run.world.database.when(pattern, cut, answer=answer, skip=skip, times=3)
        await run.newcomer()
        if await run.happened(trap.sprung, f"three times {pattern}"):
            run.injected += 2

    return inject


async def connections_cut(run: Run) -> None:
    for how in (End.RESET, End.FIN, End.RESET):
        await run.some_time()
        run.injected += run.world.database.cut(how)


async def connections_ended(run: Run) -> None:
    """By an admin: pg_terminate_backend."""
    for _ in range(3):
        await run.some_time()
        await run.world.postgres.execute(_ENDED)
        run.injected += 1


async def read_only(run: Run) -> None:
    """As after a failover to a replica."""
    setting = f"ALTER DATABASE {DATABASE} SET default_transaction_read_only"
    await run.world.postgres.execute(f"{setting} = on", _ENDED)
    run.injected += 1
    try:
        async with no_push_is_accepted(run):
            await run.some_time(1, 3)
    finally:
        await run.world.postgres.execute(f"{setting} = off", _ENDED)


async def hangs(run: Run) -> None:
    """It does not answer for a while, and then does."""
    run.world.database.stall()
    await run.some_time(3, 5)
    run.injected += 1


async def slow(run: Run) -> None:
    """Every message of its protocol takes its time."""
    run.world.database.delay = 0.02
    await run.some_time(3, 3)
    run.injected += 1


COMMITS = "^COMMIT|INSERT INTO|UPDATE inbox|UPDATE outbox"
"""Most statements of the queues are a transaction each."""

SCENARIOS = (
    one("the database restarted (fast)", "database", broken_down(signal.SIGINT)),
    one("the database crashed (immediate)", "database", broken_down(signal.SIGQUIT)),
    one("the database cannot be reached", "database", connections_refused),
    one("the database's connections cut", "database", connections_cut),
    one("the database's connections ended (pg_terminate_backend)", "database", connections_ended),
    one(
        "the database cut off when what was pushed is inserted",
        "database",
        cut_at("INTO outbox", answer=False),
    ),
    one(
        "the database cut off after it was committed",
        "database",
        cut_at("INTO outbox", answer=True),
    ),
    one(
        "the database cut off after what the network brought was committed",
        "database",
        cut_at("INTO inbox", answer=True),
    ),
    one(
        "the database cut off after an outcome to Matrix was committed",
        "database",
        cut_at("UPDATE inbox", answer=True),
    ),
    one(
        "the database cut off after an outcome to XMPP was committed",
        "database",
        cut_at("UPDATE outbox", answer=True),
    ),
    one("the database cut off at COMMIT", "database", cut_at(COMMITS, answer=False)),
    one("the database cut off at the answer to COMMIT", "database", cut_at(COMMITS, answer=True)),
    one("the database read-only", "database", read_only),
    one("the database hangs", "database", hangs),
    one("the database slow", "database", slow),
)
