"""The HTTP end of the API: who asks, limits, then the call; and every answer is JSON.

The rule that must never break: nothing is read of a request, and nothing done, before it is known who asks.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog
from aiohttp import web

from dm_bridge.bridge.deeds import DEEDS
from dm_bridge.bridge.steward import Steward
from dm_bridge.errors import BridgeError
from dm_bridge.ids import UserId
from dm_bridge.provisioning.answering import Handler, answered, body_of, response
from dm_bridge.provisioning.calls import Answer, Call, Run
from dm_bridge.provisioning.limits import Pace
from dm_bridge.provisioning.openapi import document
from dm_bridge.provisioning.operations import BY_NAME, OPERATIONS, PREFIX, VERSION, Operation
from dm_bridge.provisioning.refusals import Refusal, refusal_of
from dm_bridge.provisioning.services import Services
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

DEADLINE = 60.0
"""Seconds that a call may take."""
LOOK_EVERY = 0.5
"""Seconds between looks whether somebody who waits is still there."""
MAX_PARAMETER = 4096
_PARAMETER = re.compile(r"\{(\w+)\}")
"""In a path; aiohttp would let it have no braces, which are in nicks on IRC."""
CORS = {  # client-server API, "Web browser clients"
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
    "Access-Control-Max-Age": "86400",
}


class Provisioning:
    """``user_of``: who asks; raises `Refusal`. ``run``: answers a call, wherever its user is (`Relay`).

    ``counted``: told how each request ended: ``done``, ``refused`` for what was asked or by whom, or ``failed``.
    ``cors``: what browsers are told of pages elsewhere; without it, those may not use the API.
    """

    def __init__(
        self,
        user_of: Callable[[web.Request], Awaitable[UserId]],
        run: Run,
        counted: Callable[[str], None] = lambda outcome: None,
        cors: Mapping[str, str] = CORS,
        pace: Pace | None = None,
    ) -> None:
        self._user_of = user_of
        self._run = run
        self._counted = counted
        self._cors = cors
        self._pace = pace or Pace()

    def add_routes(self, app: web.Application, prefix: str = PREFIX) -> None:
        """Add all paths below ``prefix``."""
        inner = web.Application(middlewares=[self._count, self._answer])
        inner.router.add_get("/openapi.json", self._openapi)
        for operation in OPERATIONS:
            path = _PARAMETER.sub(r"{\1:[^/]+}", operation.path.removeprefix(VERSION))
            inner.router.add_route(operation.method, path, self._handler(operation))
        app.add_subapp(prefix + VERSION, inner)

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        failed = "failed" if response.status >= 500 else "refused"
        self._counted(failed if response.status >= 400 else "done")
        return response

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._cors and request.method == "OPTIONS":
            return web.Response(headers=self._cors)
        response = await answered(request, handler)
        response.headers.update(self._cors)
        return response

    async def _openapi(self, request: web.Request) -> web.Response:
        return response(Answer(200, await asyncio.to_thread(_document)))

    def _handler(self, operation: Operation) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            user = await self._user_of(request)
            self._pace.take(user, waits=operation.waits)
            query = {name: request.query[name] for name in operation.query if name in request.query}
            call = Call(
                operation.name,
                user,
                _clean(request.match_info),
                _clean(query),
                await body_of(request) if operation.body is not None else b"",
            )
            if not operation.waits:
                return response(await self._run(call))
            answer = await _while_there(request, self._run(call))
            await self._user_of(request)  # who has been signed out meanwhile is told nothing more
            return response(answer)

        return handle


def runner(services: Services, steward: Steward | None = None) -> Run:
    """What carries calls out in this process. ``steward``: does what admins have done to users (`Deeds`)."""

    async def run(call: Call) -> Answer:
        try:
            async with asyncio.timeout(DEADLINE):
                if call.operation in DEEDS and steward is not None:
                    outcome = await steward.run(call.user, call.operation, call.query)
                    return Answer(200, orjson.dumps(outcome).decode())
                done = await BY_NAME[call.operation].work(services, call)
            return done if isinstance(done, Answer) else Answer.of(done)
        except Refusal as refusal:
            return Answer.refusing(refusal)
        except BridgeError as error:
            log.info("a request could not be carried out", what=call.operation, reason=str(error))
            return Answer.refusing(refusal_of(error))
        except TimeoutError:
            return Answer.refusing(
                Refusal(504, "M_UNKNOWN", phrase("provisioning-takes-too-long"), 2.0)
            )
        except Exception:
            log.exception("a request failed for a reason of our own", what=call.operation)
            return Answer.refusing(Refusal(500, "M_UNKNOWN", phrase("provisioning-our-mistake")))

    return run


async def _while_there(request: web.Request, work: Awaitable[Answer]) -> Answer:
    """What comes of ``work``, which is given up when whoever asked has gone: they wait for nothing any more."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done() and request.transport is not None:
            await asyncio.wait({task}, timeout=LOOK_EVERY)
        return await task if task.done() else _gone()
    finally:
        task.cancel()


def _gone() -> Answer:
    return Answer.refusing(Refusal(499, "M_UNKNOWN", phrase("provisioning-gone")))


@functools.cache
def _document() -> str:
    """Made when somebody asks for it first: that takes a while."""
    return orjson.dumps(document()).decode()


def _clean(parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters that can be stored and sent on. Raises `Refusal`."""
    for name, value in parameters.items():
        odd = "\0" in value or any("\ud800" <= each <= "\udfff" for each in value)
        if odd or len(value) > MAX_PARAMETER:
            raise Refusal(
                400, "M_INVALID_PARAM", phrase("provisioning-odd-parameter", parameter=name)
            )
    return dict(parameters)
