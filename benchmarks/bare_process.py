"""The bare client as the benchmarks use it: started, called, and stopped."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from benchmarks.bare import MAX_LINE, PREFIX, Json, Settings
from dm_bridge.errors import BridgeError
from dm_bridge.testing.processes import LOOPBACK, free_port

_CALL_SECONDS = 3600.0
_STOP_SECONDS = 10.0
_ROOT = Path(__file__).resolve().parent.parent


class Bare:
    """Open it with ``async with``; the homeserver needs `write_registration` first."""

    def __init__(self, homeserver: str, domain: str) -> None:
        self._settings = Settings(homeserver, domain, free_port(), secrets.token_urlsafe(32))
        self._process: asyncio.subprocess.Process | None = None
        self._ids = itertools.count()
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._reading: asyncio.Task[None] | None = None

    def write_registration(self, path: Path) -> None:
        """Write the file for the homeserver."""
        users = f"^@{PREFIX}.+:{re.escape(self._settings.domain)}$"
        registration = {
            "id": "bare",
            "url": f"http://{LOOPBACK}:{self._settings.port}",
            "as_token": self._settings.as_token,
            "hs_token": secrets.token_urlsafe(32),
            "sender_localpart": "_bare",
            "rate_limited": False,
            "namespaces": {
                "users": [{"exclusive": True, "regex": users}],
                "aliases": [],
                "rooms": [],
            },
        }
        path.write_text(yaml.safe_dump(registration), encoding="utf-8")

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.bare",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
            limit=MAX_LINE,
        )
        self._write(dataclasses.asdict(self._settings))
        assert self._process.stdout is not None
        if not await self._process.stdout.readline():
            raise BridgeError("The bare client did not start.")
        self._reading = asyncio.create_task(self._read(self._process.stdout))
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    def user(self, ghost: str) -> str:
        """The user id of a ghost."""
        return f"@{PREFIX}{ghost}:{self._settings.domain}"

    async def pushed(self, text: str) -> float:
        """See `BareAppservice.pushed`."""
        return float(await self._call("pushed", text=text))

    async def register(self, ghosts: Sequence[str]) -> None:
        """See `BareAppservice.register`."""
        await self._call("register", ghosts=list(ghosts))

    async def create_rooms(
        self, ghosts: Sequence[str], body: Json, in_flight: int
    ) -> tuple[dict[str, str], float]:
        """See `BareAppservice.create_rooms`; rooms by ghost, and the seconds it took."""
        answer = await self._call(
            "create_rooms", ghosts=list(ghosts), body=body, in_flight=in_flight
        )
        return answer["rooms"], answer["seconds"]

    async def write(self, run: str, rooms: Mapping[str, str], each: int, content: Json) -> float:
        """See `BareAppservice.write`."""
        return float(
            await self._call("write", run=run, rooms=dict(rooms), each=each, content=content)
        )

    async def begin_chats(
        self,
        run: str,
        ghosts: Sequence[str],
        *,
        room_body: Json,
        content: Json,
        user: str,
        token: str,
    ) -> tuple[float, dict[str, str]]:
        """See `BareAppservice.begin_chats`; when it began, and rooms by ghost."""
        answer = await self._call(
            "begin_chats",
            run=run,
            ghosts=list(ghosts),
            room_body=room_body,
            content=content,
            user=user,
            token=token,
        )
        return answer["start"], answer["rooms"]

    async def bring_chats(
        self,
        run: str,
        ghosts: Sequence[str],
        each: int,
        *,
        room_body: Json,
        content: Json,
        user: str,
        token: str,
        in_flight: int,
        state: Json,
    ) -> tuple[float, dict[str, str]]:
        """See `BareAppservice.bring_chats`; when it began, and rooms by ghost."""
        answer = await self._call(
            "bring_chats",
            run=run,
            ghosts=list(ghosts),
            each=each,
            room_body=room_body,
            content=content,
            user=user,
            token=token,
            in_flight=in_flight,
            state=state,
        )
        return answer["start"], answer["rooms"]

    async def copy_in(self, url: str, size: int) -> float:
        """See `BareAppservice.copy_in`."""
        return float(await self._call("copy_in", url=url, size=size))

    async def copy_out(self, mxc: str, put: str, headers: Mapping[str, str], size: int) -> float:
        """See `BareAppservice.copy_out`."""
        return float(
            await self._call("copy_out", mxc=mxc, put=put, headers=dict(headers), size=size)
        )

    async def _call(self, name: str, **arguments: Any) -> Any:
        identifier = next(self._ids)
        self._calls[identifier] = asyncio.get_running_loop().create_future()
        self._write({"id": identifier, "name": name, "arguments": arguments})
        async with asyncio.timeout(_CALL_SECONDS):
            return await self._calls[identifier]

    def _write(self, line: Json) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def _read(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            answer = json.loads(line)
            call = self._calls.pop(answer["id"])
            if call.done():
                continue
            if "error" in answer:
                call.set_exception(BridgeError(f"The bare client failed: {answer['error']}"))
            else:
                call.set_result(answer["result"])
        for call in self._calls.values():
            if not call.done():
                call.set_exception(BridgeError("The bare client has ended."))
