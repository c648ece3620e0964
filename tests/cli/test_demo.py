"""The demo as a newcomer runs it: in a process of its own, on servers of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from dm_bridge.cli.demo import demo
from dm_bridge.errors import AdminError
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from dm_bridge.testing.synapse import REMEDY, Synapse

SECONDS = 90
COMMAND = [sys.executable, "-m", "dm_bridge", "demo"]


@contextlib.asynccontextmanager
async def running(directory: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(directory)},
    )
    try:
        async with asyncio.timeout(SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.communicate()


async def read_until(process: asyncio.subprocess.Process, text: str) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    while text not in "".join(lines):
        line = await process.stdout.readline()
        assert line, "".join(lines)
        lines.append(line.decode())
    return "".join(lines)


@pytest.fixture
def workplace() -> Iterator[Path]:
    """Where the demo finds room for its files: a short path, because sockets want one."""
    with tempfile.TemporaryDirectory(prefix="demo-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


def files(directory: Path) -> list[Path]:
    """What is left of the demo's own directory in ``directory``."""
    return list(directory.glob("dm-bridge-demo-*"))


def leftovers(directory: Path) -> list[str]:
    """The command lines of processes that name ``directory``, or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if str(directory) in command or str(directory) in str((process / "cwd").readlink()):
                found.append(command)
    return found


@pytest.mark.parametrize(
    ("network", "server", "name"),
    [("xmpp", "prosody", "Juliet Capulet"), ("irc", "ngircd", "Juliet")],
)
async def test_the_check_ends_with_one_line_of_json_that_tells_what_was_seen(
    workplace: Path, network: str, server: str, name: str
) -> None:
    async with running(workplace, "--check", "--network", network) as process:
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    seen = json.loads(output.decode().splitlines()[-1])
    assert seen["ok"] is True
    assert seen["invite_is_direct"] is True
    assert seen["ghost_name"] == name
    assert seen["m_direct"][seen["ghost"]] == [seen["room_id"]]
    assert seen["m_direct"].items() >= seen["m_direct_before"].items()
    assert seen["ghost"] not in seen["m_direct_before"]
    assert set(seen["latency_ms"]) == {"remote_to_matrix", "matrix_to_remote"}
    assert set(seen["versions"]) == {"dm_bridge", "python", "synapse", server, "postgresql"}
    assert leftovers(workplace) == []
    assert files(workplace) == []


async def test_it_stays_up_with_addresses_until_interrupted_and_then_leaves_nothing(
    workplace: Path,
) -> None:
    async with running(workplace) as process:
        text = await read_until(process, "Ctrl-C stops everything")
        assert "user @alice:demo.localhost" in text
        assert "juliet@localhost" in text
        assert len(leftovers(workplace)) >= 4
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0
    assert leftovers(workplace) == []
    assert files(workplace) == []


@pytest.mark.parametrize("moment", ["Prosody", "dm-bridge"])
async def test_a_termination_half_way_leaves_nothing(workplace: Path, moment: str) -> None:
    async with running(workplace) as process:
        await read_until(process, f"✓ {moment}")
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 1
    assert leftovers(workplace) == []
    assert files(workplace) == []


def test_a_failing_bridge_is_told_in_words_and_in_json(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> Stack:
        raise AdminError("The bridge ended while starting: it has no ticket.")

    monkeypatch.setattr(Stack, "start", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(workplace))
    result = CliRunner().invoke(demo, ["--check"])
    assert result.exit_code == 1
    seen = json.loads(result.stdout.splitlines()[-1])
    assert seen["ok"] is False
    assert seen["error"] == "The bridge ended while starting: it has no ticket."
    assert "The demo failed: The bridge ended while starting: it has no ticket." in result.stderr
    assert leftovers(workplace) == []
    assert files(workplace) == []


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    result = CliRunner().invoke(demo, ["--directory", str(tmp_path)])
    assert result.exit_code == 1
    assert "is not empty" in result.output


def test_without_synapse_it_says_what_to_install_before_anything_is_started(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> str:
        raise AdminError(REMEDY)

    async def too_early(*_: object, **__: object) -> Prosody:
        raise AssertionError("a server was started")

    monkeypatch.setattr(Synapse, "version", staticmethod(absent))
    monkeypatch.setattr(Prosody, "start", too_early)
    monkeypatch.setattr(tempfile, "tempdir", str(workplace))
    result = CliRunner().invoke(demo, ["--check"])
    assert result.exit_code == 1
    assert "pip install '.[demo]'" in json.loads(result.stdout.splitlines()[-1])["error"]
