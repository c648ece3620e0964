"""Health over HTTP: live is not ready, and what is missing is named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from dm_bridge.errors import StorageError
from dm_bridge.ops.health import Health
from dm_bridge.ops.metrics import Metrics


class Answer:
    """Whether the database answers."""

    now = True

    async def ok(self) -> bool:
        return self.now


@dataclass
class Probe:
    """A running health endpoint."""

    client: TestClient[web.Request, web.Application]
    health: Health
    metrics: Metrics
    database: Answer


@pytest_asyncio.fixture
async def probe() -> AsyncIterator[Probe]:
    database = Answer()
    app = web.Application()
    health, metrics = Health(database.ok), Metrics()
    health.add_routes(app, metrics.exposition)
    async with TestClient(TestServer(app)) as client:
        yield Probe(client, health, metrics, database)


async def test_a_process_that_answers_is_live_whatever_is_missing(probe: Probe) -> None:
    probe.database.now = False
    answer = await probe.client.get("/health/live")
    assert (answer.status, await answer.json()) == (200, {"status": "live"})


async def test_it_is_not_ready_until_the_homeserver_has_reached_it(probe: Probe) -> None:
    assert not probe.health.homeserver_ok
    answer = await probe.client.get("/health/ready")
    assert answer.status == 503
    assert (await answer.json())["problems"] == ["The homeserver has not been reached yet."]
    probe.health.homeserver(None)
    answer = await probe.client.get("/health/ready")
    assert (answer.status, await answer.json()) == (200, {"status": "ready", "problems": []})


async def test_every_problem_is_named(probe: Probe) -> None:
    probe.database.now = False
    probe.health.homeserver("The homeserver cannot reach us.")
    answer = await probe.client.get("/health/ready")
    assert answer.status == 503
    assert (await answer.json())["problems"] == [
        "The database does not answer.",
        "The homeserver cannot reach us.",
    ]
    probe.database.now = True
    probe.health.homeserver(None)
    assert (await probe.client.get("/health/ready")).status == 200


async def test_metrics_come_in_the_text_format(probe: Probe) -> None:
    probe.metrics.direct_puts.inc()
    answer = await probe.client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "dm_bridge_direct_puts_total 1.0" in (await answer.text()).splitlines()


async def test_an_intake_that_failed_counts_until_it_works_again_or_for_a_minute() -> None:
    now = 1000.0
    health = Health(Answer().ok, lambda: now)
    said = [health.intake_problem]
    health.intake("PostgreSQL is away.")
    said.append(health.intake_problem)
    health.intake(None)
    said.append(health.intake_problem)
    health.intake("PostgreSQL is away.")
    now += 59
    said.append(health.intake_problem)
    now += 2
    said.append(health.intake_problem)
    problem = "What the homeserver pushed was not taken in: PostgreSQL is away."
    assert said == [None, problem, None, problem, None]


async def test_it_is_not_ready_while_intake_fails_or_it_stops(probe: Probe) -> None:
    probe.health.homeserver(None)
    probe.health.intake("PostgreSQL is away.")
    answer = await probe.client.get("/health/ready")
    assert answer.status == 503
    probe.health.intake(None)
    assert (await probe.client.get("/health/ready")).status == 200
    probe.health.stopping()
    answer = await probe.client.get("/health/ready")
    assert answer.status == 503
    assert (await answer.json())["problems"] == ["The bridge is stopping."]
    assert (await probe.client.get("/health/live")).status == 200


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StorageError("PostgreSQL is away."), "PostgreSQL is away."),
        (RuntimeError("a secret"), "an error of our own; the log has the details."),
    ],
)
async def test_an_intake_that_fails_is_told_and_counted(error: Exception, said: str) -> None:
    health = Health(Answer().ok)
    failures: list[str | None] = []

    def failed() -> None:
        failures.append(health.intake_problem)

    with health.taking_in(failed):
        pass
    assert failures == []
    with pytest.raises(type(error)), health.taking_in(failed):
        raise error
    assert failures == [f"What the homeserver pushed was not taken in: {said}"]
    with health.taking_in(failed):
        pass
    assert health.intake_problem is None
    assert len(failures) == 1
