"""What the bridge says when it cannot start, or cannot talk to its homeserver: each a sentence that
names the setting to change, and never a traceback."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import asyncpg
import pytest_asyncio

from dm_bridge.testing.processes import free_port
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace

DOMAIN = "startup.localhost"


@pytest_asyncio.fixture(scope="module")
async def stopped(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Stack]:
    """A homeserver that knows the bridge; the bridge itself is stopped."""
    stack = await Stack.start(workplace("startup"), prosody=prosody, domain=DOMAIN)
    await stack.bridge.stop()
    yield stack
    await stack.stop()


@dataclass(frozen=True)
class Attempt:
    """How a run ended. ``code``: None when it was still running and had to be stopped."""

    code: int | None
    output: str


async def attempt(
    stack: Stack, changes: Mapping[str, str], *, until: str = "", arguments: tuple[str, ...] = ()
) -> Attempt:
    """Run with these environment variables until it ends, or has said ``until``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dm_bridge", "run", "-c", str(stack.bridge.config_path), *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=stack.bridge.directory,
        env={**os.environ, **{f"DM_BRIDGE__{key}": value for key, value in changes.items()}},
    )  # fmt: skip
    assert process.stdout is not None
    output = ""
    code: int | None = None
    try:
        async with asyncio.timeout(60):
            while line := await process.stdout.readline():
                output += line.decode()
                if until and until in output:
                    break
            else:
                code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            rest, _ = await process.communicate()
            output += rest.decode()
    assert "Traceback" not in output
    return Attempt(code, output)


async def test_a_token_that_the_homeserver_does_not_know_is_named(stopped: Stack) -> None:
    result = await attempt(stopped, {"APPSERVICE__AS_TOKEN": "not-the-token-at-all"})
    assert result.code == 1
    assert "does not know our appservice.as_token" in result.output
    assert "dm-bridge registration" in result.output
    assert "not-the-token-at-all" not in result.output


async def test_a_wrong_domain_is_named(stopped: Stack) -> None:
    result = await attempt(stopped, {"HOMESERVER__DOMAIN": "elsewhere.org"})
    assert result.code == 1
    assert f"The homeserver's name is {DOMAIN}" in result.output
    assert "homeserver.domain" in result.output


async def test_a_wrong_bot_is_named(stopped: Stack) -> None:
    result = await attempt(stopped, {"APPSERVICE__BOT": "otherbot"})
    assert result.code == 1
    assert "appservice.bot" in result.output


async def test_a_homeserver_that_is_not_there_is_waited_for(stopped: Stack) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = await attempt(stopped, {"HOMESERVER__URL": url}, until="waiting for the homeserver")
    assert result.code is None
    assert f"{url} cannot be reached" in result.output
    assert "homeserver.url" in result.output


async def test_an_address_at_which_there_is_no_homeserver_is_named(stopped: Stack) -> None:
    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        result = await attempt(stopped, {"HOMESERVER__URL": f"http://127.0.0.1:{port}"})
    assert result.code == 1
    assert "no Matrix homeserver" in result.output


async def test_a_second_registration_that_is_missing_is_named_and_the_bridge_runs(
    stopped: Stack,
) -> None:
    result = await attempt(
        stopped, {"APPSERVICE__ACCOUNTS_TOKEN": "not-the-accounts-token"}, until="is running"
    )
    assert result.code is None
    assert "registration-accounts.yaml" in result.output


async def test_a_homeserver_that_cannot_reach_the_bridge_is_told(stopped: Stack) -> None:
    result = await attempt(
        stopped,
        {"APPSERVICE__LISTEN": f"127.0.0.1:{free_port()}"},
        until="The homeserver cannot reach us",
    )
    assert "appservice.url" in result.output


async def test_a_ping_that_another_program_answers_is_told(stopped: Stack) -> None:
    async def yes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    port = int(stopped.bridge.config()["appservice"]["listen"].rpartition(":")[2])
    server = await asyncio.start_server(yes, "127.0.0.1", port)
    async with server:
        result = await attempt(
            stopped,
            {
                "APPSERVICE__LISTEN": f"127.0.0.1:{free_port()}",
                "APPSERVICE__URL": f"http://127.0.0.1:{port}",
            },
            until="reaches another program than this one",
        )
    assert "appservice.url" in result.output
    assert "the homeserver reaches the bridge" not in result.output


async def test_an_id_that_differs_from_the_registration_is_told(stopped: Stack) -> None:
    result = await attempt(stopped, {"APPSERVICE__ID": "another"}, until="another id than")
    assert "appservice.id" in result.output


async def test_an_hs_token_that_differs_is_told(stopped: Stack) -> None:
    result = await attempt(
        stopped, {"APPSERVICE__HS_TOKEN": "another-hs-token-of-ours"}, until="its hs_token differs"
    )
    assert result.code is None


async def test_a_port_that_is_taken_is_named(stopped: Stack) -> None:
    taken = stopped.synapse.port
    result = await attempt(stopped, {"APPSERVICE__LISTEN": f"127.0.0.1:{taken}"})
    assert result.code == 1
    assert "appservice.listen" in result.output


async def test_a_database_that_is_absent_is_named(stopped: Stack) -> None:
    url = f"postgresql://nobody:sesame@127.0.0.1:{free_port()}/none"
    result = await attempt(stopped, {"DATABASE__URL": url})
    assert result.code == 1
    assert "database.url" in result.output
    assert "sesame" not in result.output


async def test_a_newer_or_missing_schema_is_told(stopped: Stack) -> None:
    await stopped.bridge.run()
    socket = stopped.bridge.config_path.parent / "data" / "postgres"
    admin = f"postgresql://postgres@/postgres?host={socket}"
    try:
        connection = await asyncpg.connect(admin)
        await connection.execute("CREATE DATABASE empty")
        await connection.execute("CREATE DATABASE newer")
        await connection.close()
        urls = {name: f"postgresql://postgres@/{name}?host={socket}" for name in ("empty", "newer")}
        elsewhere = {"APPSERVICE__LISTEN": f"127.0.0.1:{free_port()}"}
        result = await attempt(
            stopped, {**elsewhere, "DATABASE__URL": urls["empty"]}, arguments=("--no-migrate",)
        )
        assert result.code == 1
        assert "dm-bridge migrate" in result.output
        newer = await asyncpg.connect(urls["newer"])
        await newer.execute("CREATE TABLE alembic_version (version_num text)")
        await newer.execute("INSERT INTO alembic_version VALUES ('9999')")
        await newer.close()
        result = await attempt(stopped, {**elsewhere, "DATABASE__URL": urls["newer"]})
        assert result.code == 1
        assert "upgrade dm_bridge" in result.output
    finally:
        await stopped.bridge.stop()
