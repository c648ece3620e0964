"""One attempt of a user to log in, whoever walks them through it: the bot, or the provisioning API.

The rule that must never break: whatever becomes of it, an attempt ends: nothing that it opened stays open, and the
user no longer counts as logging in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from dm_bridge.bridge.audit_log import BOT
from dm_bridge.bridge.guard import Try
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import BridgeError, CredentialsError, UserError
from dm_bridge.ids import UserId
from dm_bridge.network.api import Network
from dm_bridge.network.login import AskStep, FieldKind, LoginDone, LoginStep, WaitStep
from dm_bridge.store.audit_log import Act
from dm_bridge.store.logins import LoginRow
from dm_bridge.texts import phrase

PATIENCE = 600.0
"""Seconds for which a step waits for its answer."""


class LoginAttempt:
    """It begins when it is made. ``step``: the one to answer now. `close` must follow, whatever happens."""

    @classmethod
    async def begin(
        cls, logins: Logins, user: UserId, network: Network, door: str = BOT
    ) -> LoginAttempt:
        """Begin one, if the user may. ``door``: by which one they come. Raises `NotAllowed`, `TooOften`."""
        known = any(row.network == network.name for row in logins.of(user))
        await logins.guard.admit(user, network, logins.store, known=known, door=door)
        return cls(logins, user, network, door)

    def __init__(self, logins: Logins, user: UserId, network: Network, door: str = BOT) -> None:
        self._logins = logins
        self._door = door
        self._typed: dict[str, str] = {}
        self.user = user
        self.network = network
        self._process = network.start_login()
        self.step: AskStep | WaitStep = self._process.start()
        self._expiry: asyncio.Task[None] | None = None
        self._open = True
        self._succeeded = False
        logins.begin(user)

    def check(self, field: str, value: str) -> None:
        """See `LoginProcess.check`."""
        self._process.check(field, value)

    async def submit(self, values: Mapping[str, str]) -> LoginRow | None:
        """Answer the step; the login when that was the last one, else None, and ``step`` is the next.

        Raises what `LoginProcess.submit` raises; the attempt is over then.
        """
        guard = self._logins.guard
        typed = {**self._typed, **values}
        tried = await guard.try_account(self.user, self.network, self.step, typed, self._door)
        step = await self._ask(values, tried)
        if not self._open:
            raise UserError(phrase("notice-login-given-up"))
        if not isinstance(step, LoginDone):
            self._keep(values)
            self.step = step
            return None
        self._succeeded = True
        return await self._logins.add(self.user, self.network.name, step, self._door)

    async def _ask(self, values: Mapping[str, str], tried: Try) -> LoginStep:
        guard, user = self._logins.guard, self.user
        try:
            step = await self._process.submit(dict(values))
        except CredentialsError as error:
            details = {"network": self.network.name, "reason": str(error)}
            await guard.audit.record(user, Act.LOGIN_FAILED, user, details, self._door)
            raise
        except BridgeError:
            await guard.not_in_vain(tried)
            raise
        await guard.succeeded(tried)
        return step

    def _keep(self, values: Mapping[str, str]) -> None:
        """Remember what is no secret: later steps ask for the password of the account that it names."""
        fields = self.step.fields if isinstance(self.step, AskStep) else ()
        names = {each.name for each in fields if each.kind is not FieldKind.SECRET}
        self._typed |= {name: value for name, value in values.items() if name in names}

    def wait(self, expired: Callable[[], Awaitable[None]]) -> None:
        """From now on, the step waits for `PATIENCE`; then ``expired`` is called, which closes the attempt."""

        async def expire() -> None:
            await asyncio.sleep(PATIENCE)
            self._expiry = None
            await expired()

        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.create_task(expire(), name="login attempt")

    async def close(self) -> None:
        """End it; without effect when it has ended."""
        if not self._open:
            return
        self._open = False
        if self._expiry is not None:
            self._expiry.cancel()
        self._logins.end(self.user)
        if not self._succeeded:
            await self._process.cancel()
