"""The servers, the bridge, and the people: all that is measured on.

Everything is real: Synapse, Prosody, the bridge's embedded PostgreSQL, and ``dm-bridge init``,
``registration`` and ``run`` as an admin would call them.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bare import Json
from benchmarks.bare_process import Bare
from benchmarks.people import People, people_on_prosody
from benchmarks.tally import Tally, body
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.processes import LOOPBACK, free_port
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.prosody_archive import Archives
from dm_bridge.testing.stack import Bridge, Stack
from dm_bridge.testing.synapse import Synapse
from dm_bridge.testing.xmpp_client import XmppUser

DOMAIN = "bench.localhost"
PASSWORD = "wherefore-art-thou"
PATIENCE = 60.0
_STANDARD_CREATION_CONTENT = {"creator", "room_version", "additional_creators"}


@dataclass(slots=True)
class World:
    """Alice, who syncs; Juliet and ``people``, who write to her account ``jid``; and the bare client.

    ``rooms``: contact or ghost name to room, for those who have one. ``serial``: makes names of
    contacts that nobody has met.
    """

    alice: MatrixUser
    alice_token: str
    jid: str
    juliet: XmppUser
    people: People
    bare: Bare
    tally: Tally
    stack: Stack
    room_body: Json = field(default_factory=dict)
    message_content: Json = field(default_factory=dict)
    rooms: dict[str, str] = field(default_factory=dict)

    async def bare_room(self, name: str) -> str:
        """A room as the bridge makes them, but by the bare ghost ``name``, with Alice in it."""
        if name not in self.rooms:
            await self.bare.register([name])
            rooms, _ = await self.bare.create_rooms([name], self.room_body, in_flight=1)
            await self.alice.join(rooms[name])
            self.rooms |= rooms
        return self.rooms[name]

    async def meet(self, name: str, text: str) -> str:
        """The room of the contact ``name`` (of `people`), who says something first."""
        if name not in self.rooms:
            mark = self.alice.mark()
            self.people.send(name, self.jid, text)
            seen = await self.alice.wait_for_text(text, PATIENCE, after=mark)
            self.rooms[name] = seen.room_id
        return self.rooms[name]


@contextlib.asynccontextmanager
async def running(directory: Path, archives: Archives = "sql") -> AsyncIterator[World]:
    """Start everything in ``directory``, log Alice in, and stop everything in the end.

    ``archives``: where Prosody keeps message archives.
    """
    async with contextlib.AsyncExitStack() as cleanup:
        prosody, people = await cleanup.enter_async_context(
            people_on_prosody(directory / "prosody", largest_file=100_000_000, archives=archives)
        )
        stack, bare = await _start_bridge(directory, prosody, cleanup)
        account = await stack.synapse.register_user("alice", PASSWORD)
        alice = await cleanup.enter_async_context(
            MatrixUser(stack.synapse.url, account.user_id, account.access_token)
        )
        juliet = await cleanup.enter_async_context(stack.xmpp_user("juliet", PASSWORD))
        jid = await prosody.add_user("romeo", PASSWORD)
        await stack.log_in(alice, await stack.open_bot_chat(alice), jid, PASSWORD)
        world = World(alice, account.access_token, jid, juliet, people, bare, Tally(alice), stack)
        await _learn_shapes(world)
        yield world


async def _start_bridge(
    directory: Path, prosody: Prosody, cleanup: contextlib.AsyncExitStack
) -> tuple[Stack, Bare]:
    """The bridge, as an admin sets it up, on a homeserver that also knows the bare client."""
    bridge = Bridge(directory, config_path=directory / "config.yaml")
    port = free_port()
    url = f"http://{LOOPBACK}:{port}"
    config = str(bridge.config_path)
    await bridge.command(
        "init", "--homeserver", url, "--domain", DOMAIN, "--config", config, "--yes"
    )
    server = {"host": prosody.host, "port": prosody.port, "tls": prosody.tls}
    bridge.configure(
        {
            "appservice": {"listen": f"{LOOPBACK}:{bridge.port}", "url": bridge.url},
            "permissions": {DOMAIN: "user"},
            "history": {"conversations": 1000, "messages": 20},
            "media": {"private_hosts": [prosody.host]},
            "networks": {"xmpp": {"enabled": True, "servers": {prosody.domain: server}}},
        }
    )
    await bridge.command("registration", "-c", config, "-o", str(directory))
    names = ("registration.yaml", "registration-accounts.yaml", "bare.yaml")
    registrations = [directory / name for name in names]
    bare = await cleanup.enter_async_context(Bare(url, DOMAIN))
    bare.write_registration(registrations[-1])
    synapse = await Synapse.start(
        directory / "synapse", domain=DOMAIN, port=port, registrations=registrations
    )
    stack = Stack(bridge, synapse, prosody)
    cleanup.push_async_callback(stack.stop)
    await bridge.run()
    return stack, bare


async def _learn_shapes(world: World) -> None:
    """Let Juliet write first, and take rooms' and messages' shapes from what the bridge made of it."""
    text = body("hello", "juliet", 0)
    world.juliet.send(world.jid, text)
    seen = await world.alice.wait_for_text(text, PATIENCE)
    world.rooms["juliet"] = seen.room_id
    world.message_content = seen.content
    state = await world.alice.state(seen.room_id)
    creation: dict[str, Any] = next(
        event["content"] for event in state if event["type"] == "m.room.create"
    )
    world.room_body = {
        "preset": "trusted_private_chat",
        "is_direct": True,
        "invite": [world.alice.user_id],
        "creation_content": {
            key: value for key, value in creation.items() if key not in _STANDARD_CREATION_CONTENT
        },
        "initial_state": [
            {key: event[key] for key in ("type", "state_key", "content")}
            for event in state
            if event["type"] in ("m.bridge", "uk.half-shot.bridge")
        ],
    }


def fresh(prefix: str, count: int) -> list[str]:
    """Names of contacts that nobody has met."""
    batch = uuid.uuid4().hex[:6]
    return [f"{prefix}{batch}n{number}" for number in range(count)]
