"""Requests and answers as HTTP carries them: bodies that end, and refusals in the form of Matrix errors.

The rule that must never break: whatever happens, the answer is JSON, nobody keeps it, and no browser runs it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from dm_bridge.provisioning.calls import Answer
from dm_bridge.provisioning.refusals import Refusal
from dm_bridge.texts import phrase

MAX_BODY = 64 * 1024
BODY_DEADLINE = 20.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


async def body_of(request: web.Request) -> bytes:
    """The body, of at most `MAX_BODY` bytes. Raises `Refusal`, or what `answered` deals with."""
    body = bytearray()
    async with asyncio.timeout(BODY_DEADLINE):
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY:
                raise Refusal(413, "M_TOO_LARGE", phrase("provisioning-body-too-large"))
    return bytes(body)


def response(answer: Answer, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer as HTTP."""
    after = answer.retry_after
    again = {} if after is None else {"Retry-After": str(math.ceil(after))}
    return web.Response(
        status=answer.status,
        text=answer.body,
        content_type="application/json",
        headers={**_HEADERS, **again, **(headers or {})},
    )


async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What ``handler`` answers; what it refuses is answered as Matrix does."""
    headers: dict[str, str] = {}
    try:
        return await handler(request)
    except Refusal as error:
        refusal = error
    except web.HTTPNotFound:
        refusal = Refusal(404, "M_UNRECOGNIZED", phrase("provisioning-no-path"))
    except web.HTTPMethodNotAllowed as error:
        refusal = Refusal(405, "M_UNRECOGNIZED", phrase("provisioning-no-method"))
        headers["Allow"] = error.headers["Allow"]
    except TimeoutError:
        refusal = Refusal(408, "M_UNKNOWN", phrase("provisioning-body-too-slow"))
    except web.RequestPayloadError:
        refusal = Refusal(400, "M_NOT_JSON", phrase("provisioning-body-encoding"))
    return response(Answer.refusing(refusal), headers)
