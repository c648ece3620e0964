"""Login processes: attempts to log in that a client walks through, step by step.

They are bound to the process of the bridge that has their user, and do not survive it. A step that is under way
goes on when its request breaks off; whoever asks again for it, or names its transaction id, gets its outcome.

The rule that must never break: a process is its user's; to everybody else it does not exist.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from dm_bridge.bridge.audit_log import API
from dm_bridge.bridge.login_attempts import PATIENCE, LoginAttempt
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import BridgeError
from dm_bridge.ids import LoginId, UserId
from dm_bridge.network.api import Network
from dm_bridge.network.login import AskStep
from dm_bridge.provisioning.login_steps import done, told
from dm_bridge.provisioning.refusals import (
    Refusal,
    bad_json,
    bad_state,
    limited,
    not_found,
    refusal_of,
)
from dm_bridge.provisioning.wire import LoginStep
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

AT_ONCE = 3
"""Login processes of one user that wait for an answer."""
LONGEST = 1800.0
"""Seconds that one may take in all."""
KEPT = 60.0
"""Seconds for which the outcome of one that ended well can be asked for again."""


@dataclass(eq=False)
class _Process:
    """``override``: the login that this one is to replace. ``work``: the step that is being taken."""

    id: str
    attempt: LoginAttempt
    override: LoginId | None
    current: LoginStep
    previous: str = ""
    """The transaction id of the step before."""
    work: asyncio.Task[None] | None = None
    refusal: Refusal | None = None
    began: float = 0.0
    ended: float | None = None

    @property
    def user(self) -> UserId:
        return self.attempt.user

    def advance(self, step: LoginStep) -> None:
        self.previous, self.current = self.current.txn_id, step


class LoginProcesses:
    """How many may be begun in an hour by one user, `Guard` says."""

    def __init__(self, logins: Logins, clock: Callable[[], float] = time.monotonic) -> None:
        self._logins = logins
        self._clock = clock
        self._processes: dict[str, _Process] = {}

    async def stop(self) -> None:
        """Give up all that are under way."""
        under_way = list(self._processes.values())
        for process in under_way:
            process.refusal = Refusal(503, "M_UNKNOWN", phrase("provisioning-login-stops"), 10.0)
        await asyncio.gather(*map(self._end, under_way))
        works = [process.work for process in under_way if process.work is not None]
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)

    async def start(self, user: UserId, network: Network, override: LoginId | None) -> LoginStep:
        """Begin one; its first step. Raises `Refusal`."""
        self._forget_ended()
        if (
            sum(each.user == user and each.ended is None for each in self._processes.values())
            >= AT_ONCE
        ):
            raise limited(phrase("provisioning-too-many-logins"), PATIENCE)
        try:
            attempt = await LoginAttempt.begin(self._logins, user, network, API)
        except BridgeError as error:
            raise refusal_of(error) from error
        id = secrets.token_urlsafe(24)
        process = _Process(id, attempt, override, told(id, network.name, attempt.step))
        process.began = self._clock()
        self._processes[id] = process
        self._wait(process)
        log.info("a login was begun", network=network.name, user=user)
        if isinstance(attempt.step, AskStep) and not attempt.step.fields:
            return await self._take(process, {})
        return process.current

    async def step(
        self, user: UserId, id: str, step: str, kind: str, txn: str, values: Mapping[str, str]
    ) -> LoginStep:
        """Answer a step; the next one, or the last. Raises `Refusal`.

        After an error of the network, or about what was typed, the process has ended.
        """
        process = self._of(user, id)
        current = process.current
        if txn and txn == process.previous:
            return await self._outcome(process) if process.work is not None else current
        if current.type == "complete":
            raise Refusal(
                410,
                "FI.MAU.BRIDGE.LOGIN_ALREADY_FINISHED",
                phrase("provisioning-logged-in-already"),
            )
        if step != current.step_id or kind != current.type or (txn and txn != current.txn_id):
            raise bad_state(phrase("provisioning-another-step"))
        if process.work is not None:
            return await self._outcome(process)
        return await self._take(process, self._values(process, values))

    async def cancel(self, user: UserId, id: str) -> None:
        """Give one up. Raises `Refusal`."""
        process = self._of(user, id)
        process.refusal = Refusal(
            410, "FI.MAU.BRIDGE.LOGIN_CANCELLED", phrase("provisioning-login-cancelled")
        )
        await self._end(process)

    def _of(self, user: UserId, id: str) -> _Process:
        self._forget_ended()
        process = self._processes.get(id)
        if process is None or process.user != user:
            raise not_found(phrase("provisioning-no-process"))
        return process

    def _values(self, process: _Process, values: Mapping[str, str]) -> dict[str, str]:
        step = process.attempt.step
        fields = step.fields if isinstance(step, AskStep) else ()
        missing = [each.name for each in fields if each.name not in values]
        if missing:
            raise bad_json(phrase("provisioning-body-lacks", fields=", ".join(missing)))
        return {each.name: values[each.name] for each in fields}

    async def _take(self, process: _Process, values: Mapping[str, str]) -> LoginStep:
        if self._clock() - process.began > LONGEST:
            await self._expire(process)
            raise _too_long()
        self._wait(process)
        process.work = asyncio.create_task(self._submit(process, values), name="login step")
        return await self._outcome(process)

    async def _outcome(self, process: _Process) -> LoginStep:
        """What comes of the step that is being taken; it goes on if nobody waits for it any more."""
        if process.work is not None:
            await asyncio.wait({process.work})
        if process.refusal is not None:
            raise process.refusal
        return process.current

    async def _submit(self, process: _Process, values: Mapping[str, str]) -> None:
        attempt = process.attempt
        try:
            for name, value in values.items():
                attempt.check(name, value)
            row = await attempt.submit(values)
            if row is None:
                process.advance(told(process.id, attempt.network.name, attempt.step))
                self._wait(process)
                return
            process.advance(done(process.id, attempt.network.name, row.id))
            process.ended = self._clock()
            await attempt.close()
            if process.override not in (None, row.id):
                await self._replaced(process.override)
        except BridgeError as error:
            await self._failed(process, refusal_of(error))
        except Exception:
            log.exception("a login failed for a reason of our own", network=attempt.network.name)
            await self._failed(
                process, Refusal(500, "M_UNKNOWN", phrase("provisioning-our-mistake"))
            )
        finally:
            process.work = None

    async def _replaced(self, login: LoginId | None) -> None:
        """The user has logged in to another account than the one that they wanted to log in to again."""
        if login is not None and self._logins.owner(login) is not None:
            await self._logins.logout(login, door=API)

    async def _failed(self, process: _Process, refusal: Refusal) -> None:
        if process.ended is not None:  # it is the login to be replaced that is in trouble
            log.warning("a login could not be replaced", reason=refusal.message)
            return
        process.refusal = process.refusal or refusal
        await self._end(process)

    def _wait(self, process: _Process) -> None:
        process.attempt.wait(lambda: self._expire(process))

    async def _expire(self, process: _Process) -> None:
        process.refusal = _too_long()
        await self._end(process)

    async def _end(self, process: _Process) -> None:
        self._processes.pop(process.id, None)
        await process.attempt.close()

    def _forget_ended(self) -> None:
        now = self._clock()
        for process in list(self._processes.values()):
            if process.ended is not None and process.ended + KEPT < now:
                del self._processes[process.id]


def _too_long() -> Refusal:
    return Refusal(410, "FI.MAU.BRIDGE.LOGIN_TIMED_OUT", phrase("provisioning-login-too-long"))
