"""A real XMPP server, ejabberd, on free loopback ports, for tests: the second one that everything has to work on.

It has the methods of `dm_bridge.testing.prosody.Prosody`, and is started as one Erlang process: no node name, so
no port mapper (epmd), and no other user. Accounts are made through its own HTTP interface, in milliseconds.

The rule that must never break: it listens on 127.0.0.1 only and talks to no other server.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from dm_bridge.errors import AdminError
from dm_bridge.testing.certificates import write_certificate
from dm_bridge.testing.processes import LOOPBACK, free_port
from dm_bridge.testing.xmpp_server import Tls, XmppServer

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


class Ejabberd(XmppServer):
    """A running ejabberd. Make one with `Ejabberd.start`; end it with `stop`."""

    def __init__(self, directory: Path, domain: str, tls: Tls) -> None:
        self.config_file = directory / "ejabberd.yml"
        self._directory = directory
        self._commands_port = free_port()
        spool = json.dumps(str(directory / "spool"), ensure_ascii=False)
        super().__init__(
            "ejabberd",
            domain,
            tls,
            [_erlang(), "-noinput", "+S", "2", "+P", "32768", "-mnesia", "dir", spool, "-s", "ejabberd"],
            directory / "console.log",
            {
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
        await server.start_process()
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

    async def version(self) -> str:
        found = await self._command("status")
        return str(found).rpartition("ejabberd ")[2].split()[0]

    async def add_user(self, localpart: str, password: str, *, domain: str | None = None) -> str:
        domain = domain or self.domain
        await self._command("register", user=localpart, host=domain, password=password)
        return f"{localpart}@{domain}"

    async def remove_user(self, localpart: str, *, domain: str | None = None) -> None:
        where = {"user": localpart, "host": domain or self.domain}
        if await self._command("check_account", **where) != 0:
            raise AdminError(f"No such user: {localpart}")
        await self._command("unregister", **where)

    async def change_password(
        self, localpart: str, password: str, *, domain: str | None = None
    ) -> None:
        where = {"user": localpart, "host": domain or self.domain}
        await self._command("change_password", **where, newpass=password)
        await self._command("kick_user", **where)

    async def disconnect_user(self, localpart: str, *, domain: str | None = None) -> None:
        await self._command("kick_user", user=localpart, host=domain or self.domain)

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
