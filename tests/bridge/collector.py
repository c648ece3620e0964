"""A collector of reports, on a real port."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


class Collector:
    """``got``: the bodies of requests. ``answers``: the status of the next ones; then 200."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.tokens: set[str] = set()
        self.answers: list[int] = []
        self.asked = 0
        self.hold: asyncio.Event | None = None
        app = web.Application()
        app.router.add_post("/reports", self._take)
        self.server = TestServer(app)

    async def _take(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = await request.json()
        if self.hold is not None:
            await self.hold.wait()
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.got.append(body)
            self.tokens.add(request.headers["Authorization"])
        return web.json_response({}, status=status)
