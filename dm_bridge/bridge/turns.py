"""When logins have their turn at work that nothing waits for: one at a time, a while after the last change.

The rule that must never break: only one login is at work; one that fails waits for longer each time, and keeps no
other from its turn.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

import structlog

from dm_bridge.errors import BridgeError, may_pass
from dm_bridge.ids import LoginId
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

DELAY = 3.0
"""Seconds without a change after which a login has its turn: an import changes much at once."""
LATEST = 60.0
"""Seconds after which it has its turn although there are changes."""
PAUSE = 0.2
"""Seconds between two turns."""
LONGEST_PAUSE = 300.0
_FIRST = float("-inf")
"""When a login is due for which somebody waits: before all others."""


@dataclass(slots=True)
class _Turn:
    """When it is due, and at the latest, by the clock of the loop. ``done``: that has happened."""

    due: float
    latest: float
    failures: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Turns:
    """``work``: does what is to be done for a login; whether there is more. `run` must run."""

    def __init__(
        self,
        work: Callable[[LoginId], Awaitable[bool]],
        *,
        delay: float = DELAY,
        pause: float = PAUSE,
    ) -> None:
        self._work = work
        self._delay = delay
        self._pause = pause
        self._turns: dict[LoginId, _Turn] = {}
        self._trouble: dict[LoginId, str] = {}
        self._news = asyncio.Event()
        self._at: LoginId | None = None
        self.alone = asyncio.Lock()
        """Held during each turn."""

    def note(self, login: LoginId) -> None:
        """Something has changed for a login."""
        now = asyncio.get_running_loop().time()
        turn = self._turns.setdefault(login, _Turn(now, now + LATEST))
        if not turn.failures and turn.due != _FIRST:
            turn.due = min(now + self._delay, turn.latest)
        self._news.set()

    async def take(self, login: LoginId, within: float) -> None:
        """Let a login have the next turn, and return after it, or ``within`` seconds."""
        now = asyncio.get_running_loop().time()
        turn = self._turns.setdefault(login, _Turn(now, now + LATEST))
        turn.due, turn.failures = _FIRST, 0
        self._news.set()
        try:
            async with asyncio.timeout(within):
                await turn.done.wait()
        except TimeoutError:
            log.info("a login waits for its turn", login=login)

    def trouble(self, login: LoginId) -> str | None:
        """Why the last turn of a login has failed, as a sentence."""
        return self._trouble.get(login)

    def forget(self, login: LoginId) -> None:
        """There is nothing to do for a login any more."""
        self._trouble.pop(login, None)
        if (turn := self._turns.pop(login, None)) is not None:
            turn.done.set()

    async def ended(self, logins: Collection[LoginId]) -> None:
        """Return when none of these logins is at work."""
        if self._at in logins:
            async with self.alone:
                pass

    async def run(self) -> None:
        """Until cancelled, give turns."""
        while True:
            self._news.clear()
            await self.give_due()
            due = min((turn.due for turn in self._turns.values()), default=None)
            seconds = None if due is None else due - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def give_due(self) -> None:
        """Give a turn to each login that is due."""
        while self._turns:
            login = min(self._turns, key=lambda each: self._turns[each].due)
            if self._turns[login].due > asyncio.get_running_loop().time():
                return
            await self._give(login)
            await asyncio.sleep(self._pause)

    async def _give(self, login: LoginId) -> None:
        turn = self._turns.pop(login)
        async with self.alone:
            self._at = login
            try:
                more = await self._work(login)
            except BridgeError as error:
                self._trouble[login] = str(error)
                log.info("a login's turn has failed", login=login, reason=str(error))
                if may_pass(error):
                    self._later(login, turn.failures + 1, error.retry_after or 0.0)
            except Exception:
                self._trouble[login] = phrase("notice-our-mistake")
                log.exception("a login's turn has failed", login=login)
            else:
                self._trouble.pop(login, None)
                if more:
                    self.note(login)
            finally:
                self._at = None
                turn.done.set()

    def _later(self, login: LoginId, failures: int, least: float) -> None:
        seconds = min(LONGEST_PAUSE, max(least, 2.0 ** min(failures, 10)))
        due = asyncio.get_running_loop().time() + seconds * random.uniform(0.5, 1)  # noqa: S311 - jitter
        self._turns.setdefault(login, _Turn(due, due, failures))
