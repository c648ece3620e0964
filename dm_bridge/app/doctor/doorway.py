"""Where the homeserver reaches the bridge: whether one answers there, and if none does, standing in for it.

The rule that must never break: nothing that the homeserver pushes is taken away from the bridge. But for what our
own ghosts did, which the bridge passes over, it is told to push again later.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp
import orjson
from aiohttp import web

from dm_bridge.app.doctor.findings import Answer, Finding, mend, note, ok
from dm_bridge.app.listening import listen
from dm_bridge.config import Config
from dm_bridge.errors import AdminError, StorageError
from dm_bridge.ids import EventId, UserId
from dm_bridge.matrix.ephemeral import Ephemeral
from dm_bridge.matrix.intake import Intake
from dm_bridge.matrix.pings import Pings
from dm_bridge.matrix.transactions import PushedEvent

ABOUT = "bridge"
MAX_ANSWER = 4 * 1024 * 1024
PATIENCE = 0.5
"""Seconds for a ping whose answer came already, as nobody else takes it; and for what is under way in the end."""
_LIVE = "/health/live"
_SAMPLE = re.compile(r"^dm_bridge_(?P<name>\w+?) (?P<value>[0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Running:
    """A bridge answers. ``problems``: what it says of itself; none: it is ready.

    ``ours``: whether it takes the hs_token of this configuration.
    """

    url: str
    problems: tuple[str, ...]
    ours: bool = True


@dataclass(slots=True)
class StandIn:
    """No bridge answers, and we listen in its place."""

    pings: Pings
    signals: asyncio.Queue[Ephemeral]
    events: set[EventId] = field(default_factory=set)
    """Those of our ghosts that came."""
    refused: bool = False
    """Whether something came with a wrong hs_token."""
    held_back: bool = False
    """Whether events came that the bridge has to have, and that are pushed again."""
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))


Door = Running | StandIn


async def check(
    config: Config, session: aiohttp.ClientSession, stack: AsyncExitStack
) -> Answer[Door]:
    """Who is at ``appservice.listen``; until ``stack`` ends, that may be us."""
    address = config.appservice.listen
    status, answer = await _get(session, address.url + "/health/ready")
    match answer:
        case {"status": "ready" | "not ready", "problems": [*problems]}:
            ours = await _takes_token(config, session)
            running = Running(address.url, tuple(str(problem) for problem in problems), ours)
            return Answer(tuple(judge(running)), running)
    try:
        if status:
            raise AdminError("taken")
        door = await _stand_in(config, stack)
    except AdminError as error:
        taken = status != 0
        return Answer(
            (
                mend(
                    ABOUT,
                    f"Another program than the bridge answers at {address}. Stop it, or change "
                    "appservice.listen and "
                    "then run `dm-bridge registration --force`."
                    if taken
                    else error.message,
                ),
            )
        )
    return Answer(
        (
            note(
                ABOUT,
                f"The bridge does not run; the doctor listened at {address} in its place. "
                "`dm-bridge run` starts it.",
            ),
        ),
        door,
    )


def judge(running: Running) -> list[Finding]:
    """What a bridge says of itself."""
    if not running.ours:
        return [
            mend(
                ABOUT,
                f"The bridge that runs at {running.url} has another hs_token than this configuration: it was "
                "started "
                "with another one, or before the last change. Restart it, or name its configuration (--config).",
            )
        ]
    if not running.problems:
        return [ok(ABOUT, f"The bridge runs at {running.url} and is ready.")]
    return [
        mend(
            ABOUT,
            f"The bridge runs at {running.url} and is not ready: {problem} If nothing else here is to be "
            "mended, look "
            "into its log.",
        )
        for problem in running.problems
    ]


async def leads_here(config: Config, session: aiohttp.ClientSession, door: Door) -> bool:
    """Whether ``appservice.url``, asked from this machine, leads to whoever is at the door."""
    _, answer = await _get(session, config.appservice.url + _LIVE)
    match answer:
        case {"status": "live"}:
            return isinstance(door, Running)
        case {"status": "doctor", "nonce": nonce}:
            return isinstance(door, StandIn) and nonce == door.nonce
        case _:
            return False


async def sample(session: aiohttp.ClientSession, running: Running) -> dict[str, float]:
    """The bridge's figures that have no labels, without ``dm_bridge_``; empty when it does not tell."""
    _, text = await _get_raw(session, running.url + "/metrics")
    return {
        match["name"]: float(match["value"])
        for match in _SAMPLE.finditer(text.decode(errors="replace"))
    }


async def _takes_token(config: Config, session: aiohttp.ClientSession) -> bool:
    """Whether who is there answers a ping, of nobody's, with our hs_token. Raises `AdminError`."""
    token = config.appservice.hs_token.get_secret_value()
    try:
        async with session.post(
            config.appservice.listen.url + "/_matrix/app/v1/ping",
            json={},
            headers={"Authorization": f"Bearer {token}"},
        ) as response:
            return response.status != 403
    except (aiohttp.ClientError, OSError) as error:
        raise AdminError("The bridge stopped while the doctor looked. Run it again.") from error


async def _stand_in(config: Config, stack: AsyncExitStack) -> StandIn:
    """Raises `AdminError` when nothing can listen there."""

    async def elsewhere(_transaction: str) -> None:
        return

    pings = Pings(f"doctor-{secrets.token_hex(8)}/", elsewhere, PATIENCE)
    door = StandIn(pings, asyncio.Queue(1000))
    owns = config.ghosts.owns

    async def accept(events: Sequence[PushedEvent]) -> None:
        if not all(owns(event.sender) for event in events):
            door.held_back = True
            raise StorageError("The doctor takes nothing for the bridge.")
        door.events.update(event.id for event in events)

    async def no_user(_user: UserId) -> bool:
        return False

    def signalled(signals: Sequence[Ephemeral]) -> None:
        for signal in signals:
            if not door.signals.full():
                door.signals.put_nowait(signal)

    @web.middleware
    async def watch(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        response = await handler(request)
        door.refused |= response.status in (401, 403)
        return response

    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"status": "doctor", "nonce": door.nonce})

    def add_health(app: web.Application) -> None:
        app.middlewares.append(watch)
        app.router.add_get(_LIVE, live)

    token = config.appservice.hs_token.get_secret_value()
    intake = Intake(token, accept, no_user, {}, door.pings.came, signalled)
    await listen(config.appservice.listen, (intake.add_routes, add_health), stack, PATIENCE)
    return door


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, object]:
    status, raw = await _get_raw(session, url)
    try:
        return status, orjson.loads(raw)
    except orjson.JSONDecodeError:
        return status, None


async def _get_raw(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    """0 when no connection can be made; a connection on which nothing comes is a TimeoutError."""
    try:
        async with session.get(url, allow_redirects=False) as response:
            raw = bytearray()
            async for chunk in response.content.iter_any():
                raw += chunk
                if len(raw) > MAX_ANSWER:
                    break
            return response.status, bytes(raw)
    except aiohttp.ClientConnectorError:
        return 0, b""
    except (aiohttp.ClientError, OSError):
        return 599, b""
