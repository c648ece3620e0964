"""`/health/live`, `/health/ready` and `/metrics`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from dm_bridge.errors import BridgeError
from dm_bridge.texts import phrase

REMEMBERED = 60.0
"""For how many seconds a failed intake counts: where what is not ready cannot be reached (Kubernetes), the
homeserver must be able to try again, or it would never be ready again."""


class Health:
    """Live: the process answers.

    Ready: the database answers, the homeserver reaches us, what it pushed last was taken in, and we do not stop.
    """

    def __init__(
        self,
        database_ok: Callable[[], Awaitable[bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database_ok = database_ok
        self._clock = clock
        self._intake_problem: str | None = None
        self._intake_at = 0.0
        self._stopping = False
        self._homeserver_problem: str | None = phrase("health-not-reached")

    @property
    def homeserver_ok(self) -> bool:
        """Whether the homeserver reached us when last asked."""
        return self._homeserver_problem is None

    @property
    def homeserver_problem(self) -> str | None:
        """What was wrong between the homeserver and us when last asked."""
        return self._homeserver_problem

    def homeserver(self, problem: str | None) -> None:
        """Tell what is wrong between the homeserver and us; None when nothing is."""
        self._homeserver_problem = problem

    def intake(self, problem: str | None) -> None:
        """Tell why events that the homeserver pushed were not taken in; None when they were."""
        self._intake_problem, self._intake_at = problem, self._clock()

    @contextmanager
    def taking_in(self, on_failure: Callable[[], None]) -> Iterator[None]:
        """Around an intake: tell how it went; ``on_failure`` is called when it fails."""
        try:
            yield
        except Exception as error:
            expected = isinstance(error, BridgeError)
            self.intake(str(error) if expected else phrase("health-our-error"))
            on_failure()
            raise
        self.intake(None)

    @property
    def intake_problem(self) -> str | None:
        """Why pushed events are not taken in."""
        if self._stopping:
            return phrase("health-stopping")
        if self._intake_problem is None or self._clock() - self._intake_at > REMEMBERED:
            return None
        return phrase("health-not-taken-in", why=self._intake_problem)

    def stopping(self) -> None:
        """From now on, not ready."""
        self._stopping = True

    def add_routes(self, app: web.Application, exposition: Callable[[], bytes]) -> None:
        """Add the three paths."""

        async def live(request: web.Request) -> web.Response:
            return web.json_response({"status": "live"})

        async def ready(request: web.Request) -> web.Response:
            database = await self._database_ok()
            problems = [] if database else [phrase("health-no-database")]
            if self._homeserver_problem is not None:
                problems.append(self._homeserver_problem)
            intake = self.intake_problem
            if intake is not None:
                problems.append(intake)
            body = {"status": "not ready" if problems else "ready", "problems": problems}
            return web.json_response(body, status=503 if problems else 200)

        async def metrics(request: web.Request) -> web.Response:
            return web.Response(
                body=exposition(),
                headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
            )

        app.router.add_get("/health/live", live)
        app.router.add_get("/health/ready", ready)
        app.router.add_get("/metrics", metrics)
