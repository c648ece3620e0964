"""``dm-bridge queue retry`` beside a bridge that runs: it notices, in order, and sends nothing twice."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from dm_bridge.store.database import Database
from dm_bridge.store.embedded import EmbeddedPostgres
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.pairs import pair
from tests.ops.expressions import Selector, expressions


@pytest_asyncio.fixture(scope="module")
async def stack(prosody: Prosody) -> AsyncIterator[Stack]:
    directory = Path(tempfile.mkdtemp(prefix="dm_bridge_queue_"))
    stack = await Stack.start(directory / "stack", prosody=prosody, domain="queue.localhost")
    yield stack
    await stack.stop()
    shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def database_of(stack: Stack) -> AsyncIterator[Database]:
    """The running bridge's own database."""
    postgres = await EmbeddedPostgres.start(stack.bridge.directory / "data")
    database = await Database.open(postgres.url, size=2)
    try:
        yield database
    finally:
        await database.close()
        await postgres.stop()


async def queue(stack: Stack, *arguments: str) -> Any:
    """`dm-bridge queue` in a process of its own; its answer."""
    config = str(stack.bridge.config_path)
    return json.loads(
        await stack.bridge.command("queue", arguments[0], "-c", config, *arguments[1:], "--json")
    )


async def test_a_running_bridge_carries_what_is_put_back_to_matrix_once(stack: Stack) -> None:
    async with pair(stack) as p, database_of(stack) as database:
        room = await p.first_chat()
        for n in range(3):
            p.juliet.send(p.romeo, f"in {n}")
        await p.alice.wait_for_text("in 2")
        # "in 0" arrived but was parked, as after trouble in its second half; in the place of "in 1" is a message
        # that never arrived
        async with database.connection() as connection:
            changed = await connection.fetch(
                """
                UPDATE inbox SET state = 'parked', event_id = NULL, reason = 'odd',
                    remote_id = CASE WHEN convert_from(event, 'UTF8') LIKE '%in 1%' THEN 'new' ELSE remote_id END,
                    event = convert_to(replace(convert_from(event, 'UTF8'), 'in 1', 'in one'), 'UTF8')
                WHERE convert_from(event, 'UTF8') LIKE ANY ('{%in 0%,%in 1%}')
                RETURNING seq
                """
            )
        assert len(changed) == 2
        mark = p.alice.mark()
        answer = await queue(stack, "retry", "--all")
        assert answer["retried"] == [f"in:{seq}" for seq in sorted(seq for (seq,) in changed)]
        seen = await p.alice.wait_for_text("in one", timeout=20, after=mark)
        assert seen.room_id == room
        p.juliet.send(p.romeo, "in 3")  # whatever was sent before it is seen before it
        await p.alice.wait_for_text("in 3", after=mark)
        bodies = [s.body for s in p.alice.seen[mark:] if s.room_id == room and s.body]
        assert bodies == ["in one", "in 3"], "what arrived before is not sent again"
        assert (await queue(stack, "list"))["rows"] == []


async def test_a_running_bridge_carries_what_is_put_back_to_the_network_in_order(
    stack: Stack,
) -> None:
    async with pair(stack) as p, database_of(stack) as database:
        room = await p.first_chat()
        await p.alice.send_text(room, "out 0")
        await p.juliet.wait_for_text("out 0")
        async with database.connection() as connection:
            await connection.execute(
                """
                INSERT INTO outbox (event_id, room_id, sender, event, state, reason)
                SELECT '$made-' || n, room_id, sender,
                    convert_to(replace(replace(convert_from(event, 'UTF8'), event_id, '$made-' || n), 'out 0',
                        'out ' || n), 'UTF8'), CASE n WHEN 3 THEN 'failed' ELSE 'parked' END, 'odd'
                FROM outbox, generate_series(1, 3) AS n
                WHERE room_id = $1 AND convert_from(event, 'UTF8') LIKE '%out 0%' ORDER BY n
                """,
                room,
            )
        answer = await queue(stack, "retry", "--all", "--direction", "out")
        assert len(answer["retried"]) == 2
        await p.juliet.wait_for_text("out 2", timeout=20)
        await p.alice.send_text(room, "end")  # whatever was carried before it is received before it
        await p.juliet.wait_for_text("end")
        assert [r.body for r in p.juliet.received] == ["out 0", "out 1", "out 2", "end"]
        seq = int(answer["retried"][-1].partition(":")[2]) + 1
        assert (await queue(stack, "retry", f"out:{seq}"))["retried"] == [f"out:{seq}"]
        await p.juliet.wait_for_text("out 3", timeout=20)


async def test_the_figures_of_a_running_bridge_tell_its_queues(stack: Stack) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{stack.bridge.url}/metrics") as response,
    ):
        text = await response.text()
    shown = text.splitlines()
    for line in (
        'dm_bridge_ready{part="database"} 1.0',
        'dm_bridge_ready{part="homeserver"} 1.0',
        'dm_bridge_ready{part="intake"} 1.0',
        'dm_bridge_lanes_pausing{direction="to_matrix"} 0.0',
        'dm_bridge_lane_pauses_total{direction="to_remote"} 0.0',
    ):
        assert line in shown
    samples = [
        sample for family in text_string_to_metric_families(text) for sample in family.samples
    ]
    for expression in expressions():
        for selector in expression.selectors:
            if selector.name not in ("up", "dm_bridge_logins"):  # there may be no login now
                matchers = tuple(each for each in selector.matchers if each[0] != "job")
                wanted = Selector(selector.name, matchers)
                assert any(
                    sample.name == wanted.name and wanted.selects(sample.labels)
                    for sample in samples
                ), f"{expression.where} reads what is not there: {wanted}"
