"""The whole bridge on real servers, set up through its public commands, as an admin would.

`Stack.start` runs ``dm-bridge init``, edits the configuration file, runs ``dm-bridge registration``,
starts Synapse with what that wrote, and ``dm-bridge run`` as a process of its own.

The rule that must never break: nothing here reaches into the bridge (of its code, only its errors are
used); it knows commands, files and addresses only, and `stop` leaves no process behind, whatever
became of the bridge.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from dm_bridge.errors import AdminError
from dm_bridge.testing.matrix_client import MatrixUser, Seen
from dm_bridge.testing.processes import LOOPBACK, ManagedProcess, free_port
from dm_bridge.testing.synapse import Synapse
from dm_bridge.testing.xmpp_client import XmppUser
from dm_bridge.testing.xmpp_server import XmppServer

Config = dict[str, Any]
DEFAULT_PASSWORD = "secret"
_COMMAND_SECONDS = 60.0
_START_SECONDS = 90.0
_STOP_SECONDS = 20.0


class Bridge:
    """``dm-bridge``: its configuration file, its commands, and its process."""

    def __init__(
        self, directory: Path, *, config_path: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """``environment`` is added to ours."""
        directory.mkdir(parents=True, exist_ok=True)
        self.config_path = config_path
        self.directory = directory
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._environment = {
            **{
                key: value for key, value in os.environ.items() if not key.startswith("DM_BRIDGE__")
            },
            **(environment or {}),
        }
        self._process = ManagedProcess(
            "The bridge",
            [sys.executable, "-m", "dm_bridge", "run", "-c", str(config_path)],
            log=directory / "dm-bridge.log",
            environment=self._environment,
            directory=directory,
        )

    def beside(self, name: str) -> Bridge:
        """Another process with the same configuration, but for its address, and the same files."""
        other = Bridge(
            self.directory / name,
            config_path=self.config_path.with_name(f"{name}.yaml"),
            environment=self._environment,
        )
        other.config_path.write_text(self.config_path.read_text(encoding="utf-8"), encoding="utf-8")
        other.configure({"appservice": {"listen": f"{LOOPBACK}:{other.port}"}})
        return other

    @property
    def pid(self) -> int:
        """The process id of ``dm-bridge run``."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether ``dm-bridge run`` lives."""
        return self._process.running

    @property
    def log(self) -> Path:
        """What ``dm-bridge run`` has written."""
        return self._process.log

    async def command(self, *arguments: str) -> str:
        """Run ``dm-bridge`` with ``arguments``; its output. Raises `AdminError` when it fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "dm_bridge",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            cwd=self.directory,
        )
        try:
            async with asyncio.timeout(_COMMAND_SECONDS):
                output, _ = await process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        text = output.decode(errors="replace").strip()
        if process.returncode != 0:
            raise AdminError(f"dm-bridge {arguments[0]} failed ({process.returncode}): {text}")
        return text

    def config(self) -> Config:
        """The configuration file as it is."""
        config = yaml.safe_load(self.config_path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise AdminError(f"{self.config_path} holds no configuration.")
        return config

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Merge ``changes`` into the configuration file: maps are merged, other values replaced."""
        merged = _merge(self.config(), changes)
        self.config_path.write_text(yaml.safe_dump(merged, sort_keys=False), encoding="utf-8")

    async def run(self) -> None:
        """Start ``dm-bridge run``; returns when it says that it is ready. Raises `AdminError`."""
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session:

            async def ready() -> bool:
                try:
                    async with session.get(f"{self.url}/health/ready") as response:
                        return response.status == 200
                except aiohttp.ClientError:
                    return False

            await self._process.start(ready, timeout=_START_SECONDS)

    async def stop(self) -> int | None:
        """SIGTERM, as a service manager would; its exit status (negative: the signal)."""
        return await self._process.stop(timeout=_STOP_SECONDS)

    async def kill(self) -> None:
        """SIGKILL, as a crash would. An embedded PostgreSQL lives on, as it would then."""
        await self._process.kill()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.signal(number)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        return self._process.log_tail(lines)

    async def stop_database(self) -> None:
        """End an embedded PostgreSQL that a killed bridge has left."""
        pid_file = self._database_directory() / "postmaster.pid"
        pid = _postgres_process(pid_file)
        if pid is None:
            return
        os.kill(pid, signal.SIGINT)  # PostgreSQL's "fast" shutdown
        deadline = time.monotonic() + _STOP_SECONDS
        while pid_file.exists():
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGQUIT)
                return
            await asyncio.sleep(0.05)

    def _database_directory(self) -> Path:
        data_dir = self.config_path.parent / str(self.config().get("data_dir", "data"))
        return (data_dir / "postgres").resolve()


@dataclass(frozen=True, slots=True)
class LoginTalk:
    """A login as the user saw it: what the bot said, and the event that held the password."""

    said: tuple[str, ...]
    password_event: str


class Stack:
    """A bridge, its homeserver, and its XMPP server if it has one. Made by `start`; ended by `stop`."""

    def __init__(self, bridge: Bridge, synapse: Synapse, prosody: XmppServer | None) -> None:
        self.bridge = bridge
        self.synapse = synapse
        self._prosody = prosody

    @property
    def prosody(self) -> XmppServer:
        """The XMPP server: Prosody, or ejabberd in its place. Raises RuntimeError when there is none."""
        if self._prosody is None:
            raise RuntimeError("this stack has no XMPP server")
        return self._prosody

    @classmethod
    async def start(
        cls,
        directory: Path,
        *,
        prosody: XmppServer | None,
        domain: str = "demo.localhost",
        room_version: str = "12",
        config: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        synapse_config: Callable[[Bridge], Mapping[str, Any]] | None = None,
        run: bool = True,
    ) -> Stack:
        """Set up a bridge for ``prosody``, which stays the caller's, and start it on a new Synapse.

        Without ``run``, the bridge is left for the caller to start.

        Without ``prosody``, ``config`` says which network there is instead. It is merged into the bridge's
        configuration file. ``synapse_config``, given the configured bridge, makes what replaces top-level keys
        of ``homeserver.yaml``. Everything lies in ``directory``. Raises `AdminError`,
        and leaves nothing running then.
        """
        bridge = Bridge(directory, config_path=directory / "config.yaml", environment=environment)
        homeserver_port = free_port()
        await bridge.command(
            "init",
            "--homeserver",
            f"http://{LOOPBACK}:{homeserver_port}",
            "--domain",
            domain,
            "--config",
            str(bridge.config_path),
            "--yes",
        )
        bridge.configure(_loopback_config(bridge, domain, prosody))
        bridge.configure(config or {})
        await bridge.command("registration", "-c", str(bridge.config_path), "-o", str(directory))
        synapse = await Synapse.start(
            directory / "synapse",
            domain=domain,
            port=homeserver_port,
            registrations=[
                directory / "registration.yaml",
                directory / "registration-accounts.yaml",
            ],
            default_room_version=room_version,
            config_extra=synapse_config(bridge) if synapse_config is not None else None,
        )
        stack = cls(bridge, synapse, prosody)
        try:
            if run:
                await bridge.run()
        except BaseException:
            await stack.stop()
            raise
        return stack

    @functools.cached_property
    def bot(self) -> str:
        """The user id of the bridge's bot, as first configured."""
        localpart = self.bridge.config().get("appservice", {}).get("bot", "dmbot")
        return f"@{localpart}:{self.synapse.domain}"

    async def stop(self) -> None:
        """Stop the bridge, its database and the homeserver; the files stay."""
        async with contextlib.AsyncExitStack() as steps:
            steps.push_async_callback(self.synapse.stop)
            steps.push_async_callback(self.bridge.stop_database)
            await self.bridge.stop()

    @contextlib.asynccontextmanager
    async def matrix_user(
        self, localpart: str, password: str = DEFAULT_PASSWORD
    ) -> AsyncIterator[MatrixUser]:
        """A new Matrix user, syncing."""
        account = await self.synapse.register_user(localpart, password)
        async with MatrixUser(self.synapse.url, account.user_id, account.access_token) as user:
            yield user

    @contextlib.asynccontextmanager
    async def xmpp_user(
        self, localpart: str, password: str = DEFAULT_PASSWORD, *, nickname: str | None = None
    ) -> AsyncIterator[XmppUser]:
        """A new XMPP user, online."""
        jid = await self.prosody.add_user(localpart, password)
        server = self.prosody
        async with XmppUser(
            jid,
            password,
            server.host,
            server.port,
            tls=server.tls,
            ca_file=server.ca_file,
            nickname=nickname,
        ) as user:
            yield user

    async def open_bot_chat(self, user: MatrixUser) -> str:
        """Start a chat with the bot as a client does: a direct room, noted in m.direct; its id."""
        room = await user.create_room(invite=[self.bot], is_direct=True)
        document = await user.m_direct() or {}
        await user.set_m_direct({**document, self.bot: [*document.get(self.bot, []), room]})
        await user.wait_for(
            lambda seen: (
                seen.room_id == room
                and seen.type == "m.room.member"
                and seen.sender == self.bot
                and seen.content.get("membership") == "join"
            )
        )
        return room

    async def log_in(
        self, user: MatrixUser, room: str, jid: str, password: str, *, network: str = "xmpp"
    ) -> LoginTalk:
        """Log ``user`` in by answering the bot's questions in ``room``.

        Raises `AdminError` with the bot's words when the login does not succeed.
        """

        def bot_says(seen: Seen) -> bool:
            return seen.room_id == room and seen.sender == self.bot and seen.body is not None

        def outcome(seen: Seen) -> bool:
            return bot_says(seen) and ("⚠" in (seen.body or "") or jid in (seen.body or ""))

        start = mark = user.mark()
        for line in (f"login {network}", jid):
            mark = user.mark()
            await user.send_text(room, line)
            await user.wait_for(bot_says, timeout=30, after=mark)
        mark = user.mark()
        event_id = await user.send_text(room, password)
        answer = await user.wait_for(outcome, timeout=60, after=mark)
        if "⚠" in (answer.body or ""):
            raise AdminError(f"The bot did not log {user.user_id} in: {answer.body}")
        said = tuple(seen.body or "" for seen in user.seen[start:] if bot_says(seen))
        return LoginTalk(said, event_id)


def _postgres_process(pid_file: Path) -> int | None:
    """The server that wrote ``pid_file`` and still runs: after a crash the number may be another's."""
    try:
        pid = int(pid_file.read_text(encoding="ascii").split()[0])
        return pid if Path(f"/proc/{pid}/cwd").readlink() == pid_file.parent else None
    except (OSError, ValueError, IndexError):
        return None


def _loopback_config(bridge: Bridge, domain: str, prosody: XmppServer | None) -> Config:
    xmpp: Config = {"enabled": prosody is not None}
    if prosody is not None:
        server = {"host": prosody.host, "port": prosody.port, "tls": prosody.tls}
        xmpp["servers"] = {prosody.domain: server}
    return {
        "appservice": {"listen": f"{LOOPBACK}:{bridge.port}", "url": bridge.url},
        "permissions": {domain: "user"},
        "page": {"public_url": f"{bridge.url}/page/"},
        "networks": {"xmpp": xmpp},
    }


def _merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> Config:
    merged = dict(old)
    for key, value in new.items():
        inner = merged.get(key)
        both = isinstance(inner, dict) and isinstance(value, Mapping)
        merged[key] = _merge(inner, value) if both and inner is not None else value
    return merged
