"""A real IRC bouncer, ZNC, on a free loopback port, before an IRC server; for tests.

The rule that must never break: it listens on 127.0.0.1 only and talks to no server but the one that it is given.
"""

from __future__ import annotations

from pathlib import Path

from dm_bridge.errors import AdminError
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.irc_server import IrcServer, find, give_away, unprivileged
from dm_bridge.testing.processes import LOOPBACK

USER = "bouncer"
NETWORK = "net"
PASSWORD = "sesame"


class Znc(IrcServer):
    """A running ZNC with one user, who is its admin. Make one with `Znc.start`; end it with `stop`.

    ``login``: the server password with which clients are let in.
    """

    name = "ZNC"
    login = f"{USER}/{NETWORK}:{PASSWORD}"
    _upstream: IrcServer
    _clears: bool

    @classmethod
    async def start(
        cls,
        directory: Path,
        upstream: IrcServer,
        nick: str,
        *,
        clears: bool = True,
        modules: tuple[str, ...] = (),
    ) -> Znc:
        """Configure and start; returns when clients can connect. Soon afterwards ``nick`` is on ``upstream``.

        ``directory`` keeps its configuration and log; started by root, ZNC runs as another user, for whom it must
        be within reach. ``clears``: keep only what comes while no client is there
        (``AutoClearQueryBuffer``, ZNC's default). ``modules``: of the whole server. Raises `AdminError`.
        """
        command = [find("znc", "znc"), "--foreground", "--no-color", "--datadir", str(directory)]
        server = cls(directory, "none", unprivileged(command), directory / "znc.log")
        server._upstream, server._clears = upstream, clears
        config = directory / "configs" / "znc.conf"
        config.parent.mkdir(parents=True, exist_ok=True)
        text = server._configuration(upstream, nick, clears, modules)
        config.write_text(text, encoding="utf-8")
        give_away(directory)
        await server.start_process()
        return server

    async def add_user(self, nick: str) -> str:
        """Let somebody else have an account; the server password with which they are let in.

        Soon afterwards they are on the IRC server, too.
        """
        async with IrcUser("admin", self.host, self.port, password=self.login) as admin:
            for command in (
                f"AddUser {nick} {PASSWORD}",
                f"Set AutoClearQueryBuffer {nick} {str(self._clears).lower()}",
                f"Set QueryBufferSize {nick} 500",
                f"AddNetwork {nick} {NETWORK}",
                f"SetNetwork FloodBurst {nick} {NETWORK} 500",
                f"SetNetwork FloodRate {nick} {NETWORK} 500",
                f"AddServer {nick} {NETWORK} {self._upstream.host} {self._upstream.port}",
            ):
                mark = admin.mark()
                admin.say("*controlpanel", command)
                answer = await admin.wait_for(
                    lambda line: line.nick == "*controlpanel" and line.command == "PRIVMSG",
                    after=mark,
                )
                if "error" in answer.text.lower():
                    raise AdminError(f"ZNC did not do {command.split()[0]}: {answer.text}")
        return f"{nick}/{NETWORK}:{PASSWORD}"

    async def remove_user(self, nick: str) -> None:
        """Take an account away, and end its connections."""
        async with IrcUser("admin", self.host, self.port, password=self.login) as admin:
            admin.say("*controlpanel", f"DelUser {nick}")
            await admin.wait_for(lambda line: line.nick == "*controlpanel")

    def _configuration(
        self, upstream: IrcServer, nick: str, clears: bool, modules: tuple[str, ...]
    ) -> str:
        return "\n".join(
            [
                "Version = 1.8.2",
                "AnonIPLimit = 1000",
                "ConnectDelay = 0",
                "ServerThrottle = 0",
                *(f"LoadModule = {module}" for module in modules),
                "<Listener clients>",
                f"Port = {self.port}",
                f"Host = {LOOPBACK}",
                "IPv6 = false",
                "SSL = false",
                "AllowWeb = false",
                "</Listener>",
                f"<User {USER}>",
                "Admin = true",
                "LoadModule = controlpanel",
                f"Nick = {nick}",
                f"Ident = {nick}",
                "QuitMsg = bye",
                "QueryBufferSize = 500",
                f"AutoClearQueryBuffer = {str(clears).lower()}",
                f"<Network {NETWORK}>",
                f"Server = {upstream.host} {upstream.port}",
                "FloodBurst = 500",
                "FloodRate = 500",
                "</Network>",
                "<Pass password>",
                "Method = Plain",
                f"Hash = {PASSWORD}",
                "</Pass>",
                "</User>",
                "",
            ]
        )
