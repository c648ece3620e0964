"""The bare client: an application service that does only what cannot be avoided.

It has a registration and a namespace of its own on the same homeserver, which pushes to it as it
pushes to the bridge. It stores nothing, checks nothing and repeats nothing: what the homeserver
itself costs, and aiohttp. It is a process of its own, as the bridge is, so that no other client's
work delays it: ``python -m benchmarks.bare`` takes calls, as lines of JSON, from `bare_process`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from benchmarks.tally import body
from dm_bridge.testing.processes import LOOPBACK

Json = dict[str, Any]

PREFIX = "_bare_"
MAX_LINE = 16 * 1024 * 1024
_REQUEST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the process is told first. ``port``: where the homeserver pushes to."""

    homeserver: str
    domain: str
    port: int
    as_token: str


class BareAppservice:
    """The calls that `bare_process` can make. Times are `time.monotonic`, common to all processes."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._session = session
        self._transactions = itertools.count()
        self._awaited: dict[str, asyncio.Future[float]] = {}

    async def receive(self, request: web.Request) -> web.Response:
        """Take a push."""
        at = time.monotonic()
        for event in json.loads(await request.read())["events"]:
            awaited = self._awaited.pop(str(event["content"].get("body")), None)
            if awaited is not None and not awaited.done():
                awaited.set_result(at)
        return web.json_response({})

    async def pushed(self, text: str) -> float:
        """When the message with this text is pushed."""
        self._awaited[text] = asyncio.get_running_loop().create_future()
        return await self._awaited[text]

    async def register(self, ghosts: Sequence[str]) -> None:
        """Make these ghosts."""
        for ghost in ghosts:
            await self._register(ghost)

    async def create_rooms(self, ghosts: Sequence[str], body: Json, in_flight: int) -> Json:
        """Let each ghost create a room; ``rooms`` by ghost, and the ``seconds`` it took."""
        rooms: dict[str, str] = {}
        slots = asyncio.Semaphore(in_flight)

        async def create(ghost: str) -> None:
            async with slots:
                rooms[ghost] = await self._create_room(ghost, body)

        start = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for ghost in ghosts:
                tasks.create_task(create(ghost))
        return {"rooms": rooms, "seconds": time.monotonic() - start}

    async def write(self, run: str, rooms: Mapping[str, str], each: int, content: Json) -> float:
        """Let each ghost write ``each`` messages into its room, one after the other; when it began."""

        async def write(ghost: str, room: str) -> None:
            for number in range(each):
                await self._send(ghost, room, {**content, "body": body(run, ghost, number)})

        start = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for ghost, room in rooms.items():
                tasks.create_task(write(ghost, room))
        return start

    async def begin_chats(
        self, run: str, ghosts: Sequence[str], room_body: Json, content: Json, user: str, token: str
    ) -> Json:
        """All that a new chat of ``user`` with each ghost needs; ``start``, and ``rooms`` by ghost."""
        rooms: dict[str, str] = {}

        async def begin(ghost: str) -> None:
            await self._register(ghost)
            await self._set_name(ghost)
            room = await self._create_room(ghost, room_body)
            await self._call("POST", f"rooms/{quote(room)}/join", {}, token=token)
            await self._set_m_direct(ghost, {user: [room]})
            await self._send(ghost, room, {**content, "body": body(run, ghost, 0)})
            rooms[ghost] = room

        start = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for ghost in ghosts:
                tasks.create_task(begin(ghost))
        return {"start": start, "rooms": rooms}

    async def bring_chats(
        self,
        run: str,
        ghosts: Sequence[str],
        each: int,
        room_body: Json,
        content: Json,
        user: str,
        token: str,
        in_flight: int,
        state: Json,
    ) -> Json:
        """The same, with ``each`` old messages, which the user has read, and ``state``, contents by type.

        Returns ``start``, and ``rooms`` by ghost.
        """
        rooms: dict[str, str] = {}
        slots = asyncio.Semaphore(in_flight)
        ago = {"ts": str(int((time.time() - 86_400) * 1000))}

        async def bring(ghost: str) -> None:
            async with slots:
                await self._register(ghost)
                await self._set_name(ghost)
                room = rooms[ghost] = await self._create_room(ghost, room_body)
                await self._call("POST", f"rooms/{quote(room)}/join", {}, token=token)
                await self._set_m_direct(ghost, {user: [room]})
                for kind, described in state.items():
                    await self._call("PUT", f"rooms/{quote(room)}/state/{kind}", described, ghost)
                for number in range(each):
                    said = {**content, "body": body(run, ghost, number)}
                    event = await self._send(ghost, room, said, ago)
                read = {"m.fully_read": event, "m.read": event}
                await self._call("POST", f"rooms/{quote(room)}/read_markers", read, token=token)

        start = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for ghost in ghosts:
                tasks.create_task(bring(ghost))
        return {"start": start, "rooms": rooms}

    async def copy_in(self, url: str, size: int) -> float:
        """Copy a file into the repository; the seconds that it took."""
        target = f"{self._settings.homeserver}/_matrix/media/v3/upload"
        headers = {**self._authorization, "Content-Length": str(size)}
        return await self._copy(url, {}, "POST", target, headers)

    async def copy_out(self, mxc: str, put: str, headers: Mapping[str, str], size: int) -> float:
        """Copy a file out of the repository to where ``put`` says; the seconds that it took."""
        path = mxc.removeprefix("mxc://")
        source = f"{self._settings.homeserver}/_matrix/client/v1/media/download/{path}"
        sent = {**headers, "Content-Length": str(size)}
        return await self._copy(source, self._authorization, "PUT", put, sent)

    @property
    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._settings.as_token}"}

    async def _copy(
        self,
        source: str,
        headers: Mapping[str, str],
        method: str,
        target: str,
        target_headers: Mapping[str, str],
    ) -> float:
        start = time.monotonic()
        async with self._session.get(source, headers=headers) as read:
            read.raise_for_status()
            chunks = read.content.iter_chunked(64 * 1024)
            async with self._session.request(
                method, target, data=chunks, headers=target_headers
            ) as written:
                written.raise_for_status()
        return time.monotonic() - start

    async def _register(self, ghost: str) -> None:
        body = {
            "type": "m.login.application_service",
            "username": PREFIX + ghost,
            "inhibit_login": True,
        }
        await self._call("POST", "register", body)

    async def _set_name(self, ghost: str) -> None:
        path = f"profile/{quote(self._user(ghost))}/displayname"
        await self._call("PUT", path, {"displayname": ghost}, ghost)

    async def _create_room(self, ghost: str, body: Json) -> str:
        return str((await self._call("POST", "createRoom", body, ghost))["room_id"])

    async def _set_m_direct(self, ghost: str, document: Json) -> None:
        path = f"user/{quote(self._user(ghost))}/account_data/m.direct"
        await self._call("PUT", path, document, ghost)

    async def _send(
        self, ghost: str, room: str, content: Json, query: Mapping[str, str] | None = None
    ) -> str:
        path = f"rooms/{quote(room)}/send/m.room.message/{next(self._transactions)}"
        return str((await self._call("PUT", path, content, ghost, query=query))["event_id"])

    async def _call(
        self,
        method: str,
        path: str,
        body: Json,
        ghost: str | None = None,
        token: str | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        url = f"{self._settings.homeserver}/_matrix/client/v3/{path}"
        params = {**(query or {}), **({} if ghost is None else {"user_id": self._user(ghost)})}
        headers = {"Authorization": f"Bearer {token or self._settings.as_token}"}
        async with self._session.request(
            method, url, json=body, params=params, headers=headers
        ) as response:
            answer: Json = await response.json()
            if response.status != 200:
                raise RuntimeError(f"{method} {path}: {response.status} {answer}")
            return answer

    def _user(self, ghost: str) -> str:
        return f"@{PREFIX}{ghost}:{self._settings.domain}"


async def _serve() -> None:
    """Answer calls from standard input until it ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=MAX_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    settings = Settings(**json.loads(await lines.readline()))
    timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = BareAppservice(settings, session)
        app = web.Application(client_max_size=MAX_LINE)
        app.router.add_put("/_matrix/app/v1/transactions/{transaction}", client.receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, settings.port).start()
        _answer({"ready": True})
        calls = set()
        while line := await lines.readline():
            call = asyncio.create_task(_perform(client, json.loads(line)))
            calls.add(call)
            call.add_done_callback(calls.discard)
        for call in calls:
            call.cancel()
        await runner.cleanup()


async def _perform(client: BareAppservice, call: Json) -> None:
    try:
        result = await getattr(client, call["name"])(**call["arguments"])
    except Exception as error:
        _answer({"id": call["id"], "error": repr(error)})
    else:
        _answer({"id": call["id"], "result": result})


def _answer(answer: Json) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve())
