"""The endpoint to which the homeserver's module pushes changes of m.direct.

``POST /_dm_bridge/v1/direct`` with the hs_token of the main registration. What is pushed, and what
is answered, is described at `DirectPush` and `PushAnswer`; `dm_bridge.synapse_module` is the other
side.

The rule that must never break: nothing is read before the token is checked, and any body gets an
answer in Matrix form.
"""

from __future__ import annotations

import asyncio
import hmac
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from aiohttp import web

from dm_bridge.ids import UserId
from dm_bridge.matrix.intake import matrix_error
from dm_bridge.matrix.transactions import MAX_IDENTIFIER

log = structlog.get_logger(__name__)

PATH = "/_dm_bridge/v1/direct"
MAX_BODY = 4 * 1024 * 1024
BODY_DEADLINE = 20.0
MAX_NAMES = 2_000


@dataclass(frozen=True, slots=True)
class PushedDirect:
    """One change of one account's m.direct.

    ``seq`` grows with every change in one run of one instance. ``age``: seconds from the write to the
    push. ``content``: JSON text; None when it is too large, or the module does not know the account to be
    kept.
    """

    seq: int
    account: UserId
    age: float
    content: bytes | None


@dataclass(frozen=True, slots=True)
class DirectPush:
    """What a module says; with no updates it is a heartbeat.

    ``instance``: the process of the homeserver; ``run``: this life of it. ``epoch``: the last that it was
    answered, "" at first. ``missed``: accounts of which changes were dropped; ``gap``: any account may
    have been missed. ``dropped``: how many changes were dropped since the last push.
    """

    instance: str
    run: str
    epoch: str
    gap: bool
    missed: tuple[UserId, ...]
    dropped: int
    updates: tuple[PushedDirect, ...]


@dataclass(frozen=True, slots=True)
class PushAnswer:
    """What the module is told.

    ``not_kept``: accounts that need not be pushed for ten minutes, or until ``epoch`` changes. ``kept``:
    accounts of which contents are wanted, where they were pushed without.
    """

    epoch: str
    not_kept: tuple[UserId, ...] = ()
    kept: tuple[UserId, ...] = ()


Receive = Callable[[DirectPush], PushAnswer | None]
"""Takes a push and says what to answer; None: not yet. Must not block."""


class BadPush(ValueError):
    """The body is no push. ``errcode``: the Matrix error code to answer with."""

    def __init__(self, errcode: str, message: str) -> None:
        super().__init__(message)
        self.errcode = errcode


class DirectPushEndpoint:
    """The handler. A push that ``receive`` does not take yet will be sent again."""

    def __init__(self, hs_token: str, receive: Receive) -> None:
        self._hs_token = hs_token.encode()
        self._receive = receive

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoint's path."""
        app.router.add_post(PATH, self._handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""
        if not given:
            return matrix_error(401, "M_UNAUTHORIZED", "The hs_token is missing.")
        if not hmac.compare_digest(given, self._hs_token):
            log.warning(
                "a push of m.direct was refused: its token is not the hs_token; set the module's `token` in "
                "the homeserver's configuration to appservice.hs_token"
            )
            return matrix_error(403, "M_FORBIDDEN", "The hs_token is wrong.")
        try:
            push = parse_push(await _body(request))
        except (BadPush, web.HTTPRequestEntityTooLarge) as error:
            return _refusal(error)
        except TimeoutError:
            return matrix_error(408, "M_UNKNOWN", "The body did not arrive in time.")
        answer = self._receive(push)
        if answer is None:
            return matrix_error(503, "M_UNKNOWN", "The bridge is starting; please try again.")
        return web.json_response(
            {"epoch": answer.epoch, "not_kept": answer.not_kept, "kept": answer.kept}
        )


def _refusal(error: BadPush | web.HTTPRequestEntityTooLarge) -> web.Response:
    if isinstance(error, BadPush):
        log.warning("a push of m.direct cannot be read", error=str(error))
        return matrix_error(400, error.errcode, str(error))
    return matrix_error(413, "M_TOO_LARGE", "The body is larger than 4 MiB.")


async def _body(request: web.Request) -> bytes:
    body = bytearray()
    async with asyncio.timeout(BODY_DEADLINE):
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY:
                raise web.HTTPRequestEntityTooLarge(MAX_BODY, len(body))
    return bytes(body)


def parse_push(body: bytes) -> DirectPush:
    """Read a push: bytes in, a `DirectPush` out. Raises `BadPush`."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadPush("M_NOT_JSON", "The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise BadPush("M_BAD_JSON", "The body must be a JSON object.")
    updates = fields.get("updates")
    missed = fields.get("missed", [])
    if not isinstance(updates, list) or not isinstance(missed, list):
        raise BadPush("M_BAD_JSON", "`updates` and `missed` must be lists.")
    if max(len(updates), len(missed)) > MAX_NAMES:
        raise BadPush("M_BAD_JSON", f"A push has at most {MAX_NAMES} updates or accounts.")
    return DirectPush(
        instance=_name(fields, "instance", required=True),
        run=_name(fields, "run", required=True),
        epoch=_name(fields, "epoch", required=False),
        gap=fields.get("gap") is True,
        missed=tuple(_account(each) for each in missed),
        dropped=_count(fields.get("dropped", 0)),
        updates=tuple(_update(each) for each in updates),
    )


def _update(fields: Any) -> PushedDirect:
    if not isinstance(fields, dict):
        raise BadPush("M_BAD_JSON", "An update must be an object.")
    content, age = fields.get("content"), fields.get("age", 0)
    if content is not None and not isinstance(content, str):
        raise BadPush("M_BAD_JSON", "`content` must be JSON text or null.")
    if isinstance(age, bool) or not isinstance(age, int | float) or not 0 <= age < math.inf:
        raise BadPush("M_BAD_JSON", "`age` must be seconds.")
    return PushedDirect(
        _count(fields.get("seq")),
        _account(fields.get("account")),
        float(age),
        None if content is None else content.encode(),
    )


def _account(value: Any) -> UserId:
    if (
        isinstance(value, str)
        and value.startswith("@")
        and "\0" not in value
        and len(value.encode()) <= MAX_IDENTIFIER
    ):
        return UserId(value)
    raise BadPush("M_BAD_JSON", "An account must be a user id.")


def _name(fields: dict[str, Any], key: str, *, required: bool) -> str:
    value = fields.get(key, "")
    if isinstance(value, str) and len(value) <= MAX_IDENTIFIER and (value or not required):
        return value
    raise BadPush("M_BAD_JSON", f"`{key}` must be a short text.")


def _count(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise BadPush("M_BAD_JSON", "`seq` and `dropped` must be whole numbers.")
