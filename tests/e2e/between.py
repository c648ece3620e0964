"""Something between the bridge and its homeserver that counts, fails and delays requests for m.direct."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import aiohttp
from aiohttp import web

from dm_bridge.testing.processes import LOOPBACK

Forward = Callable[[], Awaitable[web.Response]]
Hook = Callable[[str, Forward], Awaitable[web.Response]]


class Between:
    """A reverse proxy. ``hooks``: by account, what happens to a request of the bridge for its m.direct.

    ``shown``: by account, every answer of its m.direct that the bridge has got, as it was.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.hooks: dict[str, Hook] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.shown: defaultdict[str, list[bytes]] = defaultdict(list)
        self._under_way = 0
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    def puts(self, account: str) -> int:
        """How often the bridge has written the account's m.direct."""
        return self.counts["PUT", account]

    def asked(self, account: str) -> int:
        """How often the bridge has read or written it."""
        return self.counts["GET", account] + self.counts["PUT", account]

    async def done(self) -> None:
        """Return when the homeserver has done to m.direct what a bridge has asked for that is gone."""
        await asyncio.sleep(0.2)  # what it sent last is read here
        while self._under_way:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.05)

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0).start()
        self.url = f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.Response:
        try:
            return await self._pass(request)
        except aiohttp.ClientError:
            return web.Response(status=502, text="The homeserver is away.")

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        parts = request.path.split("/")
        about_direct = parts[-1] == "m.direct" and "account_data" in parts

        async def forward() -> web.Response:
            assert self._session is not None
            headers = {
                name: value
                for name, value in request.headers.items()
                if name.lower() in ("authorization", "content-type")
            }
            self._under_way += about_direct
            try:
                async with self._session.request(
                    request.method,
                    self.target + request.raw_path,
                    data=body or None,
                    headers=headers,
                    allow_redirects=False,
                ) as answer:
                    return web.Response(
                        status=answer.status,
                        body=await answer.read(),
                        headers={"Content-Type": answer.headers.get("Content-Type", "")},
                    )
            finally:
                self._under_way -= about_direct

        if not about_direct:
            return await forward()
        account = unquote(parts[parts.index("user") + 1])
        self.counts[request.method, account] += 1
        hook = self.hooks.get(account)
        answer = await (forward() if hook is None else hook(request.method, forward))
        if (request.method, answer.status) == ("GET", 200) and isinstance(answer.body, bytes):
            self.shown[account].append(answer.body)
        return answer


class Hold:
    """Holds the first request of a kind: ``reached`` when it is there, and never answers it.

    ``after``: once it took effect. Put ``hook`` into `Between.hooks`.
    """

    def __init__(self, method: str, *, after: bool) -> None:
        self._method = method
        self._after = after
        self.reached = asyncio.Event()

    async def hook(self, method: str, forward: Forward) -> web.Response:
        if method != self._method or self.reached.is_set():
            return await forward()
        if self._after:
            await forward()
        self.reached.set()
        await asyncio.sleep(3600)
        raise AssertionError
