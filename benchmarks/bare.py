"""The bare client: an application service that does only what cannot be avoided.

It has a registration and a namespace of its own on the same homeserver, which pushes to it as it
pushes to the bridge. It stores nothing, checks nothing and repeats nothing: what the homeserver
itself costs, and aiohttp.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import yaml
from aiohttp import web

from dm_bridge.testing.processes import LOOPBACK, free_port

Json = dict[str, Any]

_PREFIX = "_bare_"
_REQUEST_SECONDS = 120.0
_PUSH_SECONDS = 30.0


class BareAppservice:
    """Open it with ``async with`` once the homeserver runs with `registration`."""

    def __init__(self, homeserver: str, domain: str) -> None:
        self._homeserver = homeserver
        self._domain = domain
        self._as_token, self._hs_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._port = free_port()
        self._transactions = itertools.count()
        self._awaited: dict[str, asyncio.Future[float]] = {}
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    def write_registration(self, path: Path) -> None:
        """Write the file for the homeserver."""
        registration = {
            "id": "bare",
            "url": f"http://{LOOPBACK}:{self._port}",
            "as_token": self._as_token,
            "hs_token": self._hs_token,
            "sender_localpart": "_bare",
            "rate_limited": False,
            "namespaces": {
                "users": [
                    {
                        "exclusive": True,
                        "regex": f"^@{_PREFIX}.+:{re.escape(self._domain)}$",
                    }
                ],
                "aliases": [],
                "rooms": [],
            },
        }
        path.write_text(yaml.safe_dump(registration), encoding="utf-8")

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_put("/_matrix/app/v1/transactions/{transaction}", self._pushed)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self._port).start()
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_REQUEST_SECONDS),
            headers={"Authorization": f"Bearer {self._as_token}"},
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._session is not None
        assert self._runner is not None
        await self._session.close()
        await self._runner.cleanup()

    async def _pushed(self, request: web.Request) -> web.Response:
        at = time.monotonic()
        for event in json.loads(await request.read())["events"]:
            awaited = self._awaited.pop(str(event["content"].get("body")), None)
            if awaited is not None and not awaited.done():
                awaited.set_result(at)
        return web.json_response({})

    def pushed(self, text: str) -> asyncio.Future[float]:
        """When (`time.monotonic`) the message with this text is pushed. Ask before it is sent."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._awaited[text] = future
        return future

    def ghost(self, name: str) -> str:
        """The user id of the ghost ``name``."""
        return f"@{_PREFIX}{name}:{self._domain}"

    async def register(self, name: str) -> None:
        """Make the ghost ``name``."""
        body = {
            "type": "m.login.application_service",
            "username": f"{_PREFIX}{name}",
            "inhibit_login": True,
        }
        await self._call("POST", "register", body)

    async def set_name(self, name: str, displayname: str) -> None:
        """Give the ghost ``name`` a display name."""
        ghost = self.ghost(name)
        path = f"profile/{quote(ghost)}/displayname"
        await self._call("PUT", path, {"displayname": displayname}, ghost)

    async def create_room(self, name: str, body: Json) -> str:
        """Let the ghost ``name`` create a room; its id."""
        return str((await self._call("POST", "createRoom", body, self.ghost(name)))["room_id"])

    async def set_m_direct(self, name: str, document: Json) -> None:
        """Set the m.direct of the ghost ``name``."""
        ghost = self.ghost(name)
        await self._call("PUT", f"user/{quote(ghost)}/account_data/m.direct", document, ghost)

    async def send(self, name: str, room: str, content: Json) -> None:
        """Let the ghost ``name`` send a message."""
        transaction = next(self._transactions)
        path = f"rooms/{quote(room)}/send/m.room.message/{transaction}"
        await self._call("PUT", path, content, self.ghost(name))

    async def _call(self, method: str, path: str, body: Json, user: str | None = None) -> Json:
        assert self._session is not None
        url = f"{self._homeserver}/_matrix/client/v3/{path}"
        query = {} if user is None else {"user_id": user}
        async with self._session.request(method, url, json=body, params=query) as response:
            answer: Json = await response.json()
            if response.status != 200:
                raise RuntimeError(f"{method} {path}: {response.status} {answer}")
            return answer
