"""The null homeserver: ``python -m benchmarks.null.homeserver``, a process of its own.

It answers what the bridge asks, stores next to nothing, and pushes as fast as it is told to. Settings come as
one line of JSON on standard input; orders to ``/control`` on a port of their own; it ends with its input.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections import defaultdict, deque
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

import aiohttp
import orjson

from benchmarks.null import shape
from benchmarks.null.http import Answer, Server
from benchmarks.null.record import Record, text
from benchmarks.null.shape import Shape
from dm_bridge.testing.processes import LOOPBACK

Json = dict[str, Any]
OK = (200, b"{}")
NOT_FOUND = (404, b'{"errcode":"M_NOT_FOUND","error":"There is none."}')
KEPT = 20
IN_TRANSACTION = 100  # events, as Synapse has it


@dataclass(frozen=True, slots=True)
class Settings:
    """``port``: for clients. ``control``: for orders. ``bridge``: where to push to."""

    port: int
    control: int
    bridge: str
    hs_token: str
    bot: str
    portals: int
    logins: int


class NullHomeserver:
    """Answers, and remembers the last messages of each room."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shape = Shape(settings.portals, settings.logins)
        self._server = Server(self.handle, LOOPBACK, settings.port)
        self._documents: dict[str, bytes] = {}
        self._latest: dict[str, deque[Json]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._rooms = itertools.count(settings.portals)
        self._transactions = itertools.count()
        self._events = itertools.count()
        self._session: aiohttp.ClientSession | None = None
        self._pushing: set[asyncio.Task[None]] = set()
        self._reset()

    def _reset(self) -> None:
        self.record = Record()
        self._requests = 0
        self._limited_until = 0.0
        self._limited: list[float] = []
        self._after: list[float] = []
        self._pushed_at = 0.0

    # -- the client API

    def handle(self, method: str, target: str, body: bytes) -> Any:
        """Answer one request."""
        self._requests += 1
        if self._limited_until:
            now = time.monotonic()
            if now < self._limited_until:
                self._limited.append(now)
                left = int((self._limited_until - now) * 1000) + 1
                return 429, orjson.dumps({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": left})
            self._after.append(now)
        path, _, query = target.partition("?")
        parts = path.split("/")
        match (method, parts[4:]):
            case ("PUT", ["rooms", room, "send", kind, transaction]):
                return self._send(unquote(room), kind, transaction, query, body)
            case ("POST", ["rooms", _, "receipt", *_]):
                return OK
            case ("GET", ["account", "whoami"]):
                return 200, orjson.dumps({"user_id": _user(query) or self._settings.bot})
            case ("GET", ["sync"]):
                return self._sync(query)
            case ("GET", ["user", user, "account_data", _]):
                return 200, self._document(unquote(user))
            case ("PUT", ["user", user, "account_data", _]):
                self._documents[unquote(user)] = body
                return OK
            case ("POST", ["appservice", _, "ping"]):
                return self._ping(body)
            case ("GET", ["rooms", room, "messages"]):
                return 200, orjson.dumps({"chunk": list(self._latest[unquote(room)])[::-1]})
            case ("GET", ["rooms", _, "members"]):
                return 200, b'{"chunk":[]}'
            case ("GET", ["rooms", _, "state", *_]):
                return NOT_FOUND
            case ("POST", ["createRoom"]):
                return 200, orjson.dumps({"room_id": shape.room(next(self._rooms))})
            case ("POST", ["register"]):
                return 200, orjson.dumps({"user_id": "@" + orjson.loads(body)["username"]})
            case _:
                return OK

    def _send(self, room: str, kind: str, transaction: str, query: str, body: bytes) -> Answer:
        event = "$" + transaction
        if kind == "m.room.message":
            content = orjson.loads(body)
            latest = self._latest[room]
            if all(old["event_id"] != event for old in latest):
                self.record.note(content["body"])
                latest.append(
                    {
                        "event_id": event,
                        "type": kind,
                        "sender": _user(query),
                        "content": content,
                    }
                )
        return 200, b'{"event_id":"%b"}' % event.encode()

    async def _sync(self, query: str) -> Answer:
        await asyncio.sleep(int(parse_qs(query).get("timeout", ["0"])[0]) / 1000)
        return 200, b'{"next_batch":"1","account_data":{"events":[]}}'

    def _document(self, user: str) -> bytes:
        stored = self._documents.get(user)
        if stored is not None:
            return stored
        number = shape.number_in(user)
        if "_dm_" in user:
            login = self._shape.login_of(number)
            return orjson.dumps({shape.owner(login): [shape.room(number)]})
        return orjson.dumps(
            {shape.ghost(portal): [shape.room(portal)] for portal in self._shape.portals_of(number)}
        )

    async def _ping(self, body: bytes) -> Answer:
        await self._to_bridge("POST", "ping", body)
        return 200, b'{"duration_ms":1}'

    async def _to_bridge(self, method: str, path: str, body: bytes) -> None:
        assert self._session is not None
        headers = {"Authorization": f"Bearer {self._settings.hs_token}"}
        url = f"{self._settings.bridge}/_matrix/app/v1/{path}"
        async with self._session.request(method, url, data=body, headers=headers) as response:
            await response.read()
            response.raise_for_status()

    # -- orders

    async def control(self, order: Json) -> Json:
        """Carry out one order."""
        match order.pop("do"):
            case "reset":
                self._reset()
            case "down":
                await self._server.down()
            case "up":
                await self._server.up()
            case "limit":
                self._limited_until = time.monotonic() + order["seconds"]
            case "push":
                task = asyncio.create_task(self._push(**order))
                self._pushing.add(task)
                task.add_done_callback(self._pushing.discard)
            case "finished":
                return {"at": [self.record.finished(portal) for portal in order["portals"]]}
            case "stats":
                return self._stats()
        return {}

    def _stats(self) -> Json:
        first = self._limited[0] if self._limited else 0.0
        return {
            **self.record.summary(),
            "requests": self._requests,
            "refused": len(self._limited),
            "refused_late": sum(1 for at in self._limited if at > first + 0.2),
            "after": [at - self._limited_until for at in self._after[:2000]],
            "pushing": len(self._pushing),
            "pushed_at": self._pushed_at,
        }

    async def _push(self, portals: list[int], each: int, rate: float) -> None:
        """Push ``each`` messages of their users in each portal, ``rate`` a second (0: as fast as possible)."""
        order = [(portal, number) for number in range(each) for portal in portals]
        start, done = time.monotonic(), 0
        while done < len(order):
            due = len(order)
            if rate:
                due = min(due, int((time.monotonic() - start) * rate) + 1)
            if due == done:
                await asyncio.sleep(0.001)
                continue
            page = order[done : min(due, done + IN_TRANSACTION)]
            now = time.monotonic()
            events = [
                self._event(portal, text(portal, number, start + at / rate if rate else now))
                for at, (portal, number) in enumerate(page, done)
            ]
            body = orjson.dumps({"events": events})
            await self._to_bridge("PUT", f"transactions/{next(self._transactions)}", body)
            done += len(page)
        self._pushed_at = time.monotonic()

    def _event(self, portal: int, said: str) -> Json:
        return {
            "event_id": f"$pushed{next(self._events)}-{time.monotonic_ns()}",
            "room_id": shape.room(portal),
            "sender": shape.owner(self._shape.login_of(portal)),
            "type": "m.room.message",
            "origin_server_ts": int(time.time() * 1000),
            "content": {"msgtype": "m.text", "body": said},
            "unsigned": {"age": 12},
        }

    async def run(self) -> None:
        """Serve until standard input ends."""
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

        async def orders(_method: str, _target: str, body: bytes) -> Answer:
            try:
                return 200, orjson.dumps(await self.control(orjson.loads(body)))
            except Exception as error:
                return 500, orjson.dumps({"error": repr(error)})

        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(timeout=timeout) as self._session:
            await self._server.up()
            await Server(orders, LOOPBACK, self._settings.control).up()
            print("ready", flush=True)
            await lines.read()


def _user(query: str) -> str:
    if query.startswith("user_id="):  # the usual case, without the cost of the general one
        return unquote(query[8:].partition("&")[0])
    return parse_qs(query).get("user_id", [""])[0]


def settings_line(settings: Settings) -> bytes:
    """What the process is told first."""
    return orjson.dumps(asdict(settings)) + b"\n"


if __name__ == "__main__":
    asyncio.run(NullHomeserver(Settings(**orjson.loads(sys.stdin.buffer.readline()))).run())
