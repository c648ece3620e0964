"""A real homeserver, Synapse, on a free loopback port, for tests, benchmarks and the demo.

The rule that must never break: it listens on 127.0.0.1 only, federates with nobody, reports
nothing to anybody, and forgets everything with its directory.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.metadata
import importlib.util
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from dm_bridge.errors import AdminError, HomeserverError
from dm_bridge.testing.processes import LOOPBACK, ManagedProcess, free_port
from dm_bridge.testing.server import Server

REMEDY = "Synapse is not installed. Install it: pip install '.[demo]' in a checkout of the bridge"
_REQUEST_SECONDS = 30.0
_UNLIMITED = {"per_second": 100_000, "burst_count": 100_000}


@dataclass(frozen=True, slots=True)
class MatrixAccount:
    """A logged-in user."""

    user_id: str
    access_token: str
    device_id: str


class Synapse(Server):
    """A running Synapse. Make one with `Synapse.start`; end it with `stop`."""

    _stop_seconds = 15.0

    def __init__(self, directory: Path, domain: str, port: int) -> None:
        self.domain = domain
        self.port = port
        self.url = f"http://{LOOPBACK}:{port}"
        self.registration_shared_secret = secrets.token_urlsafe(32)
        self.config_file = directory / "homeserver.yaml"
        self._directory = directory
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("PYTHON")
        }
        self._process = ManagedProcess(
            "Synapse",
            [sys.executable, "-m", "synapse.app.homeserver", "-c", str(self.config_file)],
            log=directory / "synapse.log",
            environment=environment,
            directory=directory,
        )

    @classmethod
    async def start(
        cls,
        directory: Path,
        *,
        domain: str = "demo.localhost",
        port: int | None = None,
        registrations: Sequence[Path] = (),
        default_room_version: str = "12",
        config_extra: Mapping[str, Any] | None = None,
    ) -> Synapse:
        """Configure and start; returns when it answers.

        ``directory`` keeps its configuration, log and SQLite database. ``registrations`` are
        application service files; they are read again by `restart`. ``config_extra`` replaces
        top-level keys of ``homeserver.yaml``. Raises `AdminError`.
        """
        if importlib.util.find_spec("synapse") is None:
            raise AdminError(REMEDY)
        server = cls(directory, domain, port or free_port())
        server._write_files(registrations, default_room_version, config_extra or {})
        await server.start_process()
        return server

    def _write_files(
        self, registrations: Sequence[Path], room_version: str, extra: Mapping[str, Any]
    ) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        signing_key = self._directory / "signing.key"
        signing_key.touch(mode=0o600)
        signing_key.write_text(f"ed25519 a_demo {seed}\n", encoding="ascii")
        config = {**self._configuration(signing_key, registrations, room_version), **extra}
        self.config_file.touch(mode=0o600)
        self.config_file.write_text(yaml.safe_dump(config), encoding="utf-8")

    def _configuration(
        self, signing_key: Path, registrations: Sequence[Path], default_room_version: str
    ) -> dict[str, Any]:
        log_config = self._directory / "log.yaml"
        log_config.write_text(
            yaml.safe_dump(
                {
                    "version": 1,
                    "formatters": {
                        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}
                    },
                    "handlers": {
                        "console": {"class": "logging.StreamHandler", "formatter": "line"}
                    },
                    "root": {"level": "WARNING", "handlers": ["console"]},
                    "loggers": {"synapse.appservice": {"level": "INFO"}},
                    "disable_existing_loggers": False,
                }
            ),
            encoding="utf-8",
        )
        return {
            "server_name": self.domain,
            "public_baseurl": self.url + "/",
            "report_stats": False,
            "listeners": [
                {
                    "type": "http",
                    "port": self.port,
                    "bind_addresses": [LOOPBACK],
                    "resources": [{"names": ["client", "openid"], "compress": False}],
                }
            ],
            "database": {
                "name": "sqlite3",
                "args": {"database": str(self._directory / "homeserver.db")},
            },
            "media_store_path": str(self._directory / "media"),
            "pid_file": str(self._directory / "homeserver.pid"),
            "log_config": str(log_config),
            "signing_key_path": str(signing_key),
            "registration_shared_secret": self.registration_shared_secret,
            "macaroon_secret_key": secrets.token_urlsafe(32),
            "form_secret": secrets.token_urlsafe(32),
            "bcrypt_rounds": 4,
            "enable_registration": False,
            "app_service_config_files": [str(path) for path in registrations],
            "default_room_version": default_room_version,
            "federation_domain_whitelist": [],
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "presence": {"enabled": False},
            "send_federation": False,
            "stats": {"enabled": False},
            "url_preview_enabled": False,
            "filter_timeline_limit": -1,  # a client that is late would miss events
            "rc_message": _UNLIMITED,
            "rc_registration": _UNLIMITED,
            "rc_registration_token_validity": _UNLIMITED,
            "rc_admin_redaction": _UNLIMITED,
            "rc_3pid_validation": _UNLIMITED,
            "rc_login": {
                "address": _UNLIMITED,
                "account": _UNLIMITED,
                "failed_attempts": _UNLIMITED,
            },
            "rc_joins": {"local": _UNLIMITED, "remote": _UNLIMITED},
            "rc_joins_per_room": _UNLIMITED,
            "rc_invites": {
                "per_room": _UNLIMITED,
                "per_user": _UNLIMITED,
                "per_issuer": _UNLIMITED,
            },
            "rc_room_creation": _UNLIMITED,
            "rc_presence": {"per_user": _UNLIMITED},
            "rc_user_directory": _UNLIMITED,
            "rc_media_create": _UNLIMITED,
            "rc_reports": _UNLIMITED,
        }

    @staticmethod
    def version() -> str:
        """The installed version, such as ``1.150.0``. Raises `AdminError` when there is none."""
        try:
            return importlib.metadata.version("matrix-synapse")
        except importlib.metadata.PackageNotFoundError as error:
            raise AdminError(REMEDY) from error

    async def register_user(
        self, localpart: str, password: str, *, admin: bool = False
    ) -> MatrixAccount:
        """Make an account and log it in. Raises `HomeserverError`."""
        path = f"{self.url}/_synapse/admin/v1/register"
        timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.get(path) as response:
                nonce = str((await response.json())["nonce"])
            role = "admin" if admin else "notadmin"
            mac = hmac.new(
                self.registration_shared_secret.encode(),
                "\0".join((nonce, localpart, password, role)).encode(),
                hashlib.sha1,
            ).hexdigest()
            body = {
                "nonce": nonce,
                "username": localpart,
                "password": password,
                "admin": admin,
                "mac": mac,
            }
            async with session.post(path, json=body) as response:
                answer = await response.json()
                if response.status != 200:
                    raise HomeserverError(
                        f"Synapse did not register {localpart}: {answer.get('error')}",
                        status=response.status,
                        errcode=str(answer.get("errcode", "")),
                    )
        return MatrixAccount(answer["user_id"], answer["access_token"], answer["device_id"])

    async def start_process(self) -> None:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session:

            async def answers() -> bool:
                try:
                    async with session.get(f"{self.url}/_matrix/client/versions") as response:
                        return response.status == 200
                except aiohttp.ClientError:
                    return False

            await self._process.start(answers, timeout=90)
