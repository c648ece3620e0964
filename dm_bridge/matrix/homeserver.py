"""The client-server API, as an application service uses it.

The rule that must never break: a request that is not idempotent is sent at most once, unless the
homeserver said it was not accepted (429, or no connection could be made). Every attempt has a
deadline; a 429 delays every request, not just the one that met it.

Why no ready-made client: the retries of mautrix repeat createRoom after a 502 and drop the delay a
429 asks for. Its paths and error classes are used.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
from asyncio import get_running_loop
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import orjson
from mautrix.api import Path, PathBuilder
from yarl import URL

from dm_bridge.errors import HomeserverAway, HomeserverError
from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.budget import Budget
from dm_bridge.texts import phrase
from dm_bridge.web import CHUNK

ATTEMPT_DEADLINE = 60.0
TOTAL_DEADLINE = 120.0
LARGE = 512 * 1024

Json = dict[str, Any]


class Homeserver:
    """One homeserver, with one token, as a rule an application service's; "" for none.

    ``session``: one that repeats nothing by itself (`dm_bridge.matrix.sessions`). ``unreachable``: called when no
    connection can be made. ``refusal``: why nothing may be changed now, if so; asked right before every attempt.
    ``budget``: shared by all that talk to the same homeserver.
    """

    def __init__(
        self,
        url: str,
        token: str,
        session: aiohttp.ClientSession,
        unreachable: Callable[[], None] = lambda: None,
        refusal: Callable[[], str | None] = lambda: None,
        budget: Budget | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._session = session
        self._unreachable = unreachable
        self._refusal = refusal
        self.budget = budget or Budget()

    async def request(
        self,
        method: str,
        path: PathBuilder,
        *,
        user: UserId | None = None,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        deadline: float = TOTAL_DEADLINE,
        attempt_deadline: float = ATTEMPT_DEADLINE,
        repeat_unsure: bool = True,
    ) -> Json:
        """`request_raw` with a JSON object as body; the JSON object of the answer."""
        data = None if method == "GET" else orjson.dumps(body or {})
        raw = await self.request_raw(
            method,
            path,
            user=user,
            data=data,
            query=query,
            deadline=deadline,
            attempt_deadline=attempt_deadline,
            repeat_unsure=repeat_unsure,
        )
        answer: Json = _parse(raw)
        return answer

    async def request_raw(
        self,
        method: str,
        path: PathBuilder,
        *,
        user: UserId | None = None,
        data: bytes | None = None,
        query: Mapping[str, str] | None = None,
        deadline: float = TOTAL_DEADLINE,
        attempt_deadline: float = ATTEMPT_DEADLINE,
        once: bool = False,
        repeat_unsure: bool = True,
    ) -> bytes:
        """Send a request, as ``user`` when given, and return the answer, a JSON object, as it came.

        GET and PUT are repeated after failures that may pass, until ``deadline`` seconds are over, each
        attempt at most ``attempt_deadline`` seconds; POST only when it surely had no effect, and so are
        they without ``repeat_unsure``, and then not while nobody can be reached; nothing is repeated
        with ``once``.
        Raises `HomeserverError`.
        """
        now = get_running_loop().time
        until = now() + deadline
        failures = 0
        while True:
            await self.budget.wait(until)
            try:
                timeout = min(attempt_deadline, max(1.0, until - now()))
                return await self._attempt(method, path, user, data, query, timeout)
            except HomeserverError as error:
                failures += 1
                delay = error.retry_after
                repeatable = repeat_unsure and method in ("GET", "PUT")
                if delay is None or not (error.certain or repeatable):
                    raise
                if error.status == 429:
                    self.budget.limited(delay)
                if once or (not repeat_unsure and isinstance(error, HomeserverAway)):
                    raise
                pause = max(delay, min(30.0, 0.5 * 2**failures) * random.uniform(0.5, 1))  # noqa: S311
                if now() + pause >= until:
                    raise
            await asyncio.sleep(pause)

    async def _attempt(
        self,
        method: str,
        path: PathBuilder,
        user: UserId | None,
        data: bytes | None,
        query: Mapping[str, str] | None,
        deadline: float,
    ) -> bytes:
        url, headers = self._addressed(method, path, user, query)
        headers["Content-Type"] = "application/json"
        with self._explained():
            async with asyncio.timeout(deadline):
                async with self._session.request(
                    method, url, data=_body(data), headers=headers, allow_redirects=False
                ) as response:
                    raw = await response.read()
                    return _answer(response.status, response.headers, raw, path)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: PathBuilder,
        *,
        user: UserId,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: AsyncIterable[bytes] | None = None,
        silence: float = ATTEMPT_DEADLINE,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request whose body, or whose answer, is a file; once. The answer is read within the block.

        ``data`` is as long as the ``Content-Length`` in ``headers`` says. ``silence``: for how many seconds the
        homeserver may say nothing. For a deadline of the whole look elsewhere. Raises `HomeserverError`, also
        within the block.
        """
        await self.budget.wait(get_running_loop().time())
        url, sent = self._addressed(method, path, user, query)
        patience = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence)
        with self._explained():
            async with self._session.request(
                method,
                url,
                data=data,
                headers={**sent, **(headers or {})},
                allow_redirects=False,
                timeout=patience,
            ) as response:
                if response.status != 200:
                    raw = await response.read()
                    try:
                        _answer(response.status, response.headers, raw, path)
                    except HomeserverError as error:
                        if error.status == 429 and error.retry_after is not None:
                            self.budget.limited(error.retry_after)
                        raise
                yield response

    async def body(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """What an answer of `stream` holds, in pieces. Raises `HomeserverError` when it breaks off."""
        with self._explained():
            async for chunk in response.content.iter_chunked(CHUNK):
                yield chunk

    def _addressed(
        self, method: str, path: PathBuilder, user: UserId | None, query: Mapping[str, str] | None
    ) -> tuple[URL, dict[str, str]]:
        """Where a request goes, and with which headers. Raises `HomeserverError` when it must not be made now."""
        params = dict(query or {})
        if user is not None:
            params["user_id"] = user
        refusal = None if method == "GET" else self._refusal()
        if refusal is not None:
            raise HomeserverError(refusal, certain=True, retry_after=1.0)
        url = URL(f"{self.url}/{path}", encoded=True).with_query(params)
        return url, {"Authorization": f"Bearer {self._token}"} if self._token else {}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except aiohttp.ClientConnectorError as error:
            self._unreachable()
            raise HomeserverAway(
                phrase(
                    "homeserver-unreachable",
                    url=self.url,
                    why=error.os_error.strerror or str(error),
                ),
                self.url,
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise HomeserverError(
                phrase("homeserver-silent", url=self.url, why=str(error) or type(error).__name__),
                certain=False,
                retry_after=1.0,
            ) from error

    # -- the calls that are used in more than one place

    async def whoami(self, user: UserId | None = None) -> UserId:
        """Whose token this is (``GET /account/whoami``)."""
        answer = await self.request("GET", Path.v3.account.whoami, user=user, deadline=10)
        return UserId(answer["user_id"])

    async def send(
        self,
        room: RoomId,
        event_type: str,
        content: Json,
        transaction: str,
        *,
        user: UserId,
        timestamp: float | None = None,
        repeat_unsure: bool = True,
    ) -> EventId:
        """Send a message event. ``transaction``: the same for every retry of the same event.

        ``timestamp``: seconds since the epoch, when the event is older than now (timestamp massaging).
        ``repeat_unsure``: the homeserver forgets transactions when it restarts; False for who looks into
        the room before they try again.
        """
        query = {} if timestamp is None else {"ts": str(int(timestamp * 1000))}
        path = Path.v3.rooms[room].send[event_type][transaction]
        answer = await self.request(
            "PUT", path, user=user, body=content, query=query, repeat_unsure=repeat_unsure
        )
        return EventId(answer["event_id"])

    async def set_state(
        self, room: RoomId, event_type: str, key: str, content: Json, *, user: UserId
    ) -> EventId:
        """Set a state event."""
        path = Path.v3.rooms[room].state[event_type][key]
        answer = await self.request("PUT", path, user=user, body=content)
        return EventId(answer["event_id"])

    async def redact(
        self,
        room: RoomId,
        event: EventId,
        transaction: str,
        reason: str,
        *,
        user: UserId,
        mark: Json | None = None,
    ) -> None:
        """Redact an event. ``mark``: what else to put into the content of the redaction."""
        path = Path.v3.rooms[room].redact[event][transaction]
        said = {"reason": reason} if reason else {}
        await self.request("PUT", path, user=user, body={**said, **(mark or {})})

    async def join(self, room: RoomId, *, user: UserId) -> None:
        """Join a room to which the user is invited; no effect when they are in it."""
        await self.request("POST", Path.v3.rooms[room].join, user=user)

    async def leave(self, room: RoomId, *, user: UserId, reason: str = "") -> None:
        """Leave a room, or refuse an invite to it."""
        body = {"reason": reason} if reason else {}
        await self.request("POST", Path.v3.rooms[room].leave, user=user, body=body)

    async def members(
        self, room: RoomId, *, user: UserId, also_gone: bool = False
    ) -> dict[UserId, str]:
        """Who is in the room, or invited: user id to membership. ``also_gone``: or ever was."""
        answer = await self.request("GET", Path.v3.rooms[room].members, user=user)
        return {
            UserId(event["state_key"]): event["content"].get("membership", "")
            for event in answer["chunk"]
            if also_gone or event["content"].get("membership") in ("join", "invite")
        }


def _body(data: bytes | None) -> bytes | io.BytesIO | None:
    # aiohttp asks for large bodies as files, so that writing them does not block everything else
    return io.BytesIO(data) if data is not None and len(data) > LARGE else data


def _answer(status: int, headers: Mapping[str, str], raw: bytes, path: PathBuilder) -> bytes:
    answer = _parse(raw)
    if 200 <= status < 300 and isinstance(answer, dict):
        return raw
    fields = answer if isinstance(answer, dict) else {}
    errcode = str(fields.get("errcode", ""))
    said = str(fields.get("error", "")) or phrase("homeserver-said-nothing")
    retry_after: float | None = None
    if status == 429:
        retry_after = _retry_after(fields, headers)
    elif status >= 500 or (200 <= status < 300) or not errcode:
        retry_after = 1.0 if status not in (404, 413) else None
    raise HomeserverError(
        phrase(
            "homeserver-answered", status=str(status), errcode=errcode, said=said, path=str(path)
        ),
        status=status,
        errcode=errcode,
        certain=400 <= status < 500,
        retry_after=retry_after,
    )


def _parse(raw: bytes) -> Any:
    """The JSON in ``raw``, None when there is none. Lone surrogates and long numbers are let through."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _retry_after(fields: Json, headers: Mapping[str, str]) -> float:
    milliseconds = fields.get("retry_after_ms")
    if isinstance(milliseconds, int | float) and milliseconds >= 0:
        return min(milliseconds / 1000, 3600.0)
    try:
        return min(max(float(headers.get("Retry-After", "1")), 0.0), 3600.0)
    except ValueError:
        return 1.0
