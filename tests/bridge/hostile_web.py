"""A web of one server that does whatever a test wants, and a homeserver that takes files."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from dm_bridge.testing.certificates import write_certificate

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HOST = "files.example"
OTHERS = ("private.example", "mixed.example", "mapped.example")


class Names(AbstractResolver):
    """``addresses`` by name; all lead to ``port``. ``asked``: every name, as often as it was asked for."""

    def __init__(self, port: int) -> None:
        self.addresses = {
            HOST: ["127.0.0.1"],
            "private.example": ["10.1.2.3"],
            "mixed.example": ["93.184.216.34", "127.0.0.1"],
            "mapped.example": ["::ffff:192.168.1.1"],
        }
        self.port = port
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=self.port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.addresses.get(host, ["127.0.0.1"])
        ]

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that the homeserver has in full."""

    size: int
    sha256: str
    mimetype: str
    name: str
    user: str


@dataclass
class Hostile:
    """``pages`` by path; ``kept`` and ``broken_off`` by the homeserver, whose limit is ``limit``."""

    pages: dict[str, Handler] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    broken_off: int = 0
    limit: int | None = 50_000_000
    fails: list[tuple[int, dict[str, object]]] = field(default_factory=list)
    url: str = ""
    came: asyncio.Event = field(default_factory=asyncio.Event)
    names: Names = field(default_factory=lambda: Names(0))
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def page(self, path: str, content: bytes, **headers: str) -> str:
        """Serve ``content``; its address."""

        async def handler(request: web.Request) -> web.Response:
            return web.Response(body=content, headers=headers)

        return self.on(path, handler)

    async def asked(self, times: int) -> None:
        """Return once so many requests have come."""
        while len(self.seen) < times:
            self.came.clear()
            await self.came.wait()

    def on(self, path: str, handler: Handler) -> str:
        self.pages[path] = handler
        return f"https://{HOST}{path}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path
        self.seen.append(path)
        self.came.set()
        handler = self.pages.get(path)
        return web.Response(status=404) if handler is None else await handler(request)

    async def upload(self, request: web.Request) -> web.StreamResponse:
        if self.fails:
            status, answer = self.fails.pop(0)
            return web.json_response(answer, status=status)
        digest, size = hashlib.sha256(), 0
        try:
            async for chunk in request.content.iter_any():
                digest.update(chunk)
                size += len(chunk)
        except Exception:
            self.broken_off += 1
            raise
        kept = Kept(
            size,
            digest.hexdigest(),
            request.headers["Content-Type"],
            request.query.get("filename", ""),
            request.query["user_id"],
        )
        assert size == int(request.headers["Content-Length"])
        self.kept.append(kept)
        return web.json_response({"content_uri": f"mxc://example.org/file{len(self.kept)}"})

    async def config(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({} if self.limit is None else {"m.upload.size": self.limit})


@asynccontextmanager
async def hostile_web(directory: Path) -> AsyncIterator[Hostile]:
    """Both servers, running."""
    hostile = Hostile()
    files = write_certificate(directory, [HOST, *OTHERS])
    serve = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serve.load_cert_chain(files.certificate, files.key)
    hostile.tls = ssl.create_default_context(cafile=str(files.authority))
    outside = web.Application()
    outside.router.add_route("*", "/{path:.*}", hostile.serve)
    homeserver = web.Application(client_max_size=2**30)
    homeserver.router.add_post("/_matrix/media/v3/upload", hostile.upload)
    homeserver.router.add_get("/_matrix/client/v1/media/config", hostile.config)
    runners = []
    for app, context in ((outside, serve), (homeserver, None)):
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        runners.append(runner)
    hostile.names = Names(runners[0].addresses[0][1])
    hostile.url = f"http://127.0.0.1:{runners[1].addresses[0][1]}"
    yield hostile
    for runner in runners:
        await runner.cleanup()
