"""Processes of servers: they start when they are ready, and none is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dm_bridge.errors import AdminError
from dm_bridge.testing.processes import LOOPBACK, ManagedProcess, free_port


def python(log: Path, code: str) -> ManagedProcess:
    return ManagedProcess("the child", [sys.executable, "-u", "-c", textwrap.dedent(code)], log=log)


def log_says(process: ManagedProcess, text: str) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return text in process.log_tail()

    return probe


def exists(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def gone(pid: int, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while exists(pid):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def test_a_free_port_can_be_listened_on_at_once() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()


async def test_starting_returns_when_the_probe_says_ready(tmp_path: Path) -> None:
    process = python(tmp_path / "log", "import time; time.sleep(0.2); print('up'); time.sleep(60)")
    await process.start(log_says(process, "up"), timeout=60)
    try:
        assert process.running
        assert process.log_tail() == "up"
    finally:
        await process.stop()


async def test_a_process_that_ends_while_starting_is_reported_with_its_log(tmp_path: Path) -> None:
    process = python(tmp_path / "log", "import sys; print('no such option'); sys.exit(3)")
    with pytest.raises(AdminError, match=r"(?s)ended while starting.*no such option"):
        await process.start(log_says(process, "up"), timeout=60)
    assert not process.running


async def test_a_process_that_never_becomes_ready_is_reported_and_killed(tmp_path: Path) -> None:
    process = python(tmp_path / "log", "import time; time.sleep(60)")
    pids: set[int] = set()

    async def never() -> bool:
        pids.add(process.pid)
        return False

    with pytest.raises(AdminError, match="not ready after 1 seconds"):
        await process.start(never, timeout=1)
    (pid,) = pids
    assert await gone(pid)


async def test_a_missing_program_is_an_error_that_names_it(tmp_path: Path) -> None:
    process = ManagedProcess("the child", [str(tmp_path / "absent")], log=tmp_path / "log")
    with pytest.raises(AdminError, match="absent"):
        await process.start(log_says(process, "up"), timeout=60)


async def test_stopping_lets_the_process_end_in_order(tmp_path: Path) -> None:
    process = python(
        tmp_path / "log",
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: (print("goodbye"), sys.exit(7)))
        print("up")
        time.sleep(60)
        """,
    )
    await process.start(log_says(process, "up"), timeout=60)
    assert await process.stop() == 7
    assert process.log_tail() == "up\ngoodbye"
    assert await process.stop() is None


async def test_stopping_kills_what_ignores_the_request_and_its_children(tmp_path: Path) -> None:
    process = python(
        tmp_path / "log",
        """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid)
        time.sleep(60)
        """,
    )
    await process.start(_has_line(process), timeout=60)
    pid, grandchild = process.pid, int(process.log_tail())
    assert await process.stop(timeout=0.3) == -signal.SIGKILL
    assert not exists(pid)
    assert await gone(grandchild)


def _has_line(process: ManagedProcess) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return bool(process.log_tail())

    return probe


async def test_a_process_does_not_share_our_terminals_interrupt(tmp_path: Path) -> None:
    process = python(tmp_path / "log", "import time; print('up'); time.sleep(60)")
    await process.start(log_says(process, "up"), timeout=60)
    try:
        assert os.getpgid(process.pid) != os.getpgid(0)
        assert os.getsid(process.pid) != os.getsid(0)
    finally:
        await process.stop()


async def test_waiting_gives_the_exit_status_or_times_out(tmp_path: Path) -> None:
    process = python(
        tmp_path / "log", "import sys, time; print('up'); time.sleep(0.5); sys.exit(4)"
    )
    await process.start(log_says(process, "up"), timeout=60)
    with pytest.raises(TimeoutError):
        await process.wait(0.05)
    assert await process.wait(10) == 4


PARENT = """
import asyncio, os, sys, threading
from pathlib import Path
from dm_bridge.testing.processes import ManagedProcess

async def main():
    process = ManagedProcess("child", [sys.executable, "-c", "import time; time.sleep(60)"],
                             log=Path(sys.argv[1]))
    await process.start()
    await asyncio.sleep(0.5)  # until the child is past its launcher
    print(process.pid, flush=True)
    match sys.argv[2]:
        case "return": return
        case "raise": raise RuntimeError("half-way")
        case "killed": os.kill(os.getpid(), 9)
        case "terminated": os.kill(os.getpid(), 15)
        case "thread":
            await asyncio.sleep(3)

if sys.argv[2] == "thread":
    seen = []
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    print("thread ended", flush=True)
    sys.stdin.read()
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("ending", ["return", "raise", "killed", "terminated"])
async def test_no_process_outlives_us_however_we_end(tmp_path: Path, ending: str) -> None:
    parent = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PARENT, str(tmp_path / "log"), ending],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert await gone(int(parent.stdout)), parent.stderr


async def test_a_process_survives_the_end_of_the_thread_that_started_it(tmp_path: Path) -> None:
    code = PARENT.replace("await asyncio.sleep(3)", "pass")
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path / "log"), "thread",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    assert parent.stdin is not None
    try:
        async with asyncio.timeout(30):
            pid = int(await parent.stdout.readline())
            assert await parent.stdout.readline() == b"thread ended\n"
            await asyncio.sleep(0.3)
            assert exists(pid)
            parent.stdin.close()
            await parent.wait()
        assert await gone(pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            parent.kill()
        await parent.wait()


async def test_a_free_port_is_free_while_other_threads_start_processes(tmp_path: Path) -> None:
    """A new process has a moment in which it holds what we have open."""
    done = threading.Event()

    def start_processes(number: int) -> None:
        async def one() -> None:
            process = ManagedProcess("true", ["true"], log=tmp_path / f"log{number}")
            await process.start()
            await process.kill()

        while not done.is_set():
            asyncio.run(one())

    threads = [threading.Thread(target=start_processes, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(1500):
            port = free_port()
            with socket.socket() as server:
                server.bind((LOOPBACK, port))  # raises when something holds it
    finally:
        done.set()
        for thread in threads:
            thread.join()
