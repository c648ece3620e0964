"""A load balancer as small as can be: one address before several processes.

Like nginx by itself, it gives a request that the first process does not answer to the next one.

The rule that must never break: a request that some process can answer is answered.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from dm_bridge.testing.processes import LOOPBACK, free_port

CONNECT_DEADLINE = 0.5
ANSWER_DEADLINE = 5.0
LARGEST = 32 * 1024 * 1024
_PASSED_ON = ("Authorization", "Content-Type")


class Balancer:
    """Listens on ``port``, and passes each request on to the next of ``backends`` (ports) that answers it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.backends: Sequence[int] = ()
        self._turn = itertools.count()
        app = web.Application(client_max_size=LARGEST)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_DEADLINE, sock_read=ANSWER_DEADLINE),
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        first, backends = next(self._turn), self.backends
        for number in range(len(backends)):
            port = backends[(first + number) % len(backends)]
            try:
                async with self._session.request(
                    request.method,
                    f"http://{LOOPBACK}:{port}{request.raw_path}",
                    data=body,
                    headers=headers,
                ) as answer:
                    return web.Response(
                        status=answer.status,
                        body=await answer.read(),
                        content_type=answer.content_type,
                    )
            except (aiohttp.ClientError, TimeoutError):
                continue
        return web.Response(status=502, text="No process answers.")
