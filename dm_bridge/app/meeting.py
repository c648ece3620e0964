"""The bridge and its homeserver: whether it knows us, and goes on reaching us.

The rule that must never break: a homeserver that is away is waited for; one that does not know us as configured is
said to the admin at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

import structlog

from dm_bridge.config import Config
from dm_bridge.errors import AdminError, BridgeError
from dm_bridge.matrix import handshake
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.matrix.pings import Pings
from dm_bridge.ops.health import Health
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 60.0
PING_INTERVAL = 30.0


class Meeting:
    """``unreachable`` is set by whoever finds that no connection can be made."""

    def __init__(
        self,
        config: Config,
        homeserver: Homeserver,
        as_users: Homeserver,
        pings: Pings,
        health: Health,
        unreachable: asyncio.Event,
    ) -> None:
        self._config = config
        self._homeserver = homeserver
        self._as_users = as_users
        self._pings = pings
        self._health = health
        self._unreachable = unreachable

    async def meet(self) -> str | None:
        """Return once the homeserver knows us: what is wrong with the second registration, if something is.

        Raises `AdminError`.
        """
        failures = 0
        while True:
            try:
                await handshake.check_identity(self._homeserver, self._config.bot_user_id)
                return await handshake.accounts_problem(self._as_users)
            except AdminError:
                raise
            except BridgeError as error:
                failures += 1
                pause = min(LONGEST_PAUSE, 2.0 ** min(failures, 6)) * random.uniform(0.5, 1)  # noqa: S311
                log.warning("waiting for the homeserver", reason=str(error), again_in=round(pause))
                await asyncio.sleep(pause)

    async def go_on(self) -> None:
        """Until cancelled, learn whether the homeserver reaches us."""
        failures = 0
        while True:
            problem = await self._problem()
            if problem is None:
                if not self._health.homeserver_ok:
                    log.info("the homeserver reaches the bridge")
                failures = 0
            else:
                failures += 1
                if failures > 1:  # right after a start, the homeserver may still be backing off
                    log.error(problem)
            self._health.homeserver(problem)
            if problem is not None:
                await asyncio.sleep(min(LONGEST_PAUSE, 2.0 ** min(failures, 6)))
                continue
            self._unreachable.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_INTERVAL):
                    await self._unreachable.wait()
                    url = self._config.homeserver.url
                    self._health.homeserver(phrase("health-unreachable", url=url))

    async def _problem(self) -> str | None:
        appservice = self._config.appservice
        try:
            return await handshake.ping_problem(
                self._homeserver,
                appservice.id,
                appservice.url,
                self._pings.arrived,
                self._pings.name,
            )
        except BridgeError as error:
            return str(error)
