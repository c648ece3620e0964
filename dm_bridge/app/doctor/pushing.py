"""Whether what the homeserver pushes arrives: a ping (MSC2659), and a typing notification.

The rule that must never break: one room for all times. It is the doctor's ghost's own, who is alone in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets

import aiohttp
from mautrix.api import Path

from dm_bridge.app.doctor import doorway
from dm_bridge.app.doctor.doorway import Door, Running, StandIn
from dm_bridge.app.doctor.findings import Answer, Finding, mend, ok, unknown
from dm_bridge.app.doctor.registrations import AGAIN
from dm_bridge.config import Config
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix import handshake
from dm_bridge.matrix.ephemeral import TypingIn
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.signals import set_typing

PING, EPHEMERAL = "ping", "typing and receipts"
PING_SECONDS = 5.0
ROUNDS = 6
ROUND_SECONDS = 0.6
SETTLED_SECONDS = 0.3
ROUNDS_AFTER = 2
"""In how many rounds typing may still come after a later event has."""
_SIGNALS, _EVENTS = "pushed_signals_total", "pushed_events_total"
_REMEMBERED = "org.dm_bridge.doctor"


async def check_ping(
    config: Config, session: aiohttp.ClientSession, homeserver: Homeserver, door: Door
) -> Answer[bool]:
    """Whether the homeserver reaches whoever is at the door. Raises `HomeserverError`."""

    async def arrived(transaction: str) -> bool:
        return isinstance(door, Running) or await door.pings.arrived(transaction)

    name = door.pings.name if isinstance(door, StandIn) else f"doctor-{secrets.token_hex(8)}/"
    appservice = config.appservice
    try:
        async with asyncio.timeout(PING_SECONDS):
            problem = await handshake.ping_problem(
                homeserver, appservice.id, appservice.url, arrived, name
            )
    except TimeoutError:
        problem = (
            f"The homeserver tries to reach the bridge, and gets no answer within {PING_SECONDS:g} seconds. Check "
            f"appservice.url ({appservice.url}) and that no firewall is in the way; after a change, run "
            "`dm-bridge registration` again."
        )
    leads = problem is not None and await doorway.leads_here(config, session, door)
    refused = isinstance(door, StandIn) and door.refused
    finding = judge_ping(appservice.url, problem, refused=refused, leads_here=leads)
    return Answer((finding,), True if problem is None else None)


def judge_ping(url: str, problem: str | None, *, refused: bool, leads_here: bool) -> Finding:
    """``refused``: whether a wrong hs_token came; ``leads_here``: whether ``url`` does, from this machine."""
    if problem is None:
        return ok(PING, f"The homeserver reaches the bridge at {url}.")
    if refused:
        return mend(
            PING,
            "The homeserver reaches the bridge, and shows another hs_token than appservice.hs_token: its copy of "
            f"registration.yaml is an older one. {AGAIN}",
        )
    if leads_here:
        return mend(
            PING,
            f"{problem} From this machine, {url} does lead to the bridge: so the `url` in the homeserver's copy "
            "of "
            f"registration.yaml is another one, or the homeserver is kept from it. {AGAIN}",
        )
    return mend(PING, problem)


async def check_ephemeral(
    session: aiohttp.ClientSession, homeserver: Homeserver, ghost: UserId, door: Door
) -> list[Finding]:
    """Have ``ghost`` type, and see whether that is pushed. Raises `HomeserverError`."""
    before = await doorway.sample(session, door) if isinstance(door, Running) else {}
    if isinstance(door, Running) and _SIGNALS not in before:
        return [
            unknown(
                EPHEMERAL,
                "The bridge that runs does not count typing and receipts: it is of another version than this "
                "doctor. "
                "Restart it.",
            )
        ]
    room = await _room(homeserver, ghost)
    came = held_back = False
    marker: EventId | None = None
    rounds_after = 0
    for _ in range(ROUNDS):
        await set_typing(homeserver, room, ghost, 10.0)
        came = await _comes(session, door, room, before)
        await set_typing(homeserver, room, ghost, 0)
        held_back = isinstance(door, StandIn) and door.held_back
        if came or held_back or rounds_after == ROUNDS_AFTER:
            break
        if marker is None:
            name = secrets.token_hex(8)
            marker = await homeserver.send(room, _REMEMBERED, {}, name, user=ghost)
        elif await _pushed(session, door, marker, before):
            rounds_after += 1
    if isinstance(door, StandIn):
        await _settle(door)
    several = before.get("processes", 1) > 1
    return [judge_ephemeral(came, events=rounds_after > 0, held_back=held_back, several=several)]


def judge_ephemeral(came: bool, *, events: bool, held_back: bool, several: bool) -> Finding:
    """``events``: whether what happened later in the room came; ``held_back``: events that wait come first;
    ``several``: another process may have had it."""
    if came:
        return ok(EPHEMERAL, "The homeserver pushes typing and receipts.")
    if held_back:
        return unknown(
            EPHEMERAL,
            "Whether typing and receipts are pushed cannot be seen while events wait for the bridge. Start it, "
            "and run the doctor again.",
        )
    if several:
        return unknown(
            EPHEMERAL,
            "Whether typing and receipts are pushed cannot be seen: several processes run, and another one may "
            "have got them. Run the doctor again.",
        )
    if not events:
        return unknown(
            EPHEMERAL,
            "Nothing that happens in rooms has come within some seconds: the homeserver is busy, or pauses after "
            "pushes that failed. Run the doctor again in a minute, or look into the homeserver's log.",
        )
    return mend(
        EPHEMERAL,
        "The homeserver pushes no typing and receipts: its copy of registration.yaml does not ask for them "
        f"(receive_ephemeral). {AGAIN}",
    )


async def _settle(door: StandIn) -> None:
    """Until nothing more comes: a push that fails because we are gone makes the homeserver pause."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10 * SETTLED_SECONDS):
            while True:
                async with asyncio.timeout(SETTLED_SECONDS):
                    await door.signals.get()


async def _pushed(
    session: aiohttp.ClientSession, door: Door, event: EventId, before: dict[str, float]
) -> bool:
    """Whether an event was pushed: this one, or where that cannot be seen, any."""
    if isinstance(door, StandIn):
        return event in door.events
    now = await doorway.sample(session, door)
    return now.get(_EVENTS, 0.0) > before.get(_EVENTS, 0.0)


async def _comes(
    session: aiohttp.ClientSession, door: Door, room: RoomId, before: dict[str, float]
) -> bool:
    try:
        async with asyncio.timeout(ROUND_SECONDS):
            if isinstance(door, StandIn):
                while True:
                    signal = await door.signals.get()
                    if isinstance(signal, TypingIn) and signal.room == room:
                        return True
            while True:
                now = await doorway.sample(session, door)
                if now.get(_SIGNALS, 0.0) > before.get(_SIGNALS, 0.0):
                    return True
                await asyncio.sleep(0.1)
    except TimeoutError:
        return False


async def _room(homeserver: Homeserver, ghost: UserId) -> RoomId:
    """The room of the doctor's ghost; made the first time, and when it is gone."""
    memory = Path.v3.user[ghost].account_data[_REMEMBERED]
    try:
        room = RoomId((await homeserver.request("GET", memory, user=ghost))["room"])
        await set_typing(homeserver, room, ghost, 0)
    except (HomeserverError, KeyError) as error:
        if isinstance(error, HomeserverError) and error.status not in (403, 404):
            raise
    else:
        return room
    body = {
        "preset": "private_chat",
        "name": "dm-bridge doctor",
        "creation_content": {"m.federate": False},
    }
    made = await homeserver.request("POST", Path.v3.createRoom, user=ghost, body=body)
    room = RoomId(made["room_id"])
    await homeserver.request("PUT", memory, user=ghost, body={"room": room})
    return room
