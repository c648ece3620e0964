"""A real IRC server without modern extensions, ngIRCd, on a free loopback port, for tests and the demo.

The rule that must never break: it listens on 127.0.0.1 only and talks to no other server.
"""

from __future__ import annotations

from pathlib import Path

from dm_bridge.testing.irc_server import IrcServer, Tls, as_root, find, version_of
from dm_bridge.testing.processes import LOOPBACK


class NgIrcd(IrcServer):
    """A running ngIRCd. Make one with `NgIrcd.start`; end it with `stop`."""

    name = "ngIRCd"

    @classmethod
    async def start(
        cls,
        directory: Path,
        *,
        tls: Tls = "none",
        password: str = "",
        throttled: bool = False,
        options: str = "",
    ) -> NgIrcd:
        """Configure and start; returns when clients can connect.

        ``directory`` keeps its configuration and log. ``password``: what clients must give with PASS.
        ``throttled``: slow down clients that send much, as the server does by default. ``options`` goes to the
        end of the section Options. Raises `AdminError`.
        """
        program = find("ngircd", "ngircd")
        config = directory / "ngircd.conf"
        server = cls(directory, tls, [program, "-n", "-f", str(config)], directory / "ngircd.log")
        config.write_text(server._configuration(password, throttled, options), encoding="utf-8")
        await server.start_process()
        return server

    async def version(self) -> str:
        """The server's version, such as ``26.1``."""
        return await version_of(find("ngircd", "ngircd"))

    def _configuration(self, password: str, throttled: bool, options: str) -> str:
        motd = self.directory / "motd"
        motd.write_text("Welcome.\n", encoding="utf-8")
        lines = [
            "[Global]",
            f"Name = {self.domain}",
            "Info = a server for tests",
            f"Listen = {LOOPBACK}",
            f"MotdFile = {motd}",
            f"Password = {password}",
            *([] if self.tls != "none" else [f"Ports = {self.port}"]),
            *(["ServerUID = root", "ServerGID = root"] if as_root() else []),
            "[Limits]",
            "MaxConnectionsIP = 0",
            "MaxNickLength = 20",
            *([] if throttled else ["MaxPenaltyTime = 0"]),
            "[Options]",
            "DNS = no",
            "Ident = no",
            "PAM = no",
            options,
        ]
        if self.tls != "none":
            lines += [
                "[SSL]",
                f"CertFile = {self.certificate.certificate}",
                f"KeyFile = {self.certificate.key}",
                f"Ports = {self.port}",
            ]
        return "\n".join([*lines, ""])
