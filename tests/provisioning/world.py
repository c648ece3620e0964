"""The API over a whole bridge in memory; the homeserver's word about tokens is ours."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from dm_bridge.bridge.direct_view import View
from dm_bridge.bridge.guard import Guard, GuardSettings
from dm_bridge.bridge.observation import ObservationMode
from dm_bridge.bridge.second_tries import SecondTries
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import ContactId, UserId
from dm_bridge.matrix.intake import matrix_errors
from dm_bridge.network.api import Contact
from dm_bridge.provisioning import Provisioning, ProvisioningSettings
from dm_bridge.provisioning.admin import Vitals
from dm_bridge.provisioning.api import runner
from dm_bridge.provisioning.authentication import Authentication
from dm_bridge.provisioning.logins import LoginProcesses
from dm_bridge.provisioning.services import Services, services_of
from dm_bridge.testing.memory import (
    MemoryDirectStore,
    MemoryJournalStore,
    MemoryPeopleStore,
    MemoryRoomStore,
)
from dm_bridge.testing.whole_bridge import WholeBridge
from tests.bridge.people_world import PeopleNetwork

from .stored import Stored

JULIET = UserId("@juliet:example.org")
NURSE = UserId("@nurse:example.org")
ROMEO = ContactId("romeo@example.net")
SECRET = "a-secret-shared-by-two"


@dataclass
class FakeTokens:
    """The homeserver's word. ``asked``: how often; ``trouble``: it cannot tell."""

    access: dict[str, UserId] = field(default_factory=dict)
    openid: dict[str, UserId] = field(default_factory=dict)
    asked: int = 0
    trouble: HomeserverError | None = None

    async def by_access_token(self, token: str) -> UserId | None:
        return self._found(self.access, token)

    async def by_openid(self, token: str) -> UserId | None:
        return self._found(self.openid, token)

    def _found(self, known: dict[str, UserId], token: str) -> UserId | None:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return known.get(token)


@dataclass
class Got:
    """An answer. ``json``: None where there is no body."""

    status: int
    json: Any
    headers: Any

    @property
    def errcode(self) -> str:
        return str(self.json["errcode"])


@dataclass
class Api:
    """``ahead``: seconds for which the API's own clock has run; it stands still otherwise."""

    bridge: WholeBridge
    network: PeopleNetwork
    tokens: FakeTokens
    app: web.Application
    base: str
    session: aiohttp.ClientSession
    processes: LoginProcesses
    ahead: list[float]
    counted: list[str]
    stored: Stored = field(init=False)
    services: Services = field(init=False)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = "juliet's",  # noqa: S107
        json: Any = None,
        data: bytes | None = None,
        **query: str,
    ) -> Got:
        """``path``: below ``/_matrix/provision/v3/``, quoted."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.session.request(
            method,
            f"{self.base}/_matrix/provision/v3/{path}",
            json=json,
            data=data,
            params=query,
            headers=headers,
        ) as response:
            body = await response.json() if response.content_type == "application/json" else None
            return Got(response.status, body, response.headers)

    async def get(self, path: str, **more: Any) -> Got:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, **more: Any) -> Got:
        return await self.ask("POST", path, **more)

    async def begin(self, **more: Any) -> dict[str, Any]:
        """The first step of a login."""
        got = await self.post("login/start/fake", **more)
        assert got.status == 200, got.json
        step: dict[str, Any] = got.json
        return step

    async def submit(self, step: dict[str, Any], values: Any = None, **more: Any) -> Got:
        path = f"login/step/{step['login_id']}/{step['step_id']}/{step['type']}"
        return await self.post(path, json=values, **more)

    async def log_in(self, address: str = "juliet@example.com", **more: Any) -> str:
        """Log in; the login's id."""
        step = await self.begin(**more)
        values = {"address": address, "password": "sesame"}
        got = await self.submit(step, values, **more)
        assert got.status == 200, got.json
        login: str = got.json["complete"]["user_login_id"]
        await self.bridge.connected()
        return login


@asynccontextmanager
async def provisioned(
    *,
    secret: str | None = SECRET,
    matrix_auth: bool = True,
    attempts: int = 30,
    network: PeopleNetwork | None = None,
) -> AsyncIterator[Api]:
    """A bridge with the API; juliet and the nurse have tokens, and tybalt may not use the bridge."""
    network = network or PeopleNetwork()
    network.people.contacts = [Contact(ROMEO, name="Romeo", private_name="My Romeo")]
    network.people.directory = [Contact(ContactId("paris@example.net"), name="Paris")]
    tokens = FakeTokens(
        {"juliet's": JULIET, "nurse's": NURSE, "tybalt's": UserId("@tybalt:example.org")},
        {"juliet's": JULIET},
    )
    async with WholeBridge(network) as bridge:
        for name in ("juliet", "nurse", "tybalt"):
            bridge.user(name)
        process = bridge._process
        assert process is not None
        began, ahead = time.monotonic(), [0.0]

        def clock() -> float:
            return began + ahead[0]

        settings = ProvisioningSettings(
            bridge.domain,
            bridge.bot,
            bridge.ghosts,
            lambda user: not user.startswith("@tybalt"),
            secret,
            matrix_auth,
            lambda user: user == NURSE,
        )
        process.logins.guard = Guard(GuardSettings(attempts=attempts), clock=clock)
        database = process.database
        view = View(
            process.keeper,
            MemoryDirectStore(database),
            MemoryJournalStore(database),
            process._ghosts.contact,
            MemoryPeopleStore(database).called,
            process.accounts.access,
            lambda account: "I look now and then.",
            time.time,
        )
        processes = LoginProcesses(process.logins, clock)
        stored = Stored(process.logins)
        services = services_of(
            settings,
            process.logins,
            process.portals,
            processes,
            MemoryRoomStore(database),
            MemoryPeopleStore(database),
            view,
            SecondTries(
                stored,  # type: ignore[arg-type]
                process.logins,
                bridge.bot,
                bridge.ghosts,
                stored.wake,
            ),
            stored.stamp,
            stored,  # type: ignore[arg-type]
            stored,
            Vitals(
                "this one",
                lambda: stored.homeserver_problem,
                lambda: None,
                stored.healthy,
                lambda user: user not in stored.gone,
                lambda: {JULIET, NURSE},
                lambda user: ObservationMode.WATCHED,
                lambda: None,
                lambda: 0,
            ),
            stored.spaces_of,
        )
        counted: list[str] = []
        authentication = Authentication(settings, tokens, clock)
        endpoint = Provisioning(authentication.user_of, runner(services), counted.append)
        app = web.Application(middlewares=[matrix_errors])
        endpoint.add_routes(app)
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            base = str(server.make_url("")).rstrip("/")
            api = Api(bridge, network, tokens, app, base, session, processes, ahead, counted)
            api.stored, api.services = stored, services
            yield api
            services.watching.stop()
        await processes.stop()
