"""Real IRC services, Atheme, linked to an InspIRCd on loopback; for tests.

The rule that must never break: it talks to no other server than the one that it is linked to, and sends no mail.
"""

from __future__ import annotations

from pathlib import Path

from dm_bridge.errors import AdminError
from dm_bridge.testing.inspircd import MODULES, InspIrcd
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.irc_server import find, give_away, unprivileged
from dm_bridge.testing.processes import LOOPBACK, ManagedProcess, free_port

DOMAIN = "services.localhost"
_LINK = "between"
_START_SECONDS = 60.0


class Atheme:
    """Services, and the ``server`` that has them. Make both with `Atheme.start`; end them with `stop`."""

    def __init__(self, server: InspIrcd, process: ManagedProcess) -> None:
        self.server = server
        self._process = process

    @classmethod
    async def start(cls, directory: Path) -> Atheme:
        """Configure and start both; returns when people can log in to accounts.

        ``directory`` keeps their configuration, logs and data; started by root, Atheme runs as another user, for
        whom it must be within reach. Raises `AdminError`.
        """
        port = free_port()
        server = await InspIrcd.start(
            directory / "inspircd",
            modules=(*MODULES, "sasl", "spanningtree"),
            extra="\n".join(
                [
                    f'<bind address="{LOOPBACK}" port="{port}" type="servers">',
                    f'<link name="{DOMAIN}" ipaddr="{LOOPBACK}" port="{port}" allowmask="{LOOPBACK}"'
                    f' sendpass="{_LINK}" recvpass="{_LINK}">',
                    f'<uline server="{DOMAIN}" silent="yes">',
                    f'<sasl target="{DOMAIN}" requiressl="no">',
                ]
            ),
        )
        home = directory / "atheme"
        home.mkdir()
        config = home / "atheme.conf"
        config.write_text(_configuration(server.domain, port), encoding="utf-8")
        give_away(home)
        files = ["-c", config, "-l", home / "log", "-p", home / "pid", "-D", home]
        command = [find("atheme-services", "atheme-services"), "-n", *map(str, files)]
        process = ManagedProcess(
            "Atheme", unprivileged(command), log=home / "atheme.log", directory=home
        )
        services = cls(server, process)
        try:
            await services.start_process()
        except AdminError:
            await server.stop()
            raise
        return services

    async def start_process(self) -> None:
        """Start the services, unless they run. Raises `AdminError`."""
        if self._process.running:
            return
        await self._process.start(self._are_there, timeout=_START_SECONDS)

    async def stop_process(self) -> None:
        """Stop the services only, as in a netsplit."""
        await self._process.stop()

    async def stop(self) -> None:
        """Stop both."""
        await self._process.stop()
        await self.server.stop()

    async def _are_there(self) -> bool:
        async with IrcUser("watcher", self.server.host, self.server.port) as watcher:
            watcher.send_raw("ISON NickServ SaslServ")
            line = await watcher.wait_for(lambda line: line.command == "303", timeout=5)
            return "NickServ" in line.text.split()


def _configuration(server: str, port: int) -> str:
    modules = (
        "protocol/inspircd", "backend/opensex", "crypto/pbkdf2v2", "nickserv/main", "nickserv/identify",
        "nickserv/register", "nickserv/logout", "nickserv/group", "saslserv/main", "saslserv/plain",
    )  # fmt: skip
    return "\n".join(
        [
            *(f'loadmodule "modules/{module}";' for module in modules),
            "serverinfo {",
            f'name = "{DOMAIN}"; desc = "services for tests"; numeric = "00A"; recontime = 1;',
            'netname = "Tests"; hidehostsuffix = "users.localhost";',
            'adminname = "nobody"; adminemail = "nobody@localhost"; registeremail = "nobody@localhost";',
            "auth = none; casemapping = rfc1459; loglevel = { error; info; };",
            "maxlogins = 50; maxusers = 0;",
            "};",
            f'uplink "{server}" {{ host = "{LOOPBACK}"; port = {port};',
            f'send_password = "{_LINK}"; receive_password = "{_LINK}"; }};',
            f'nickserv {{ nick = "NickServ"; user = "NickServ"; host = "{DOMAIN}"; real = "Nicks"; }};',
            f'saslserv {{ nick = "SaslServ"; user = "SaslServ"; host = "{DOMAIN}"; real = "SASL"; }};',
            "general { };",
            "",
        ]
    )
