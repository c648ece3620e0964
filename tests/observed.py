"""A real Synapse with the module that pushes m.direct, in a hurry; and an end to push to."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from dm_bridge.ids import UserId
from dm_bridge.matrix.direct_push import DirectPush, DirectPushEndpoint, PushAnswer
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.intake import matrix_errors
from dm_bridge.testing.processes import LOOPBACK
from dm_bridge.testing.synapse import Synapse

HS_TOKEN = "hs-token-of-the-tests"
AS_TOKEN = "as-token-of-the-tests"

FAST = """
from dm_bridge import synapse_module
synapse_module.BEAT_SECONDS = 0.5
synapse_module.DEADLINE = 1.0
synapse_module.TRIES = 3
synapse_module.SILENCE = 3600.0
DirectObserver = synapse_module.DirectObserver
"""


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return once ``condition`` holds; fail after so many seconds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


@dataclass
class Receiver:
    """The bridge's end of the pushes. ``kept``: of whom changes are wanted; None: of everybody."""

    port: int = 0
    epoch: str = "first"
    kept: set[str] | None = None
    pushes: list[DirectPush] = field(default_factory=list)
    pause: float = 0.0
    _runner: web.AppRunner | None = None

    def receive(self, push: DirectPush) -> PushAnswer:
        self.pushes.append(push)
        strangers = [
            update.account
            for update in push.updates
            if self.kept is not None and update.account not in self.kept
        ]
        kept = {update.account for update in push.updates} - set(strangers)
        return PushAnswer(self.epoch, tuple(dict.fromkeys(strangers)), tuple(kept))

    def contents(self, account: str) -> list[bytes | None]:
        """What was pushed of one account, in order."""
        return [
            update.content
            for push in self.pushes
            for update in push.updates
            if update.account == account
        ]

    async def start(self) -> None:
        app = web.Application(middlewares=[matrix_errors, self._slowly])
        DirectPushEndpoint(HS_TOKEN, self.receive).add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _slowly(self, request: web.Request, handler: Any) -> web.StreamResponse:
        await asyncio.sleep(self.pause)
        response: web.StreamResponse = await handler(request)
        return response


class Observed:
    """``synapse`` pushes to ``receiver``; ``homeserver`` may act as any of its users."""

    def __init__(self, synapse: Synapse, receiver: Receiver, homeserver: Homeserver) -> None:
        self.synapse = synapse
        self.receiver = receiver
        self.homeserver = homeserver

    async def user(self, localpart: str) -> UserId:
        """A new user."""
        return UserId((await self.synapse.register_user(localpart, "pass")).user_id)

    async def introduced(self, localpart: str) -> UserId:
        """A new user, of whom the module knows that documents are wanted."""
        user = await self.user(localpart)
        await self.put(user, "{}")
        await until(lambda: self.receiver.contents(user) == [None])
        so_far = len(self.receiver.pushes)
        await until(lambda: len(self.receiver.pushes) > so_far)  # so it has had the answer
        self.receiver.pushes = [push for push in self.receiver.pushes if not push.updates]
        return user

    async def put(self, user: UserId, text: str) -> float:
        """Set m.direct to this JSON text as a client would; seconds until the answer."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        path = f"{self.synapse.url}/_matrix/client/v3/user/{user}/account_data/m.direct"
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": f"Bearer {AS_TOKEN}"}
            async with session.put(
                path, data=io.BytesIO(text.encode()), headers=headers, params={"user_id": user}
            ) as answer:
                assert answer.status == 200, await answer.text()
        return loop.time() - begin

    def log_lines(self) -> list[str]:
        """What the module complained of."""
        lines = self.synapse.log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if "dm_bridge: " in line]


@asynccontextmanager
async def observed_synapse(
    directory: Path, *, token: str = HS_TOKEN, port: int = 0
) -> AsyncIterator[Observed]:
    """A Synapse of one's own, whose module knows ``token``."""
    receiver = Receiver(port)
    await receiver.start()
    home = directory / "synapse"
    home.mkdir(parents=True, exist_ok=True)
    (home / "fast_observer.py").write_text(FAST, encoding="utf-8")
    token_file = directory / "hs_token"
    token_file.write_text(token + "\n", encoding="utf-8")
    registration = directory / "accounts.yaml"
    registration.write_text(yaml.safe_dump(_registration("demo.localhost")), encoding="utf-8")
    module = {
        "module": "fast_observer.DirectObserver",
        "config": {"url": f"http://{LOOPBACK}:{receiver.port}", "token_file": str(token_file)},
    }
    synapse = await Synapse.start(
        home, registrations=[registration], config_extra={"modules": [module]}
    )
    try:
        async with aiohttp.ClientSession() as session:
            yield Observed(synapse, receiver, Homeserver(synapse.url, AS_TOKEN, session))
    finally:
        await synapse.stop()
        await receiver.stop()


def _registration(domain: str) -> dict[str, Any]:
    return {
        "id": "accounts",
        "url": None,
        "as_token": AS_TOKEN,
        "hs_token": "unused-by-the-tests",
        "sender_localpart": "accounts-bot",
        "rate_limited": False,
        "namespaces": {"users": [{"regex": f"@.*:{domain}", "exclusive": False}]},
    }
