"""A homeserver that is restored from a backup, as a fault of those in `faults`.

The rule that must never break: what is put back is all that a homeserver keeps on disk, and nothing newer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from dm_bridge.testing.simulator.faults import set_for_a_while
from dm_bridge.testing.simulator.people import Act
from dm_bridge.testing.simulator.world import World


async def homeserver_is_restored(world: World, act: Act) -> None:
    """A backup is made; some time later the homeserver is stopped, and starts with the backup."""
    if world.backed_up:
        return  # what is restored is the last backup
    world.backed_up = True
    restore = world.backup()
    await asyncio.sleep(0.5 + act.size * 60)
    world.dice.inject("16 homeserver restored from a backup")
    with (
        set_for_a_while(world.homeserver_faults, down=True),
        set_for_a_while(world.pusher, down=True),
    ):
        await asyncio.sleep(1.0 + world.dice.between(0.0, 60.0))
        restore()
    world.backed_up = False


RESTORING: dict[str, Callable[[World, Act], Coroutine[Any, Any, None]]] = {
    "homeserver restored": homeserver_is_restored,
}
