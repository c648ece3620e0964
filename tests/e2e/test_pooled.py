"""The whole bridge behind a PgBouncer in transaction mode."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from dm_bridge.testing.pgbouncer import PgBouncer
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import pair, within


@pytest_asyncio.fixture
async def pooled(
    empty_database_url: str, prosody: Prosody, workplace: Workplace
) -> AsyncIterator[Stack]:
    directory = Path(tempfile.mkdtemp(prefix="dm_bridge_pooled_"))
    pooler = await PgBouncer.start(directory, empty_database_url)
    stack = await Stack.start(
        workplace("pooled"),
        prosody=prosody,
        domain="pooled.localhost",
        config={"database": {"url": pooler.url}, "processes": {"lease_seconds": 4}},
    )
    yield stack
    await stack.stop()
    await pooler.stop()
    shutil.rmtree(directory)


async def test_behind_a_pooler_everything_works_and_a_kill_loses_and_doubles_nothing(
    pooled: Stack,
) -> None:
    async with pair(pooled) as p:
        room = await p.first_chat()
        mark = p.alice.mark()
        for n in range(60):
            p.juliet.send(p.romeo, f"in {n}")
            if n == 30:
                await p.alice.wait_for_text("in 5", after=mark)
        for n in range(10):
            await p.alice.send_text(room, f"out {n}")
        await pooled.bridge.kill()
        await pooled.bridge.run()
        await p.alice.wait_for_text("in 59", timeout=60, after=mark)
        await p.juliet.wait_for_text("out 9", timeout=60)
        await asyncio.sleep(1)
        bodies = [s.body for s in p.alice.seen[mark:] if s.sender == p.ghost and s.body]
        assert bodies == [f"in {n}" for n in range(60)]
        assert [r.body for r in p.juliet.received] == [f"out {n}" for n in range(10)]

        async def marked() -> bool:
            return room in (await p.alice.m_direct() or {}).get(p.ghost, [])

        await within(20, marked)
        assert "could not be kept" not in pooled.bridge.log.read_text()
        assert "Traceback" not in pooled.bridge.log.read_text()
