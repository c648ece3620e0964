"""A connector that is no part of the package: installed beside it, it is a network like any other."""

from __future__ import annotations

import shutil
from pathlib import Path

from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace

ECHO = Path(__file__).parents[1] / "network" / "echo_connector.py"


def install(directory: Path) -> None:
    """Put the connector there, with what tells of its entry point, as pip does."""
    about = directory / "echo_connector-1.0.dist-info"
    about.mkdir(parents=True)
    shutil.copy(ECHO, directory)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-connector\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[dm_bridge.connectors]\necho = echo_connector:connector\n"
    )


async def test_a_user_logs_in_and_talks_with_an_echo(
    prosody: Prosody, workplace: Workplace
) -> None:
    packages = workplace("packages")
    install(packages)
    stack = await Stack.start(
        workplace("echo"),
        prosody=prosody,
        domain="echo.localhost",
        config={"networks": {"echo": {"retry": 0.5}}},
        environment={"PYTHONPATH": str(packages)},
    )
    try:
        async with stack.matrix_user("narcissus") as user:
            bot = await stack.open_bot_chat(user)
            await stack.log_in(user, bot, "narcissus", "sesame", network="echo")
            mark = user.mark()
            await user.send_text(bot, "start Nymph")
            await user.wait_for(
                lambda seen: seen.room_id == bot and "Here you are" in (seen.body or ""), after=mark
            )
            ghost = "@_dm_echo_nymph:echo.localhost"
            (room,) = (await user.m_direct() or {})[ghost]
            mark = user.mark()
            await user.send_text(room, "Is anyone here?")
            echo = await user.wait_for_text("Is anyone here?", sender=ghost, after=mark)
            assert echo.room_id == room
    finally:
        await stack.stop()
