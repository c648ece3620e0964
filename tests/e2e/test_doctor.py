"""``dm-bridge doctor`` on real servers: what it says when all is well, and of each thing that is not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import yaml
from click.testing import CliRunner

from dm_bridge.cli.main import cli
from dm_bridge.testing.processes import free_port
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Bridge, Stack
from tests.e2e.conftest import Workplace
from tests.logs import logging_put_back

DOMAIN = "doctor.localhost"
LONGEST = 15.0


@dataclass(frozen=True)
class Other:
    """A registration of another bridge. ``users``: its namespace. ``typing``: whether it asks for that."""

    id: str
    users: str
    typing: bool
    port: int

    @property
    def token(self) -> str:
        return f"a-token-of-the-bridge-{self.id}"

    def write(self, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.id}.yaml"
        users = [{"exclusive": False, "regex": self.users}]
        registration = {
            "id": self.id,
            "url": f"http://127.0.0.1:{self.port}",
            "as_token": self.token,
            "hs_token": self.token + "-hs",
            "sender_localpart": f"{self.id}bot",
            "receive_ephemeral": self.typing,
            "namespaces": {"users": users, "aliases": [], "rooms": []},
        }
        path.write_text(yaml.safe_dump(registration))
        return path

    @property
    def changes(self) -> dict[str, str]:
        """What makes the doctor take it for that of our bridge."""
        address = f"127.0.0.1:{self.port}"
        return {
            "APPSERVICE__ID": self.id,
            "APPSERVICE__AS_TOKEN": self.token,
            "APPSERVICE__HS_TOKEN": self.token + "-hs",
            "APPSERVICE__BOT": f"{self.id}bot",
            "APPSERVICE__LISTEN": address,
            "APPSERVICE__URL": f"http://{address}",
        }


@pytest.fixture(autouse=True, scope="module")
def _logging() -> Iterator[None]:
    with logging_put_back():
        yield


@pytest.fixture(scope="module")
def wide() -> Other:
    """Its namespace is everybody."""
    return Other("wide", ".*", True, free_port())


@pytest.fixture(scope="module")
def quiet() -> Other:
    """Its namespace is right, and it asks for no typing."""
    return Other("quiet", "@_quiet_.*", False, free_port())


@pytest_asyncio.fixture(scope="module")
async def stack(
    prosody: Prosody, postgres: str, workplace: Workplace, wide: Other, quiet: Other
) -> AsyncIterator[Stack]:
    """A homeserver that knows the bridge, which is not started before `test_what_waits` does so."""
    directory = workplace("doctor")

    files = [directory / "registration.yaml", directory / "registration-accounts.yaml"]
    files += [other.write(directory) for other in (wide, quiet)]

    def registrations(_: Bridge) -> dict[str, Any]:
        return {"app_service_config_files": list(map(str, files))}

    connection = await asyncpg.connect(postgres)
    await connection.execute("CREATE DATABASE doctor TEMPLATE template_of_tests")
    await connection.execute("CREATE DATABASE stale TEMPLATE template_of_tests")
    await connection.close()
    stack = await Stack.start(
        directory,
        prosody=prosody,
        domain=DOMAIN,
        config={"database": {"url": postgres.replace("/postgres?", "/doctor?")}},
        synapse_config=registrations,
        run=False,
    )
    yield stack
    await stack.stop()
    connection = await asyncpg.connect(postgres)
    await connection.execute("DROP DATABASE doctor WITH (FORCE)")
    await connection.execute("DROP DATABASE stale WITH (FORCE)")
    await connection.close()


@dataclass(frozen=True)
class Report:
    """What the doctor said: sentences by verdict, each with what it is about before it."""

    code: int
    text: str
    lines: dict[str, list[str]]

    def __getitem__(self, verdict: str) -> str:
        return "\n".join(self.lines.get(verdict, []))


class Doctor:
    """The command, run in a thread."""

    def __init__(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stack = stack
        self._monkeypatch = monkeypatch

    async def __call__(self, **changes: str) -> Report:
        """With these variables, after ``DM_BRIDGE__``."""
        for name, value in changes.items():
            self._monkeypatch.setenv(f"DM_BRIDGE__{name}", value)
        arguments = ["doctor", "--json", "-c", str(self._stack.bridge.config_path)]
        began = time.monotonic()
        result = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
        assert time.monotonic() - began < LONGEST
        answer = json.loads(result.stdout)
        lines: dict[str, list[str]] = {}
        for finding in answer["findings"]:
            lines.setdefault(finding["verdict"], []).append(
                f"{finding['about']}: {finding['sentence']}"
            )
        assert "a bug" not in result.output
        for secret in ("a-token-of", stack_token(self._stack)):
            assert secret not in result.output
        return Report(result.exit_code, result.output, lines)


def stack_token(stack: Stack) -> str:
    return str(stack.bridge.config()["appservice"]["as_token"])


@pytest.fixture
def doctor(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    return Doctor(stack, monkeypatch)


async def test_it_stands_in_for_a_bridge_that_does_not_run(doctor: Doctor) -> None:
    report = await doctor()
    assert (report.code, set(report.lines)) == (0, {"ok", "note"}), report.text
    assert "bridge: The bridge does not run; the doctor listened at" in report["note"]
    assert "typing and receipts: The homeserver pushes" in report["ok"]


async def test_a_database_that_is_old_or_not_ours_is_told(doctor: Doctor, postgres: str) -> None:
    url = postgres.replace("/postgres?", "/stale?")
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE alembic_version SET version_num = '0001'")
    await connection.execute("CREATE ROLE reader LOGIN")
    report = await doctor(DATABASE__URL=url)
    assert report.code == 3
    (line,) = report.lines["mend"]
    assert line.startswith("schema: The database has schema 0001; this version needs")
    assert "Run `dm-bridge migrate`" in line
    report = await doctor(DATABASE__URL=url.replace("postgres:@", "reader:@"))
    await connection.execute("DROP ROLE reader")
    await connection.close()
    assert report.code == 3
    (line,) = report.lines["mend"]
    assert line.startswith("database rights: The user in database.url may not create tables")
    assert "ALTER SCHEMA public OWNER TO" in line


async def test_a_token_that_differs_is_told_apart_from_files_that_are_not_there(
    doctor: Doctor,
) -> None:
    report = await doctor(APPSERVICE__AS_TOKEN="a-token-that-is-not-known")
    assert report.code == 3
    assert (
        "first registration: The homeserver does not know our appservice.as_token" in report["mend"]
    )
    assert "It does know registration-accounts.yaml" in report["mend"]
    assert "second registration: " in report["ok"]
    report = await doctor(APPSERVICE__ACCOUNTS_TOKEN="another-token-that-is-not-known")
    assert report.code == 3
    assert "It knows neither of the two files" in report["mend"]
    assert (
        "list both files it writes in the homeserver's app_service_config_files" in report["mend"]
    )
    assert (
        "second registration: The homeserver does not know appservice.accounts_token"
        in report["mend"]
    )
    assert "files: Not checked" in report["unknown"]


async def test_a_wrong_url_in_the_registration_is_told(doctor: Doctor) -> None:
    port = free_port()
    report = await doctor(
        APPSERVICE__LISTEN=f"127.0.0.1:{port}", APPSERVICE__URL=f"http://127.0.0.1:{port}"
    )
    assert report.code == 3
    (line,) = report.lines["mend"]
    assert line.startswith("ping: The homeserver cannot reach us at")
    assert "the `url` in the homeserver's copy of registration.yaml is another one" in line
    assert "Run `dm-bridge registration --force`" in line


async def test_another_hs_token_is_told(doctor: Doctor) -> None:
    report = await doctor(APPSERVICE__HS_TOKEN="an-hs-token-that-differs")
    assert report.code == 3
    (line,) = report.lines["mend"]
    assert "shows another hs_token than appservice.hs_token" in line
    assert "Run `dm-bridge registration --force`" in line


async def test_a_registration_that_is_too_wide_or_overlaps_is_told(
    doctor: Doctor, wide: Other
) -> None:
    report = await doctor(**wide.changes)
    assert report.code == 3
    assert "user ids such as @_dm_doctor_check" in report["mend"]
    assert "the namespaces overlap" in report["mend"]
    report = await doctor(**wide.changes, APPSERVICE__GHOST_PREFIX="_wide_")
    assert report.code == 3
    (line,) = report.lines["mend"]
    assert line.startswith("strangers: The first registration may act as @widebot-accounts")
    assert "is too wide" in line
    assert "Run `dm-bridge registration --force`" in line


async def test_a_registration_that_asks_for_no_typing_is_told(doctor: Doctor, quiet: Other) -> None:
    report = await doctor(**quiet.changes, APPSERVICE__GHOST_PREFIX="_quiet_")
    assert report.code == 3
    (line,) = report.lines["mend"]
    assert line.startswith("typing and receipts: The homeserver pushes no typing")
    assert "receive_ephemeral" in line


async def test_what_is_down_is_named_and_the_rest_is_still_looked_at(doctor: Doctor) -> None:
    down = free_port()
    report = await doctor(DATABASE__URL=f"postgresql://nobody:sesame@127.0.0.1:{down}/none")
    assert report.code == 3
    (line,) = report.lines["mend"]
    assert line.startswith("database: PostgreSQL cannot be used right now")
    assert "Check that it runs and that database.url is right." in line
    assert "files: Files come and go" in report["ok"]
    assert "sesame" not in report.text
    report = await doctor(HOMESERVER__URL=f"http://127.0.0.1:{down}")
    assert report.code == 3
    assert (
        f"homeserver: The homeserver at http://127.0.0.1:{down} cannot be reached" in report["mend"]
    )
    assert "homeserver.url is right" in report["mend"]
    assert "first registration: Not checked" in report["unknown"]


@asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """The port of a server that takes connections, and never says anything."""

    async def hush(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            pass
        writer.close()

    server = await asyncio.start_server(hush, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_nothing_hangs_where_nobody_answers(doctor: Doctor) -> None:
    async with silence() as port:
        report = await doctor(
            HOMESERVER__URL=f"http://127.0.0.1:{port}",
            DATABASE__URL=f"postgresql://nobody@127.0.0.1:{port}/none",
            APPSERVICE__LISTEN=f"127.0.0.1:{port}",
            NETWORKS__XMPP__SERVERS=json.dumps(
                {"silent.test": {"host": "127.0.0.1", "port": port}}
            ),
        )
    assert report.code == 3
    for said in (
        "bridge: What listens at",
        "database: PostgreSQL did not answer within",
        f"homeserver: The homeserver at http://127.0.0.1:{port} did not answer within",
        "XMPP: The XMPP server of silent.test cannot be reached at",
    ):
        assert said in report["mend"]


async def test_what_waits_for_the_bridge_is_left_to_it(stack: Stack, doctor: Doctor) -> None:
    async with stack.matrix_user("waiting") as alice:
        room = await alice.create_room(invite=[stack.bot], is_direct=True)
        report = await doctor()
        assert report.code == 1
        assert "typing and receipts" in report["unknown"]
        assert "Start it, and run the doctor again." in report["unknown"]
        await stack.bridge.run()
        await alice.wait_for(
            lambda seen: (
                (seen.room_id, seen.type, seen.sender) == (room, "m.room.member", stack.bot)
                and seen.content.get("membership") == "join"
            ),
            timeout=60,
        )


async def test_all_is_well_with_a_bridge_that_runs(stack: Stack, doctor: Doctor) -> None:
    await stack.prosody.add_user("doctors", "secret")
    async with stack.matrix_user("alice") as alice:
        await stack.log_in(alice, await stack.open_bot_chat(alice), "doctors@localhost", "secret")
    report = await doctor()
    assert (report.code, set(report.lines)) == (0, {"ok"}), report.text
    for said in (
        f"@dmbot:{DOMAIN}, for XMPP.",
        "bridge: The bridge runs at",
        "database: PostgreSQL",
        "key: The key is there and opens what is stored.",
        "schema: The schema is up to date",
        "homeserver: Synapse",
        "clock: The clocks of this machine and of the homeserver agree.",
        "clock: The clocks of this machine and of the database agree.",
        "second registration: The homeserver lets the bridge act for its users.",
        "ghosts: The bridge may act as its ghosts",
        "strangers: The first registration is refused",
        "ping: The homeserver reaches the bridge",
        "typing and receipts: The homeserver pushes",
        "files: Files come and go; up to",
        "page: The page is at http://",
        "XMPP: localhost answers at",
    ):
        assert said in report["ok"]


async def test_a_bridge_that_runs_with_another_configuration_is_told(doctor: Doctor) -> None:
    report = await doctor(APPSERVICE__HS_TOKEN="an-hs-token-that-was-changed")
    assert report.code == 3
    (line,) = report.lines["mend"]
    assert line.startswith("bridge: The bridge that runs at")
    assert "has another hs_token than this configuration" in line
    assert "Restart it" in line
