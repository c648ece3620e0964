"""A real MQTT broker, Mosquitto, and people on it with clients of Mosquitto's own, for the conformance kit."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import getpass
import hashlib
import itertools
import json
import secrets
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dm_bridge_mqtt import connector

from dm_bridge.network.api import Connector
from dm_bridge.testing.certificates import CertificateFiles
from dm_bridge.testing.conformance import Account, Adapter, Heard
from dm_bridge.testing.processes import LOOPBACK, ManagedProcess, free_port

PASSWORD = "sesame 123"
SETTINGS = """\
per_listener_settings false
listener {port} {host}
allow_anonymous false
password_file {directory}/passwords
acl_file {directory}/rights
max_queued_messages 100000
user {user}
"""
ENCRYPTED = """\
listener {port} {host}
certfile {certificate}
keyfile {key}
"""
RIGHTS = """\
pattern read chat/%u/+
pattern readwrite chat/+/%u
"""
_devices = itertools.count(1)


def _program(name: str) -> str:
    return shutil.which(name) or f"/usr/sbin/{name}"


class Mosquitto:
    """A broker. ``accounts``: name and password of everybody.

    With a ``certificate`` it listens at ``tls_port``, too.
    """

    def __init__(
        self,
        directory: Path,
        *,
        certificate: CertificateFiles | None = None,
    ) -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.certificate = certificate
        self.accounts: dict[str, str] = {}
        self._directory = directory
        self._process = ManagedProcess(
            "Mosquitto",
            [_program("mosquitto"), "-c", str(directory / "mosquitto.conf")],
            log=directory / "mosquitto.log",
        )

    async def start(self) -> None:
        """Returns when it answers: from then on a SIGHUP lets it read its files, and before it ends it."""
        self._directory.mkdir(parents=True, exist_ok=True)
        settings = SETTINGS.format(
            port=self.port, host=LOOPBACK, directory=self._directory, user=getpass.getuser()
        )
        if (files := self.certificate) is not None:
            settings += ENCRYPTED.format(
                port=self.tls_port, host=LOOPBACK, certificate=files.certificate, key=files.key
            )
        (self._directory / "mosquitto.conf").write_text(settings)
        (self._directory / "rights").write_text(RIGHTS)
        self._write_passwords()

        async def answers() -> bool:
            stream, out = await asyncio.open_connection(LOOPBACK, self.port)
            out.write(b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0")  # CONNECT, with nothing in it
            try:
                return bool(await stream.read(1))
            finally:
                out.close()

        await self._process.start(answers, timeout=60)

    async def stop(self) -> None:
        await self._process.stop()

    async def add(self, name: str) -> None:
        """An account that can connect."""
        self.accounts[name] = PASSWORD
        await self._read_again(name, accepted=True)

    async def remove(self, name: str) -> None:
        """The account is refused from now on, and its connections are closed."""
        del self.accounts[name]
        await self._read_again(name, accepted=False)

    def client(self, program: str, name: str) -> list[str]:
        """The command of a client of ``name``; each is a device of its own."""
        device = f"person-{next(_devices)}"
        return [
            program, "-h", LOOPBACK, "-p", str(self.port), "-V", "mqttv311", "-q", "1",
            "-i", device, "-u", name, "-P", PASSWORD,
        ]  # fmt: skip

    async def _read_again(self, name: str, *, accepted: bool) -> None:
        """Write the accounts, and return once the broker goes by them.

        It forgets a SIGHUP that arrives while it deals with another, so each attempt sends one.
        """
        self._write_passwords()
        async with asyncio.timeout(60):
            self._process.signal(signal.SIGHUP)
            while await self._accepts(name) is not accepted:
                self._process.signal(signal.SIGHUP)

    async def _accepts(self, name: str) -> bool:
        process = await asyncio.create_subprocess_exec(
            *self.client("mosquitto_pub", name), "-t", f"chat/{name}/{name}", "-n",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        return await process.wait() == 0

    def _write_passwords(self) -> None:
        lines = []
        for name, password in self.accounts.items():
            salt = secrets.token_bytes(12)
            digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1)
            encoded = (base64.b64encode(part).decode() for part in (salt, digest))
            lines.append(f"{name}:$7$1${'$'.join(encoded)}\n")
        new = self._directory / "passwords.new"
        new.write_text("".join(lines))
        new.chmod(0o600)
        new.replace(self._directory / "passwords")


class Somebody:
    """A `Person`."""

    def __init__(self, broker: Mosquitto, name: str) -> None:
        self.address = name
        self._broker = broker
        self._read: dict[str, Heard] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Returns when everything is heard from now on."""
        self._process = await asyncio.create_subprocess_exec(
            "stdbuf", "-oL", *self._broker.client("mosquitto_sub", self.address),
            "-t", f"chat/{self.address}/+", "-W", "600", "-F", "%j", "-d",
            stdout=asyncio.subprocess.PIPE, limit=2**24,
        )  # fmt: skip
        subscribed = asyncio.Event()
        self._reading = asyncio.create_task(self._hear(self._process, subscribed))
        async with asyncio.timeout(60):
            await subscribed.wait()

    @property
    def heard(self) -> Sequence[Heard]:
        return list(self._read.values())

    async def say(self, to: str, text: str) -> None:
        said = {"id": secrets.token_hex(8), "text": text, "sent": time.time(), "device": "phone"}
        await self.publish(to, json.dumps(said))

    async def publish(self, to: str, payload: str) -> None:
        """Publish anything."""
        process = await asyncio.create_subprocess_exec(
            *self._broker.client("mosquitto_pub", self.address),
            "-t", f"chat/{to}/{self.address}", "-s",
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            await process.communicate(payload.encode())
        assert process.returncode == 0, "mosquitto_pub could not publish"

    async def leave(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            await self._reading

    async def _hear(self, process: asyncio.subprocess.Process, subscribed: asyncio.Event) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if line.startswith(b"Subscribed"):
                subscribed.set()
            elif line.startswith(b"{"):
                arrived = json.loads(line)
                said = json.loads(arrived["payload"])
                sender = arrived["topic"].split("/")[2]
                self._read.setdefault(said["id"], Heard(sender, said["text"]))


class MqttAdapter(Adapter):
    connector: Connector = connector
    strange = (
        "Mixed.CASE name",
        "50%",
        "%u",
        "$SYS",
        "a@b=c&d;e,f|g\\h'i\"j",
        "=h00ff=5f_x",
        "jülïet名前👋🏽",
        "x" * 200,
    )
    hostile = ('before","id":"injected","text":"after', "before/+/#after", "before\\u0000after")

    async def start(self, directory: Path) -> tuple[str, int]:
        self.broker = Mosquitto(directory)
        await self.broker.start()
        return LOOPBACK, self.broker.port

    async def stop(self) -> None:
        await self.broker.stop()

    def config(self, host: str, port: int) -> Mapping[str, Any]:
        return {"host": host, "port": port, "tls": False, "quiet": 0.5, "retry": 0.05}

    async def account(self, name: str) -> Account:
        await self.broker.add(name)
        right, wrong = ({"name": name, "password": word} for word in (PASSWORD, "wrong"))
        return Account(name, (right,), (wrong,))

    async def person(self, name: str) -> Somebody:
        await self.broker.add(name)
        return await self._client(name)

    async def device(self, account: Account) -> Somebody:
        return await self._client(account.address)

    async def revoke(self, account: Account) -> None:
        await self.broker.remove(account.address)

    def emote(self, text: str) -> str:
        return f"/me {text}"

    async def _client(self, name: str) -> Somebody:
        somebody = Somebody(self.broker, name)
        await somebody.listen()
        return somebody
