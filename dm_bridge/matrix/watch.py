"""Watching one account's m.direct over ``/sync``, as the user and without a device.

One long poll that is filtered down to m.direct: no rooms, no presence, no devices. A change arrives
within milliseconds; an account at rest costs one request in `POLL` seconds. But a long poll is woken by
every event in the user's rooms, for nothing: where there are many, m.direct is read every `GLANCE` seconds
instead. A long poll cannot be ended from here, as Synapse goes on with it; so where there are some, it is not
so long.

The rule that must never break: only accounts that ``may_watch`` allows are watched, and those only
by masquerade. A sync with a token of the user's would take the messages that are waiting for the
device to which it belongs: its client could never decrypt what it was sent.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import orjson
import structlog
from mautrix.api import Path

from dm_bridge.errors import BridgeError, HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.sessions import homeserver_session
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

POLL = 50.0
"""Seconds of one long poll; proxies commonly end requests after 60."""
SHORT_POLL = 5.0
"""Seconds of one long poll, where something happened of late."""
GLANCE = 2.0
"""Seconds between two reads, while much happens in the account's rooms."""
GRACE = 15.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 120.0


def watch_filter() -> str:
    """A filter for m.direct alone, unlike any before it.

    Synapse keeps the answer of a sync for two minutes and gives it again to an equal request: after a
    restart of the bridge, what stood there two minutes ago would pass for what stands there now.
    """
    nonce = f"org.dm_bridge.{secrets.token_hex(8)}"
    selection = {
        "presence": {"types": []},
        "account_data": {"types": ["m.direct", nonce]},
        "room": {
            "rooms": [],
            "state": {"types": []},
            "timeline": {"types": [], "limit": 1},
            "ephemeral": {"types": []},
            "account_data": {"types": []},
        },
    }
    return json.dumps(selection, separators=(",", ":"))


MayWatch = Callable[[UserId], bool]


def watch_session(accounts: int) -> aiohttp.ClientSession:
    """A client session for that many long polls, apart from the one that everything else uses."""
    return homeserver_session(accounts + 16, POLL + GRACE)


class DirectWatch:
    """An endless asynchronous iterator of an account's m.direct contents (JSON text), newest last.

    The first is what stands there now, unless nothing was ever set. Failures that may pass are waited
    out, and are no gap: the next answer brings what was missed, the newest version of it. Raises
    `HomeserverError` when the homeserver does not let us watch.
    ``patience``: for how many seconds a poll may wait: `POLL`, `SHORT_POLL`, or 0 while much happens.
    ``live``: whether the last poll succeeded, so that changes are noticed as they happen, or within `GLANCE`
    seconds.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        user: UserId,
        may_watch: MayWatch,
        patience: Callable[[], float] = lambda: POLL,
    ) -> None:
        self._homeserver = homeserver
        self._user = user
        self._may_watch = may_watch
        self._patience = patience
        self.live = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        since: str | None = None
        failures = 0
        while True:
            follows = since is not None and self.live
            wait = self._patience() if follows else 0.0
            try:
                if follows and not wait:
                    contents = await self._glance()
                else:
                    answer = await self._poll(since, wait)
                    since, contents = _next_batch(answer), _contents(answer)
            except HomeserverError as error:
                self.live = False
                if since is not None and 400 <= error.status < 500 and error.retry_after is None:
                    since = None  # it no longer knows the token; a refusal will be said again
                elif error.retry_after is None:
                    raise
                failures += 1
                await asyncio.sleep(pause(failures, error))
                continue
            failures = 0
            self.live = True
            for content in contents:
                yield content

    async def _glance(self) -> list[bytes]:
        """After a while, what stands there, if anything does. Costs less than any /sync."""
        await asyncio.sleep(GLANCE)
        self._check()
        path = Path.v3.user[self._user].account_data["m.direct"]
        try:
            raw = await self._homeserver.request_raw(
                "GET", path, user=self._user, deadline=GRACE, attempt_deadline=GRACE, once=True
            )
        except HomeserverError as error:
            if error.errcode == "M_NOT_FOUND":
                return []
            raise
        return [_text(_parse(raw))]

    def _check(self) -> None:
        if not self._may_watch(self._user):
            raise HomeserverError(phrase("homeserver-not-watched", account=self._user))

    async def _poll(self, since: str | None, wait: float) -> Mapping[str, Any]:
        self._check()
        query = {
            "filter": watch_filter(),
            "timeout": str(int(wait * 1000)),
            "set_presence": "offline",
        }
        if since is not None:
            query["since"] = since
        deadline = wait + GRACE
        raw = await self._homeserver.request_raw(
            "GET",
            Path.v3.sync,
            user=self._user,
            query=query,
            deadline=deadline,
            attempt_deadline=deadline,
            once=True,
        )
        return _parse(raw)


def pause(failures: int, error: BridgeError) -> float:
    """Seconds to wait after so many failures in a row, the last of which was ``error``."""
    backoff = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
    return max(error.retry_after or 0.0, backoff) * random.uniform(1, 1.5)  # noqa: S311


def _parse(raw: bytes) -> Mapping[str, Any]:
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:  # lone surrogates and long numbers, which clients do write
        answer = json.loads(raw)
    assert isinstance(answer, dict)  # request_raw returns nothing else
    return answer


def _next_batch(answer: Mapping[str, Any]) -> str:
    token = answer.get("next_batch")
    if not isinstance(token, str) or not token:
        raise HomeserverError(
            phrase("homeserver-no-next-batch"),
            certain=False,
            retry_after=LONGEST_PAUSE / 2,
        )
    return token


def _text(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _contents(answer: Mapping[str, Any]) -> list[bytes]:
    section = answer.get("account_data")
    events = section.get("events") if isinstance(section, dict) else None
    return [
        _text(event["content"])
        for event in (events if isinstance(events, list) else ())
        if isinstance(event, dict) and event.get("type") == "m.direct" and "content" in event
    ]
