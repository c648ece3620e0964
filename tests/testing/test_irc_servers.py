"""The IRC servers of the kit run, restart on the same port, and leave nothing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dm_bridge.errors import AdminError
from dm_bridge.testing.inspircd import InspIrcd
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.irc_server import find
from dm_bridge.testing.ngircd import NgIrcd


@pytest.mark.parametrize("kind", [NgIrcd, InspIrcd])
async def test_people_can_talk_on_a_server_that_then_leaves_nothing(
    kind: type[NgIrcd | InspIrcd], tmp_path: Path
) -> None:
    server = await kind.start(tmp_path)
    try:
        assert re.fullmatch(r"\d+\.\d+(\.\d+)?", await server.version())
        port = server.port
        await server.restart()
        assert server.port == port
        async with (
            IrcUser("romeo", server.host, server.port) as romeo,
            IrcUser("juliet", server.host, server.port) as juliet,
        ):
            romeo.say("juliet", "well met")
            assert (await juliet.wait_for_text("well met")).nick == "romeo"
        pid = server.pid
    finally:
        await server.stop()
    assert not server.running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_server_that_cannot_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(AdminError, match="InspIRCd ended while starting"):
        await InspIrcd.start(tmp_path, extra="<broken")


def test_what_is_not_installed_is_named() -> None:
    with pytest.raises(AdminError, match="apt-get install some-package"):
        find("no-such-program", "some-package")
