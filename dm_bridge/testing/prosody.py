"""A real XMPP server, Prosody, on a free loopback port, for tests and the demo.

The rule that must never break: it listens on 127.0.0.1 only and talks to no other server.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from dm_bridge.errors import AdminError
from dm_bridge.testing.certificates import write_certificate
from dm_bridge.testing.processes import LOOPBACK
from dm_bridge.testing.prosody_archive import (
    SQL_FILE,
    Archived,
    Archives,
    lua,
    sql_settings,
    write_file,
    write_sql,
)
from dm_bridge.testing.xmpp_server import Tls, XmppServer

MODULES = (
    "admin_shell",
    "blocklist",
    "bookmarks",
    "carbons",
    "csi_simple",
    "disco",
    "mam",
    "offline",
    "pep",
    "ping",
    "roster",
    "saslauth",
    "smacks",
    "time",
    "uptime",
    "user_account_management",
    "vcard4",
    "vcard_legacy",
    "version",
)
_COMMAND_SECONDS = 30.0
_REMEDY = "Prosody is not installed. Install it: apt-get install prosody"


class Prosody(XmppServer):
    """A running Prosody. Make one with `Prosody.start`; end it with `stop`."""

    def __init__(self, directory: Path, domain: str, tls: Tls) -> None:
        self.config_file = directory / "prosody.cfg.lua"
        self._directory = directory
        self._archives: Archives = "files"
        command = [_find("prosody"), "-F", "--config", str(self.config_file)]
        super().__init__("Prosody", domain, tls, command, directory / "prosody.log")

    @classmethod
    async def start(
        cls,
        directory: Path,
        *,
        domain: str = "localhost",
        extra_domains: Sequence[str] = (),
        tls: Tls = "none",
        modules: Sequence[str] = MODULES,
        config_extra: str = "",
        host_config_extra: str = "",
        largest_file: int = 0,
        archives: Archives = "files",
    ) -> Prosody:
        """Configure and start; returns when clients can connect.

        ``directory`` keeps its configuration, log and data. ``tls="none"`` is the only mode in which
        passwords are accepted over a plain stream. ``config_extra`` goes into the global section,
        ``host_config_extra`` after the last host. ``largest_file``: of what it keeps for its users
        (XEP-0363), in bytes; 0: it keeps none. ``archives``: where it keeps message archives. Raises `AdminError`.
        """
        server = cls(directory, domain, tls)
        server._archives = archives
        domains = (domain, *extra_domains)
        if largest_file:
            host_config_extra = f"{server._file_share(largest_file)}\n{host_config_extra}"
        server._write_files(modules, config_extra, domains, host_config_extra)
        await server.start_process()
        return server

    def _file_share(self, largest: int) -> str:
        """A part of the server that takes files; its addresses are those of the server's domain."""
        scheme = "http" if self.tls == "none" else "https"
        host = self.host if self.tls == "none" else self.domain
        return "\n".join(
            [
                f'Component {lua(f"files.{self.domain}")} "http_file_share"',
                f"    http_host = {lua(host)}",
                f"    http_external_url = {lua(f'{scheme}://{host}:{self.files_port}/')}",
                f"    http_file_share_size_limit = {largest}",
                f"    http_file_share_daily_quota = {1000 * largest}",
            ]
        )

    def _write_files(
        self, modules: Sequence[str], extra: str, domains: Sequence[str], host_extra: str
    ) -> None:
        for folder in ("data", "certs"):
            (self._directory / folder).mkdir(parents=True, exist_ok=True)
        if self.tls != "none":
            files = write_certificate(self._directory, domains)
            self.ca_file = files.authority
            key_pair = f"{{ certificate = {lua(files.certificate)}, key = {lua(files.key)} }}"
            names = ("ssl", "c2s_direct_tls_ssl", "https_ssl")
            extra = "\n".join([*(f"{name} = {key_pair}" for name in names), extra])
        text = self._configuration(modules, extra, domains, host_extra)
        self.config_file.write_text(text, encoding="utf-8")

    def _configuration(
        self, modules: Sequence[str], extra: str, domains: Sequence[str], host_extra: str
    ) -> str:
        files = ("{}", f"{{ {self.files_port} }}")
        plain, direct = ("{}", f"{{ {self.port} }}")
        if self.tls != "direct":
            plain, direct = direct, plain
        enabled = [*modules, *(["tls"] if self.tls != "none" else [])]
        unencrypted = str(self.tls == "none").lower()
        return "\n".join(
            [
                f"run_as_root = {str(os.geteuid() == 0).lower()}",
                f"data_path = {lua(self._directory / 'data')}",
                f"pidfile = {lua(self._directory / 'prosody.pid')}",
                f"interfaces = {{ {lua(LOOPBACK)} }}",
                f"c2s_ports = {plain}",
                f"c2s_direct_tls_ports = {direct}",
                f"c2s_require_encryption = {str(self.tls != 'none').lower()}",
                f"allow_unencrypted_plain_auth = {unencrypted}",
                "s2s_ports = {}",
                "s2s_direct_tls_ports = {}",
                f"http_ports = {files[self.tls == 'none']}",
                f"https_ports = {files[self.tls != 'none']}",
                f"http_interfaces = {{ {lua(LOOPBACK)} }}",
                f"https_interfaces = {{ {lua(LOOPBACK)} }}",
                f"modules_enabled = {{ {', '.join(lua(name) for name in enabled)} }}",
                'modules_disabled = { "s2s" }',
                'authentication = "internal_hashed"',
                'default_storage = "internal"',
                *(sql_settings() if self._archives == "sql" else ()),
                'archive_expires_after = "never"',
                'log = { { levels = { min = "info" }, to = "console" } }',
                extra,
                *(f"VirtualHost {lua(name)}" for name in domains),
                host_extra,
                "",
            ]
        )

    async def version(self) -> str:
        output = await self._prosodyctl("about")
        match = re.search(r"Prosody (\d\S*)", output)
        return match.group(1) if match else "unknown"

    async def add_user(self, localpart: str, password: str, *, domain: str | None = None) -> str:
        domain = domain or self.domain
        await self._prosodyctl("register", localpart, domain, password)
        return f"{localpart}@{domain}"

    def write_archive(self, jid: str, messages: Iterable[Archived]) -> None:
        """Give an account that has none an archive, the oldest message first, as the server itself stores it."""
        if self._archives == "sql":
            write_sql(self._directory / "data" / SQL_FILE, jid, messages)
        else:
            write_file(self._directory / "data", jid, messages)

    async def remove_user(self, localpart: str, *, domain: str | None = None) -> None:
        await self._shell("user:delete", f"{localpart}@{domain or self.domain}")

    async def change_password(
        self, localpart: str, password: str, *, domain: str | None = None
    ) -> None:
        await self._shell("user:password", f"{localpart}@{domain or self.domain}", password)

    async def disconnect_user(self, localpart: str, *, domain: str | None = None) -> None:
        await self._shell("c2s:close", f"{localpart}@{domain or self.domain}")

    async def _shell(self, function: str, *arguments: str) -> None:
        quoted = ", ".join(lua(argument) for argument in arguments)
        await self._prosodyctl("shell", f"{function}({quoted})")

    async def _prosodyctl(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            _find("prosodyctl"),
            "--config",
            str(self.config_file),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_COMMAND_SECONDS):
                output, _ = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        text = output.decode(errors="replace").strip()
        if process.returncode != 0:
            raise AdminError(f"prosodyctl {arguments[0]} failed: {text}")
        return text


def _find(program: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin")
    if path is None:
        raise AdminError(_REMEDY)
    return path
