"""A real IRC server with IRCv3, InspIRCd, on a free loopback port, for tests.

The rule that must never break: it listens on 127.0.0.1 only and talks to no other server.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

from dm_bridge.testing.irc_server import IrcServer, Tls, as_root, find, version_of
from dm_bridge.testing.processes import LOOPBACK

MODULES = (
    "callerid", "cap", "ircv3", "ircv3_accounttag", "ircv3_batch", "ircv3_capnotify", "ircv3_chghost",
    "ircv3_ctctags", "ircv3_echomessage", "ircv3_labeledresponse", "ircv3_msgid", "ircv3_servertime", "monitor",
    "noctcp", "services_account",
)  # fmt: skip


class InspIrcd(IrcServer):
    """A running InspIRCd. Make one with `InspIrcd.start`; end it with `stop`."""

    name = "InspIRCd"

    @classmethod
    async def start(
        cls,
        directory: Path,
        *,
        tls: Tls = "none",
        casemapping: str = "rfc1459",
        throttled: bool = False,
        modules: tuple[str, ...] = MODULES,
        extra: str = "",
    ) -> InspIrcd:
        """Configure and start; returns when clients can connect.

        ``directory`` keeps its configuration, log and data. ``casemapping``: ``rfc1459`` or ``ascii``.
        ``throttled``: slow down clients that send much, as the server does by default. ``extra`` goes to the end
        of the configuration. Raises `AdminError`.
        """
        program = find("inspircd", "inspircd")
        config = directory / "inspircd.conf"
        command = [program, "--nofork", "--nopid", "--config", str(config)]
        if as_root():
            command.append("--runasroot")
        server = cls(directory, tls, command, directory / "inspircd.log")
        config.write_text(
            server._configuration(casemapping, throttled, modules, extra), encoding="utf-8"
        )
        await server.start_process()
        return server

    async def version(self) -> str:
        """The server's version, such as ``3.15.0``."""
        return await version_of(find("inspircd", "inspircd"))

    def _configuration(
        self, casemapping: str, throttled: bool, modules: tuple[str, ...], extra: str
    ) -> str:
        limits = "" if throttled else ' commandrate="1000000" threshold="1000" recvq="262144"'
        where = quoteattr(str(self.directory))
        profile = ' sslprofile="Clients"' if self.tls != "none" else ""
        lines = [
            f'<server name="{self.domain}" description="a server for tests" network="Tests" id="0AA">',
            '<admin name="nobody" nick="nobody" email="nobody@localhost">',
            f"<path configdir={where} datadir={where} logdir={where}>",
            f'<bind address="{LOOPBACK}" port="{self.port}" type="clients"{profile}>',
            '<connect name="main" allow="*" timeout="20" pingfreq="120" localmax="5000" globalmax="5000"'
            f' resolvehostnames="no" useident="no"{limits}>',
            f'<options casemapping="{casemapping}" prefixpart="" suffixpart="" fixedpart="">',
            '<performance netbuffersize="10240" somaxconn="128" clonesonconnect="no">',
            '<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="inspircd.own.log">',
            *(f'<module name="{name}">' for name in modules),
        ]
        if self.tls != "none":
            files = self.certificate
            lines += [
                '<module name="ssl_gnutls">',
                f'<sslprofile name="Clients" provider="gnutls" certfile={quoteattr(str(files.certificate))}'
                f' keyfile={quoteattr(str(files.key))} hash="sha256" requestclientcert="yes">',
            ]
        return "\n".join([*lines, extra, ""])
