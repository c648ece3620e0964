"""A real gateway from IRC to other networks, BitlBee, on a free loopback port; for tests.

The rule that must never break: it listens on 127.0.0.1 only, and connects to nothing before somebody who has an
account on it asks it to.
"""

from __future__ import annotations

from pathlib import Path

from dm_bridge.testing.irc_server import IrcServer, find
from dm_bridge.testing.processes import LOOPBACK

CONTROL = "&bitlbee"
"""Its channel, in which everybody is, and commands are given."""


class BitlBee(IrcServer):
    """A running BitlBee. Make one with `BitlBee.start`; end it with `stop`."""

    name = "BitlBee"

    @classmethod
    async def start(cls, directory: Path) -> BitlBee:
        """Configure and start; returns when clients can connect. ``directory`` keeps all of it.

        Raises `AdminError`.
        """
        config = directory / "bitlbee.conf"
        command = [find("bitlbee", "bitlbee"), "-D", "-n", "-c", str(config)]
        command += ["-P", str(directory / "bitlbee.pid")]
        server = cls(directory, "none", command, directory / "bitlbee.log")
        accounts = directory / "accounts"
        accounts.mkdir()
        lines = [
            "[settings]",
            "RunMode = Daemon",
            f"DaemonInterface = {LOOPBACK}",
            f"DaemonPort = {server.port}",
            "AuthMode = Open",
            f"ConfigDir = {accounts}",
            f"MotdFile = {directory / 'motd'}",
            "",
        ]
        config.write_text("\n".join(lines), encoding="utf-8")
        await server.start_process()
        return server
