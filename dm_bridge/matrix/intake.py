"""The application service endpoint: authenticate, bound, commit, then 200.

The rule that must never break: a transaction is answered with 200 only after ``accept`` returned,
which is when its events are committed. (mautrix's own endpoint answers first and keeps transaction
ids in memory; that is why it is not used.)

Implements the application service API, "Pushing events" to "Third-party networks", with the legacy
paths. The token must be in the header; a legacy ``access_token`` parameter, if sent too, must match.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
import structlog
from aiohttp import web

from dm_bridge.errors import BridgeError
from dm_bridge.ids import UserId
from dm_bridge.matrix.ephemeral import Ephemeral
from dm_bridge.matrix.transactions import (
    MAX_IDENTIFIER,
    BadTransaction,
    PushedEvent,
    parse_transaction,
)

log = structlog.get_logger(__name__)

MAX_BODY = 16 * 1024 * 1024
BODY_DEADLINE = 60.0

Signalled = Callable[[Sequence[Ephemeral]], None]
Accept = Callable[[Sequence[PushedEvent]], Awaitable[None]]
UserExists = Callable[[UserId], Awaitable[bool]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Intake:
    """Handlers of the endpoint.

    ``accept`` commits events, or raises `StorageError`. ``user_exists`` answers whether a user id in
    our namespace can be brought to life, and does so. ``protocols`` maps a network's name to its title.
    ``pinged`` is told the transaction id of every ping, ``signalled`` what else is pushed, which nobody keeps.
    """

    def __init__(
        self,
        hs_token: str,
        accept: Accept,
        user_exists: UserExists,
        protocols: dict[str, str],
        pinged: Callable[[str], Awaitable[None]],
        signalled: Signalled = lambda signals: None,
    ) -> None:
        self._hs_token = hs_token.encode()
        self._accept = accept
        self._user_exists = user_exists
        self._protocols = protocols
        self._pinged = pinged
        self._signalled = signalled

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoint's paths, current and legacy."""
        for prefix in ("/_matrix/app/v1", ""):
            app.router.add_put(prefix + "/transactions/{txn}", self._guard(self._transaction))
            app.router.add_get(prefix + "/users/{user}", self._guard(self._user))
            app.router.add_get(prefix + "/rooms/{alias}", self._guard(self._alias))
        app.router.add_post("/_matrix/app/v1/ping", self._guard(self._ping))
        for prefix in ("/_matrix/app/v1/thirdparty", "/_matrix/app/unstable/thirdparty"):
            app.router.add_get(prefix + "/protocol/{protocol}", self._guard(self._protocol))
            for kind in ("user", "location"):
                app.router.add_get(f"{prefix}/{kind}", self._guard(self._no_lookup))
                app.router.add_get(
                    f"{prefix}/{kind}/{{protocol}}", self._guard(self._protocol_lookup)
                )

    def _guard(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            refusal = self._refusal(request)
            if refusal is not None:
                return refusal
            try:
                return await handler(request)
            except BadTransaction as error:
                log.warning(
                    "the homeserver sent a transaction that cannot be read", error=str(error)
                )
                return matrix_error(400, error.errcode, str(error))
            except web.HTTPRequestEntityTooLarge:
                return matrix_error(413, "M_TOO_LARGE", "The body is larger than 16 MiB.")
            except TimeoutError:
                return matrix_error(408, "M_UNKNOWN", "The body did not arrive in time.")
            except BridgeError as error:
                log.error("a request of the homeserver could not be served", error=str(error))
                return matrix_error(503, "M_UNKNOWN", "Not now; please try again.")

        return guarded

    def _refusal(self, request: web.Request) -> web.Response | None:
        header = request.headers.get("Authorization")
        if header is None and "access_token" not in request.query:
            return matrix_error(401, "M_UNAUTHORIZED", "The hs_token is missing.")
        scheme, _, token = (header or "").partition(" ")
        given = [
            token if scheme.lower() == "bearer" else "",
            *request.query.getall("access_token", []),
        ]
        matches = [self._matches(value) for value in given]
        if not all(matches):
            log.warning("a request with a wrong hs_token was refused", path=request.path)
            return matrix_error(
                403, "M_FORBIDDEN", "The hs_token in the header is missing or wrong."
            )
        return None

    def _matches(self, token: str) -> bool:
        return hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self._hs_token)

    async def _transaction(self, request: web.Request) -> web.StreamResponse:
        async with asyncio.timeout(BODY_DEADLINE):
            body = await request.read()
        transaction = parse_transaction(body)
        if transaction.odd:
            log.warning(
                "events without id, room, sender or type were passed over", n=transaction.odd
            )
        if transaction.events:
            await self._accept(transaction.events)
        if transaction.ephemeral:
            self._signalled(transaction.ephemeral)
        return web.json_response({})

    async def _user(self, request: web.Request) -> web.StreamResponse:
        if await self._user_exists(UserId(request.match_info["user"])):
            return web.json_response({})
        return matrix_error(404, "M_NOT_FOUND", "There is no such contact.")

    async def _alias(self, request: web.Request) -> web.StreamResponse:
        return matrix_error(404, "M_NOT_FOUND", "This bridge has no room aliases.")

    async def _ping(self, request: web.Request) -> web.StreamResponse:
        async with asyncio.timeout(BODY_DEADLINE):
            body = await request.read()
        try:
            match orjson.loads(body):
                case {"transaction_id": str(transaction)} if len(transaction) <= MAX_IDENTIFIER:
                    await self._pinged(transaction)
        except orjson.JSONDecodeError:
            pass  # reached all the same
        return web.json_response({})

    async def _protocol(self, request: web.Request) -> web.StreamResponse:
        title = self._protocols.get(request.match_info["protocol"])
        if title is None:
            return matrix_error(404, "M_NOT_FOUND", "This bridge has no such network.")
        answer: dict[str, Any] = {
            "user_fields": [],
            "location_fields": [],
            "icon": "",
            "field_types": {},
            "instances": [],
        }
        return web.json_response(answer)

    async def _protocol_lookup(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["protocol"] not in self._protocols:
            return matrix_error(404, "M_NOT_FOUND", "This bridge has no such network.")
        return web.json_response([])

    async def _no_lookup(self, request: web.Request) -> web.StreamResponse:
        return web.json_response([])


def matrix_error(status: int, errcode: str, message: str) -> web.Response:
    """An error in the form every Matrix endpoint uses."""
    return web.json_response({"errcode": errcode, "error": message}, status=status)


@web.middleware
async def matrix_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers in Matrix form where aiohttp would answer in its own, and never with a traceback.

    A client that goes away while it is read from is no failure of ours.
    """
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return matrix_error(404, "M_UNRECOGNIZED", "There is nothing at this path.")
    except web.HTTPMethodNotAllowed:
        return matrix_error(405, "M_UNRECOGNIZED", "This path does not take that method.")
    except web.HTTPException as error:
        return matrix_error(error.status, "M_UNKNOWN", error.reason)
    except web.RequestPayloadError:
        return matrix_error(400, "M_NOT_JSON", "The body is not encoded as its headers say.")
    except asyncio.CancelledError:
        raise
    except Exception as error:
        if isinstance(error, ConnectionError) and request.transport is None:
            return matrix_error(400, "M_UNKNOWN", "The body did not arrive.")  # to nobody
        log.exception("a request failed for a reason of our own", path=request.path)
        return matrix_error(500, "M_UNKNOWN", "Something went wrong here; please try again.")
