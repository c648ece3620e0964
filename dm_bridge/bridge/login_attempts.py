"""One attempt of a user to log in, whoever walks them through it: the bot, or the provisioning API.

The rule that must never break: whatever becomes of it, an attempt ends: nothing that it opened stays open, and the
user no longer counts as logging in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import UserError
from dm_bridge.ids import UserId
from dm_bridge.network.api import Network
from dm_bridge.network.login import AskStep, LoginDone, WaitStep
from dm_bridge.store.logins import LoginRow

PATIENCE = 600.0
"""Seconds for which a step waits for its answer."""


class LoginAttempt:
    """It begins when it is made. ``step``: the one to answer now. `close` must follow, whatever happens."""

    def __init__(self, logins: Logins, user: UserId, network: Network) -> None:
        self._logins = logins
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
        step = await self._process.submit(dict(values))
        if not self._open:
            raise UserError("The login was given up.")
        if not isinstance(step, LoginDone):
            self.step = step
            return None
        self._succeeded = True
        return await self._logins.add(self.user, self.network.name, step)

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
