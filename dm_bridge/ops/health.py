"""`/health/live`, `/health/ready` and `/metrics`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web


class Health:
    """Live: the process answers. Ready: the database answers, and the homeserver reaches us."""

    def __init__(self, database_ok: Callable[[], Awaitable[bool]]) -> None:
        self._database_ok = database_ok
        self._homeserver_problem: str | None = "The homeserver has not been reached yet."

    @property
    def homeserver_ok(self) -> bool:
        """Whether the homeserver reached us when last asked."""
        return self._homeserver_problem is None

    def homeserver(self, problem: str | None) -> None:
        """Tell what is wrong between the homeserver and us; None when nothing is."""
        self._homeserver_problem = problem

    def add_routes(self, app: web.Application, exposition: Callable[[], bytes]) -> None:
        """Add the three paths."""

        async def live(request: web.Request) -> web.Response:
            return web.json_response({"status": "live"})

        async def ready(request: web.Request) -> web.Response:
            database = await self._database_ok()
            problems = [] if database else ["The database does not answer."]
            if self._homeserver_problem is not None:
                problems.append(self._homeserver_problem)
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
