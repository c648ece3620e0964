"""Managed subprocesses: start, wait until ready, stop for certain.

Ctrl-C on a terminal reaches its whole foreground process group, so every process here gets a
session of its own and is stopped by us, in our order.

The rule that must never break: no process outlives the one that started it. Stopping kills the
whole group; leaving Python by any ordinary way stops what is left; and where the kernel can (Linux)
it sends SIGTERM to the process if we are killed without a word.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from dm_bridge.errors import AdminError

LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 0.02
_FAILED_START_SECONDS = 5.0
_FIRST_PORT = 15000
_SPAWNING = threading.Lock()
"""Until its program runs, a new process has open what this one has: also the port that a `free_port` tries."""
_RANDOM = (
    random.SystemRandom()
)  # a seed that a test sets must not choose the same ports in two processes
_EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_PR_SET_PDEATHSIG = 1

_TIED_LAUNCHER = f"""
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, int(signal.SIGTERM), 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def free_port() -> int:
    """A TCP port nobody listens on now, on 127.0.0.1.

    Taken from below the range of outgoing connections, so that none of them can occupy it before, or
    while, its server restarts.
    """
    end = 32768
    with contextlib.suppress(OSError, ValueError, IndexError):
        end = int(_EPHEMERAL_PORTS.read_text(encoding="ascii").split()[0])
    for _ in range(100 if end > _FIRST_PORT + 1000 else 0):
        with _SPAWNING, socket.socket() as candidate:
            port = _RANDOM.randrange(_FIRST_PORT, end)
            with contextlib.suppress(OSError):
                candidate.bind((LOOPBACK, port))
                return port
    with _SPAWNING, socket.socket() as candidate:
        candidate.bind((LOOPBACK, 0))
        return int(candidate.getsockname()[1])


class ManagedProcess:
    """One subprocess in a session of its own, its output in a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        """``name`` is used in messages; ``environment`` replaces ours when given; ``log`` is appended to."""
        self.name = name
        self.log = log
        self._command = [str(part) for part in command]
        self._environment = dict(environment) if environment is not None else None
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises RuntimeError while not started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and not self._has_exited(self._process)

    async def start(
        self, ready: Callable[[], Awaitable[bool]] | None = None, *, timeout: float = 60.0
    ) -> None:
        """Start, and wait until ``ready`` returns True (asked about every 50 ms).

        Raises `AdminError`, with the end of the log, when the process ends first or is not ready after
        ``timeout`` seconds; nothing is left running then.
        """
        if self._process is not None:
            raise RuntimeError(f"{self.name} is already running")
        self._spawn()
        try:
            await self._wait_ready(ready, time.monotonic() + timeout, timeout)
        except BaseException:
            await self.stop(_FAILED_START_SECONDS)
            raise

    def _spawn(self) -> None:
        command = self._command
        if shutil.which(command[0]) is None:
            raise AdminError(f"{self.name} could not be started: there is no program {command[0]}.")
        # The kernel sends the signal when the *thread* that forked ends: only the main thread, which
        # ends with the process, may ask for it.
        if sys.platform == "linux" and threading.get_native_id() == os.getpid():
            command = [
                sys.executable, "-I", "-S", "-c", _TIED_LAUNCHER, str(os.getpid()), *command,
            ]  # fmt: skip
        with self.log.open("ab") as output, _SPAWNING:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._directory,
                    env=self._environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise AdminError(f"{self.name} could not be started: {error}.") from error
        atexit.register(self._kill_now)

    async def _wait_ready(
        self, ready: Callable[[], Awaitable[bool]] | None, deadline: float, timeout: float
    ) -> None:
        while ready is not None:
            if not self.running:
                raise AdminError(f"{self.name} ended while starting. {self._log_excerpt()}")
            try:
                async with asyncio.timeout(max(0.1, deadline - time.monotonic())):
                    if await ready():
                        return
            except (OSError, TimeoutError):
                pass
            if time.monotonic() > deadline:
                raise AdminError(
                    f"{self.name} was not ready after {timeout:.0f} seconds. {self._log_excerpt()}"
                )
            await asyncio.sleep(0.05)

    def _log_excerpt(self) -> str:
        tail = self.log_tail()
        return f"The end of its log:\n{tail}" if tail else "Its log is empty."

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of the log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    async def wait(self, timeout: float) -> int:
        """The exit status (negative: the signal) once the process has ended.

        Raises TimeoutError when it has not after ``timeout`` seconds.
        """
        process = self._process
        if process is None:
            raise RuntimeError(f"{self.name} is not running")
        deadline = time.monotonic() + timeout
        while not self._has_exited(process):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is still running after {timeout:.0f} seconds")
            await asyncio.sleep(_POLL_SECONDS)
        self._kill_now()
        return process.returncode

    async def stop(self, timeout: float = 10.0) -> int | None:
        """SIGTERM, and SIGKILL to the whole group after ``timeout`` seconds; the exit status.

        None when it was not running. Cancelled, it kills at once.
        """
        process = self._process
        if process is None:
            return None
        try:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await self.wait(timeout)
        finally:
            self._kill_now()
        return process.returncode

    async def kill(self) -> None:
        """SIGKILL to the whole group, as a crash would; returns when it is gone."""
        self._kill_now()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself (SIGSTOP makes it hang, SIGCONT wakes it)."""
        if self.running:
            os.kill(self.pid, number)

    @staticmethod
    def _has_exited(process: subprocess.Popen[bytes]) -> bool:
        """Whether it has exited, without reaping it: its group id stays ours until `_kill_now`."""
        if process.returncode is not None:
            return True
        try:
            status = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return status is not None

    def _kill_now(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        atexit.unregister(self._kill_now)
