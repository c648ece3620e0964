"""The HTTP end of the API: CORS, who asks, limits, then the call; and every answer is JSON.

The rule that must never break: nothing is read of a request, and nothing done, before it is known who asks.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog
from aiohttp import web

from dm_bridge.bridge.deeds import DEEDS
from dm_bridge.bridge.steward import Steward
from dm_bridge.errors import BridgeError
from dm_bridge.provisioning.authentication import Authentication
from dm_bridge.provisioning.calls import Answer, Call, Run
from dm_bridge.provisioning.limits import Limit
from dm_bridge.provisioning.openapi import document
from dm_bridge.provisioning.operations import BY_NAME, OPERATIONS, PREFIX, Operation
from dm_bridge.provisioning.refusals import Refusal, refusal_of
from dm_bridge.provisioning.services import Services

log = structlog.get_logger(__name__)

MAX_BODY = 64 * 1024
BODY_DEADLINE = 20.0
DEADLINE = 60.0
"""Seconds that a call may take."""
CALLS_A_MINUTE = 300
"""Of one user."""
MAX_PARAMETER = 4096
CORS = {  # client-server API, "Web browser clients"
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
    "Access-Control-Max-Age": "86400",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_HEADERS = {
    **CORS,
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


class Provisioning:
    """``run``: answers a call, wherever its user is (`Relay`). ``counted``: told how each request ended.

    That is ``done``, ``refused`` for what was asked or by whom, or ``failed``.
    """

    def __init__(
        self,
        authentication: Authentication,
        run: Run,
        counted: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._authentication = authentication
        self._run = run
        self._counted = counted
        self._limit = Limit(CALLS_A_MINUTE, 60.0)

    def add_routes(self, app: web.Application) -> None:
        """Add all paths below `PREFIX`."""
        inner = web.Application(middlewares=[self._count, _as_matrix])
        inner.router.add_get("/v3/openapi.json", self._openapi)
        for operation in OPERATIONS:
            inner.router.add_route(operation.method, operation.path, self._handler(operation))
        app.add_subapp(PREFIX, inner)

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        failed = "failed" if response.status >= 500 else "refused"
        self._counted(failed if response.status >= 400 else "done")
        return response

    async def _openapi(self, request: web.Request) -> web.Response:
        return _response(Answer(200, await asyncio.to_thread(_document)))

    def _handler(self, operation: Operation) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            user = await self._authentication.user_of(request)
            self._limit.take(user, "Too many requests; wait a little.")
            query = {name: request.query[name] for name in operation.query if name in request.query}
            call = Call(
                operation.name,
                user,
                _clean(request.match_info),
                _clean(query),
                await _body(request) if operation.body is not None else b"",
            )
            return _response(await self._run(call))

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
                Refusal(
                    504, "M_UNKNOWN", "That takes too long; ask again for what came of it.", 2.0
                )
            )
        except Exception:
            log.exception("a request failed for a reason of our own", what=call.operation)
            return Answer.refusing(Refusal(500, "M_UNKNOWN", "Something went wrong here."))

    return run


@functools.cache
def _document() -> str:
    """Made when somebody asks for it first: that takes a while."""
    return orjson.dumps(document()).decode()


def _clean(parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters that can be stored and sent on. Raises `Refusal`."""
    for name, value in parameters.items():
        odd = "\0" in value or any("\ud800" <= each <= "\udfff" for each in value)
        if odd or len(value) > MAX_PARAMETER:
            raise Refusal(400, "M_INVALID_PARAM", f"{name} is too long, or no text.")
    return dict(parameters)


async def _body(request: web.Request) -> bytes:
    body = bytearray()
    async with asyncio.timeout(BODY_DEADLINE):
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY:
                raise Refusal(413, "M_TOO_LARGE", "The body is larger than 64 KiB.")
    return bytes(body)


def _response(answer: Answer, headers: Mapping[str, str] | None = None) -> web.Response:
    after = answer.retry_after
    again = {} if after is None else {"Retry-After": str(math.ceil(after))}
    return web.Response(
        status=answer.status,
        text=answer.body,
        content_type="application/json",
        headers={**_HEADERS, **again, **(headers or {})},
    )


@web.middleware
async def _as_matrix(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers as Matrix does, whatever happens; and what browsers ask first, to everybody."""
    if request.method == "OPTIONS":
        return web.Response(headers=CORS)
    headers: dict[str, str] = {}
    try:
        return await handler(request)
    except Refusal as error:
        refusal = error
    except web.HTTPNotFound:
        refusal = Refusal(404, "M_UNRECOGNIZED", "There is nothing at this path.")
    except web.HTTPMethodNotAllowed as error:
        refusal = Refusal(405, "M_UNRECOGNIZED", "This path does not take that method.")
        headers["Allow"] = error.headers["Allow"]
    except TimeoutError:
        refusal = Refusal(408, "M_UNKNOWN", "The body did not arrive in time.")
    except web.RequestPayloadError:
        refusal = Refusal(400, "M_NOT_JSON", "The body is not encoded as its headers say.")
    return _response(Answer.refusing(refusal), headers)
