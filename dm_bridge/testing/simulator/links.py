"""What lies between a simulated process and the world: distance, faults, and the moments when it may be killed.

The rule that must never break: what was under way when a process was killed, or gave up waiting, has happened
wholly or not at all, and only the dice know which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote

import aiohttp
import orjson

from dm_bridge.errors import NetworkError, StorageError
from dm_bridge.testing.dice import Dice
from dm_bridge.testing.fake_homeserver import Answer
from dm_bridge.testing.fake_http import unreachable
from dm_bridge.testing.life import Life

T = TypeVar("T")

FOR_EVER = 10_000.0
DATABASE, HOMESERVER, NETWORK = 0.002, 0.03, 0.05
"""Seconds that a call takes at most, most often."""


@dataclass(slots=True)
class DatabaseFaults:
    """``down``: nobody answers. The others: how likely a statement meets each."""

    down: bool = False
    conflict: float = 0.0
    commit_lost: float = 0.0
    slow: float = 0.0


@dataclass(slots=True)
class HomeserverFaults:
    """``down``: nobody listens; ``gateway``: only a proxy does. ``stuck``: rooms where every write fails.

    The others: how likely a request meets each.
    """

    down: bool = False
    gateway: bool = False
    stuck: set[str] = field(default_factory=set)
    refused: float = 0.0
    done_then_error: float = 0.0
    done_then_silent: float = 0.0
    broken: float = 0.0
    limited: float = 0.0


@dataclass(slots=True)
class NetworkFaults:
    """How likely a call meets each."""

    before: float = 0.0
    answer_lost: float = 0.0
    slow: float = 0.0


class NoticeFaults:
    """What becomes of notices of the database. ``lost``, ``doubled``: how likely. ``deaf``: who hears none."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self.lost = 0.0
        self.doubled = 0.0
        self.deaf: set[str] = set()

    def hears(self, instance: str) -> int:
        """How often a process hears a notice."""
        if instance in self.deaf:
            self._dice.inject("22 LISTEN connection dead")
            return 0
        if self._dice.chance(self.lost):
            self._dice.inject("23 NOTIFY lost")
            return 0
        if self._dice.chance(self.doubled):
            self._dice.inject("23 NOTIFY doubled")
            return 2
        return 1


class _Call:
    """A call that is on its way: it arrives once, whether or not who made it goes on."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.at = 0.0
        self._work = work
        self._arrived = False
        self._result: Any = None
        self._error: BaseException | None = None

    def arrive(self) -> Any:
        """Have it done, unless it was; its result. Raises what it raised."""
        self.arrive_alone()
        if self._error is not None:
            raise self._error
        return self._result

    def arrive_alone(self) -> None:
        """The same, where nobody waits for the result."""
        if self._arrived:
            return
        self._arrived = True
        try:
            self._result = self._work()
        except Exception as error:
            self._error = error


class _Way:
    """How calls of one process get to a server."""

    def __init__(self, life: Life, dice: Dice, distance: float) -> None:
        self._life = life
        self._dice = dice
        self._distance = distance
        self._calls: dict[_Call, None] = {}
        life.on_freeze.append(self._frozen)

    def _frozen(self) -> None:
        """What is on its way arrives, although who made it stands still."""
        loop = asyncio.get_running_loop()
        for call in self._calls:
            loop.call_at(call.at, call.arrive_alone, context=Context())

    async def _go(self, work: Callable[[], T], delay: float = 0.0) -> T:
        """Get there, and have ``work`` done."""
        self._life.step()
        call = _Call(work)
        seconds = delay + self._dice.between(0.0, self._distance)
        call.at = asyncio.get_running_loop().time() + seconds
        self._calls[call] = None
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if self._dice.chance(0.5):
                call.arrive_alone()  # it was on its way
            raise
        finally:
            del self._calls[call]
        if not self._life.alive:
            raise asyncio.CancelledError
        result: T = call.arrive()
        self._life.step()
        return result

    async def _come(self, seconds: float) -> None:
        """The way back."""
        await asyncio.sleep(seconds)
        self._life.step()


class DatabaseLink(_Way):
    """A `dm_bridge.testing.memory.database.Link`. ``cut``: this process alone does not reach the database."""

    def __init__(self, life: Life, dice: Dice, faults: DatabaseFaults) -> None:
        super().__init__(life, dice, DATABASE)
        self._faults = faults
        self.cut = False

    async def statement(self, work: Callable[[], T]) -> T:
        faults, dice = self._faults, self._dice
        if faults.down:
            await self._go(lambda: None)
            dice.inject("17 database down")
            raise _trouble("connection refused")
        if self.cut:
            await self._go(lambda: None)
            raise _trouble("no route to host")
        if dice.chance(faults.conflict):
            await self._go(lambda: None)
            dice.inject("19 serialization failure, deadlock, read-only")
            raise _trouble("deadlock detected")
        delay = 0.0
        if dice.chance(faults.slow):
            dice.inject("21 database slow")
            delay = dice.between(1.0, 20.0)
        result = await self._go(work, delay)
        if dice.chance(faults.commit_lost):
            dice.inject("18 connection lost at COMMIT")
            raise _trouble("the connection was closed in the middle of operation")
        return result

    async def commit(self, take_back: Callable[[], None]) -> None:
        faults, dice = self._faults, self._dice
        if faults.down or self.cut or dice.chance(faults.commit_lost + faults.conflict):
            dice.inject("18 connection lost at COMMIT")
            if dice.chance(0.5):
                take_back()
            raise _trouble("the connection was closed in the middle of operation")
        self._life.step()


class HomeserverWire(_Way):
    """A `dm_bridge.testing.fake_http.Wire`."""

    def __init__(self, life: Life, dice: Dice, faults: HomeserverFaults) -> None:
        super().__init__(life, dice, HOMESERVER)
        self._faults = faults

    async def exchange(self, what: str, serve: Callable[[], Answer]) -> tuple[int, bytes]:
        faults, dice = self._faults, self._dice
        if faults.down:
            await self._go(lambda: None)
            dice.inject("4 homeserver down")
            raise unreachable()
        if faults.gateway:
            await self._go(lambda: None)
            dice.inject("1 gateway without a homeserver")
            return 502, b"<html>Bad Gateway</html>"
        if faults.stuck and any(room in unquote(what) for room in faults.stuck):
            await self._go(lambda: None)
            dice.inject("1 one room fails")
            return 500, b'{"errcode":"M_UNKNOWN","error":"Internal server error"}'
        if dice.chance(faults.refused):
            await self._go(lambda: None)
            dice.inject("1 error, nothing done")
            return dice.draw.choice((500, 502, 504)), b'{"errcode":"M_UNKNOWN","error":"later"}'
        if dice.chance(faults.limited):
            await self._go(lambda: None)
            dice.inject("2 too many requests")
            wait = int(dice.between(100, 20_000))
            return 429, orjson.dumps({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": wait})
        if dice.chance(faults.broken):
            done = dice.chance(0.5)
            await self._go(serve if done else lambda: (0, {}))
            dice.inject(f"5 connection broke, {'all' if done else 'nothing'} done")
            raise aiohttp.ServerDisconnectedError
        status, body = await self._go(serve)
        if dice.chance(faults.done_then_error):
            dice.inject("1 error, all done")
            return dice.draw.choice((500, 502, 504)), b"<html>Gateway Timeout</html>"
        if dice.chance(faults.done_then_silent):
            dice.inject("3 silence after acceptance")
            await self._come(FOR_EVER)
        return status, orjson.dumps(body)


class NetworkLine(_Way):
    """A `dm_bridge.testing.fake_network.Line`. ``archives``: whether what was sent can be looked up."""

    def __init__(self, life: Life, dice: Dice, faults: NetworkFaults, *, archives: bool) -> None:
        super().__init__(life, dice, NETWORK)
        self._faults = faults
        self._archives = archives

    async def call(self, what: str, work: Callable[[], T]) -> T:
        faults, dice = self._faults, self._dice
        if dice.chance(faults.before):
            dice.inject("29 line lost, nothing done")
            raise NetworkError("The network does not answer.", retry_after=1.0)
        delay = 0.0
        if dice.chance(faults.slow):
            dice.inject("network slow")
            delay = dice.between(1.0, 30.0)
        result = await self._go(work, delay)
        if dice.chance(faults.answer_lost):
            dice.inject(f"29 answer lost: {what}")
            again = 1.0 if self._archives or what != "send" else None
            raise NetworkError("The network did not answer.", certain=False, retry_after=again)
        return result


def _trouble(what: str) -> StorageError:
    return StorageError(
        f"PostgreSQL cannot be used right now ({what}).", certain=False, retry_after=1.0
    )
