"""A real XMPP server, ejabberd, on free loopback ports, for tests: the second one that everything has to work on.

It has the methods of `dm_bridge.testing.prosody.Prosody`, and is started as one Erlang process: no node name, so
no port mapper (epmd), and no other user. Accounts are made through its own HTTP interface, in milliseconds.

The rule that must never break: it listens on 127.0.0.1 only and talks to no other server.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from dm_bridge.errors import AdminError
from dm_bridge.testing.certificates import write_certificate
from dm_bridge.testing.processes import LOOPBACK, ManagedProcess, free_port
from dm_bridge.testing.prosody import Tls

Options = Mapping[str, Any]

MODULES: Mapping[str, Options] = {
    "mod_admin_extra": {},
    "mod_avatar": {},
    "mod_blocking": {},
    "mod_caps": {},
    "mod_carboncopy": {},
    "mod_client_state": {},
    "mod_disco": {},
    "mod_http_api": {},
    "mod_last": {},
    "mod_mam": {"default": "always"},
    "mod_offline": {},
    "mod_ping": {},
    "mod_privacy": {},
    "mod_private": {},
    "mod_pubsub": {
        "plugins": ["flat", "pep"],
        "force_node_config": {"storage:bookmarks": {"access_model": "whitelist"}},
    },
    "mod_roster": {"versioning": True},
    "mod_stream_mgmt": {"resend_on_timeout": "if_offline"},
    "mod_vcard": {"search": False},
    "mod_vcard_xupdate": {},
    "mod_version": {},
}
"""What Debian's package switches on and people need for private chats, and the archive; the options of each."""
_COMMAND_SECONDS = 30.0
_REMEDY = "ejabberd is not installed. Install it: apt-get install ejabberd"


class Ejabberd:
    """A running ejabberd. Make one with `Ejabberd.start`; end it with `stop`."""

    def __init__(self, directory: Path, domain: str, tls: Tls) -> None:
        self.domain = domain
        self.host = LOOPBACK
        self.port = free_port()
        self.files_port = free_port()
        self.tls = tls
        self.ca_file: Path | None = None
        self.config_file = directory / "ejabberd.yml"
        self._directory = directory
        self._commands_port = free_port()
        spool = json.dumps(str(directory / "spool"), ensure_ascii=False)
        self._process = ManagedProcess(
            "ejabberd",
            [_erlang(), "-noinput", "+S", "2", "+P", "32768", "-mnesia", "dir", spool, "-s", "ejabberd"],
            log=directory / "console.log",
            environment={
                **os.environ,
                "EJABBERD_CONFIG_PATH": str(self.config_file),
                "EJABBERD_LOG_PATH": str(directory / "ejabberd.log"),
                "ERL_CRASH_DUMP_BYTES": "0",
                "ERL_LIBS": str(_libraries()),
                "HOME": str(directory),
            },
        )  # fmt: skip

    @classmethod
    async def start(
        cls,
        directory: Path,
        *,
        domain: str = "localhost",
        extra_domains: Sequence[str] = (),
        tls: Tls = "none",
        modules: Mapping[str, Options] = MODULES,
        config_extra: Options | None = None,
        largest_file: int = 0,
    ) -> Ejabberd:
        """Configure and start; returns when clients can connect.

        ``directory`` keeps its configuration, logs and data. ``tls="none"`` is the only mode in which passwords
        are accepted over a plain stream. ``config_extra`` replaces top-level keys of the configuration.
        ``largest_file``: of what it keeps for its users (XEP-0363), in bytes; 0: it keeps none.
        Raises `AdminError`.
        """
        server = cls(directory, domain, tls)
        server._write_files(modules, (domain, *extra_domains), config_extra or {}, largest_file)
        await server._start_process()
        return server

    def _write_files(
        self,
        modules: Mapping[str, Options],
        domains: Sequence[str],
        extra: Options,
        largest_file: int,
    ) -> None:
        (self._directory / "spool").mkdir(parents=True, exist_ok=True)
        certificates: list[str] = []
        if self.tls != "none":
            files = write_certificate(self._directory, domains)
            self.ca_file = files.authority
            certificates = [str(files.certificate), str(files.key)]
        if largest_file:
            modules = {**modules, "mod_http_upload": self._uploads(largest_file)}
        configuration = {
            "hosts": list(domains),
            "loglevel": "info",
            "certfiles": certificates,
            "listen": self._listeners(largest_file),
            "auth_password_format": "plain",  # SCRAM is offered all the same, and made when asked for
            "s2s_access": "none",
            "acl": {"local": {"user_regexp": ""}, "loopback": {"ip": [f"{LOOPBACK}/32"]}},
            "access_rules": {"local": {"allow": "local"}},
            "api_permissions": {"tests": {"who": {"acl": "loopback"}, "what": "*"}},
            "modules": dict(modules),
            **extra,
        }
        text = json.dumps(configuration, indent=2, ensure_ascii=False)  # which YAML includes
        self.config_file.write_text(text, encoding="utf-8")

    def _listeners(self, largest_file: int) -> list[Options]:
        clients: dict[str, Any] = {"module": "ejabberd_c2s", "access": "local"}
        if self.tls == "starttls":
            clients["starttls_required"] = True
        if self.tls == "direct":
            clients["tls"] = True
        http = {"module": "ejabberd_http"}
        commands = {"/api": "mod_http_api"}
        listeners: list[Options] = [
            {"port": self.port, "ip": LOOPBACK, **clients},
            {"port": self._commands_port, "ip": LOOPBACK, **http, "request_handlers": commands},
        ]
        if largest_file:
            handlers = {"request_handlers": {"/upload": "mod_http_upload"}}
            secure = {"tls": self.tls != "none"}
            listeners.append(
                {"port": self.files_port, "ip": LOOPBACK, **http, **handlers, **secure}
            )
        return listeners

    def _uploads(self, largest: int) -> Options:
        """A part of the server that takes files; its addresses are those of the server's domain."""
        scheme = "http" if self.tls == "none" else "https"
        host = self.host if self.tls == "none" else self.domain
        return {
            "host": "files.@HOST@",
            "put_url": f"{scheme}://{host}:{self.files_port}/upload/@HOST@",
            "docroot": str(self._directory / "files"),
            "max_size": largest,
            "rm_on_unregister": False,
        }

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server lives."""
        return self._process.running

    @property
    def log(self) -> Path:
        """The server's log."""
        return self._process.log

    async def version(self) -> str:
        """The server's version, such as ``23.01``."""
        found = await self._command("status")
        return str(found).rpartition("ejabberd ")[2].split()[0]

    async def add_user(self, localpart: str, password: str, *, domain: str | None = None) -> str:
        """Make an account; returns its bare JID."""
        domain = domain or self.domain
        await self._command("register", user=localpart, host=domain, password=password)
        return f"{localpart}@{domain}"

    async def remove_user(self, localpart: str, *, domain: str | None = None) -> None:
        """Delete an account; its connections are closed."""
        where = {"user": localpart, "host": domain or self.domain}
        if await self._command("check_account", **where) != 0:
            raise AdminError(f"No such user: {localpart}")
        await self._command("unregister", **where)

    async def change_password(
        self, localpart: str, password: str, *, domain: str | None = None
    ) -> None:
        """Set another password; the account's connections are closed."""
        where = {"user": localpart, "host": domain or self.domain}
        await self._command("change_password", **where, newpass=password)
        await self._command("kick_user", **where)

    async def disconnect_user(self, localpart: str, *, domain: str | None = None) -> None:
        """Close all connections of an account, as a server does that is about to restart."""
        await self._command("kick_user", user=localpart, host=domain or self.domain)

    async def stop(self) -> None:
        """Stop in order; the data stay."""
        await self._process.stop()

    async def kill(self) -> None:
        """End at once, as a crash would; what it took in the two seconds before may be gone then."""
        await self._process.kill()

    async def restart(self) -> None:
        """Stop if running, and start again: same ports, same data."""
        await self._process.stop()
        await self._start_process()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP makes the server hang without closing anything."""
        self._process.signal(number)

    async def _start_process(self) -> None:
        await self._process.start(self._accepts_clients, timeout=60)

    async def _accepts_clients(self) -> bool:
        context: ssl.SSLContext | None = None
        if self.tls == "direct":
            context = ssl.create_default_context(cafile=self.ca_file)
        reader, writer = await asyncio.open_connection(
            self.host, self.port, ssl=context, server_hostname=self.domain if context else None
        )
        try:
            writer.write(
                f"<?xml version='1.0'?><stream:stream to='{self.domain}' version='1.0'"
                " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>".encode()
            )
            await reader.readuntil(b"</stream:features>")
            writer.write(b"</stream:stream>")
        except asyncio.IncompleteReadError:
            return False
        finally:
            writer.close()
        return True

    async def _command(self, name: str, **arguments: str) -> Any:
        url = f"http://{LOOPBACK}:{self._commands_port}/api/{name}"
        timeout = aiohttp.ClientTimeout(total=_COMMAND_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as web,
                web.post(url, json=arguments) as response,
            ):
                answer = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise AdminError(f"ejabberd did not answer to {name}: {error!r}") from error
        if response.status != 200:
            raise AdminError(f"ejabberd refused {name}: {answer}")
        return json.loads(answer)


def _erlang() -> str:
    path = shutil.which("erl")
    if path is None:
        raise AdminError(_REMEDY)
    return path


def _libraries() -> Path:
    """Where Debian keeps ejabberd for Erlang, beside the libraries that it needs."""
    for found in Path("/usr/lib").glob("*/ejabberd-*/ebin/ejabberd.beam"):
        return found.parents[2]
    raise AdminError(_REMEDY)
