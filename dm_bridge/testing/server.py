"""What the starters of servers share: the process, and what becomes of it."""

from __future__ import annotations

import abc
import signal
from pathlib import Path

from dm_bridge.testing.processes import ManagedProcess


class Server(abc.ABC):
    """A running server; ``_process`` is set by those who start it."""

    _process: ManagedProcess
    _stop_seconds = 10.0
    """Until it is killed."""

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

    @abc.abstractmethod
    async def start_process(self) -> None:
        """Start; returns when clients can connect. Raises `AdminError`."""

    async def stop(self) -> None:
        """Stop in order; the data stay."""
        await self._process.stop(timeout=self._stop_seconds)

    async def kill(self) -> None:
        """End at once, as a crash would; ejabberd may have lost what it took in the two seconds before."""
        await self._process.kill()

    async def restart(self) -> None:
        """Stop if running, and start again: same ports, same data, configuration read anew."""
        await self.stop()
        await self.start_process()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP makes the server hang without closing anything."""
        self._process.signal(number)
