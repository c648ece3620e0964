"""A homeserver that answers from a script, over a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.sessions import homeserver_session

Answer = tuple[int, Any] | web.Response | Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)


class Script:
    """``answers``: given in order; the last one for ever. ``seen``: every request."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [(200, {})]
        self.seen: list[Seen] = []
        self.homeserver: Homeserver
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(
            Seen(
                request.method,
                request.raw_path.partition("?")[0],
                dict(request.query),
                await request.read(),
                dict(request.headers),
            )
        )
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, tuple):
            return web.json_response(answer[1], status=answer[0])
        return answer if isinstance(answer, web.Response) else await answer(request)


@asynccontextmanager
async def scripted() -> AsyncIterator[Script]:
    """A running script, and a `Homeserver` that talks to it."""
    script = Script()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    script.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with homeserver_session() as session:
        script.homeserver = Homeserver(script.url + "/", "as-token", session)
        yield script
    await runner.cleanup()
    await asyncio.sleep(0)
