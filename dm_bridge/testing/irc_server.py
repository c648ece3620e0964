"""What the starters of IRC servers share: a process, an address, and when it takes clients.

The rule that must never break: they listen on 127.0.0.1 only and talk to no other server.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import ssl
from pathlib import Path
from typing import Literal

from dm_bridge.errors import AdminError
from dm_bridge.testing.certificates import CertificateFiles, write_certificate
from dm_bridge.testing.processes import LOOPBACK, ManagedProcess, free_port
from dm_bridge.testing.server import Server

Tls = Literal["none", "direct"]
PLACES = "/usr/sbin:/usr/bin:/usr/local/bin"
UNPRIVILEGED = "nobody"


class IrcServer(Server):
    """A running server. ``name``: what people call the program; ``domain``: what the server calls itself."""

    name = ""

    def __init__(self, directory: Path, tls: Tls, command: list[str], log: Path) -> None:
        self.host = LOOPBACK if tls == "none" else "localhost"
        self.port = free_port()
        self.tls: Tls = tls
        self.domain = "irc.localhost"
        self.directory = directory
        self._certificate: CertificateFiles | None = None
        directory.mkdir(parents=True, exist_ok=True)
        if tls != "none":
            self._certificate = write_certificate(directory, ["localhost"])
        self._process = ManagedProcess(self.name, command, log=log, directory=directory)

    @property
    def ca_file(self) -> Path | None:
        """The authority to trust, with TLS."""
        return None if self._certificate is None else self._certificate.authority

    @property
    def certificate(self) -> CertificateFiles:
        """The server's files. Raises RuntimeError without TLS."""
        if self._certificate is None:
            raise RuntimeError(f"{self.name} runs without TLS")
        return self._certificate

    async def start_process(self) -> None:
        await self._process.start(self._takes_clients, timeout=60)

    async def _takes_clients(self) -> bool:
        context = None
        if self.tls != "none":
            context = ssl.create_default_context(cafile=self.ca_file)
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=context)
        try:
            writer.write(b"CAP LS 302\r\nQUIT\r\n")
            return bool(await reader.readuntil(b"\n"))
        except asyncio.IncompleteReadError:
            return False
        finally:
            writer.close()


def find(program: str, package: str) -> str:
    """Where a program is. Raises `AdminError` with what to install."""
    path = shutil.which(program) or shutil.which(program, path=PLACES)
    if path is None:
        raise AdminError(f"{program} is not installed. Install it: apt-get install {package}")
    return path


async def output_of(*command: str) -> str:
    """What a command prints."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return output.decode(errors="replace")


async def version_of(program: str, flag: str = "--version") -> str:
    """The version that a program names first, such as ``26.1``."""
    match = re.search(r"\d+(?:\.\d+)+", await output_of(program, flag))
    return match[0] if match else "unknown"


def as_root() -> bool:
    return os.geteuid() == 0


def unprivileged(command: list[str]) -> list[str]:
    """The command by which root runs another as an unprivileged user, for programs that refuse root."""
    if not as_root():
        return command
    user = pwd.getpwnam(UNPRIVILEGED)
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [find("setpriv", "util-linux"), *ids, "--pdeathsig=TERM", "--", *command]


def give_away(directory: Path) -> None:
    """Let that user have a directory with all that is in it."""
    if as_root():
        user = pwd.getpwnam(UNPRIVILEGED)
        for path in (directory, *directory.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)
