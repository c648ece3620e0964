"""The example in examples/mqtt: installed with pip beside the bridge, it is a network like any other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from mosquitto import PASSWORD, Mosquitto, Somebody

from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.processes import LOOPBACK
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace

EXAMPLE = Path(__file__).parents[2] / "examples" / "mqtt"
GHOST = "@_dm_mqtt_juliet:mqtt.localhost"


def install(directory: Path) -> None:
    """What ``pip install ./examples/mqtt`` does, into a directory of its own and without asking any index."""
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, str(directory), str(EXAMPLE)],
        check=True,
        timeout=100,
    )


async def test_a_user_logs_in_and_talks_over_the_broker(
    prosody: Prosody, workplace: Workplace
) -> None:
    await asyncio.to_thread(install, workplace("mqtt-package"))
    broker = Mosquitto(workplace("mosquitto"))
    await broker.start()
    for name in ("romeo", "juliet"):
        await broker.add(name)
    section = {"host": LOOPBACK, "port": broker.port, "tls": False, "retry": 0.2}
    stack = await Stack.start(
        workplace("mqtt"),
        prosody=prosody,
        domain="mqtt.localhost",
        config={"networks": {"mqtt": section, "xmpp": {"enabled": False}}},
        environment={"PYTHONPATH": str(workplace("mqtt-package"))},
    )
    juliet, phone = Somebody(broker, "juliet"), Somebody(broker, "romeo")
    try:
        await juliet.listen()
        async with stack.matrix_user("romeo") as romeo:
            await stack.log_in(
                romeo, await stack.open_bot_chat(romeo), "romeo", PASSWORD, network="mqtt"
            )
            await talk(stack, romeo, juliet, phone)
    finally:
        await juliet.leave()
        await stack.stop()
        await broker.stop()


async def talk(stack: Stack, romeo: MatrixUser, juliet: Somebody, phone: Somebody) -> None:
    """Both write, also while the bridge is dead, and from another device; each message comes once, in order."""
    await juliet.say("romeo", "Ay me!")
    first = await romeo.wait_for_text("Ay me!", sender=GHOST)
    room = first.room_id
    await romeo.wait_for(lambda seen: seen.type == "m.direct" and seen.content.get(GHOST) == [room])
    await romeo.send_text(room, "She speaks.\nO, speak again, bright angel!")
    async with asyncio.timeout(20):
        while not juliet.heard:  # noqa: ASYNC110 - another process's output
            await asyncio.sleep(0.02)
    (heard,) = juliet.heard
    assert (heard.sender, heard.text) == ("romeo", "She speaks.\nO, speak again, bright angel!")

    await stack.bridge.kill()
    await juliet.say("romeo", "O Romeo, Romeo!")
    await phone.say("juliet", "Shall I hear more?")
    await juliet.say("romeo", "What's in a name?")
    await stack.bridge.run()
    await romeo.wait_for_text("What's in a name?", sender=GHOST, timeout=60)
    said = [(event["sender"], event["content"].get("body")) for event in await romeo.messages(room)]
    assert [(who, what) for who, what in said if what] == [
        (GHOST, "Ay me!"),
        (romeo.user_id, "She speaks.\nO, speak again, bright angel!"),
        (GHOST, "O Romeo, Romeo!"),
        (romeo.user_id, "Shall I hear more?"),
        (GHOST, "What's in a name?"),
    ]
