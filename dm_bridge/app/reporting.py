"""Builds what reports to collectors, where there are any.

The rule that must never break: without a collector nothing is kept for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack

import aiohttp

from dm_bridge.bridge.reports import BridgeStates, Checkpoints, Outlet
from dm_bridge.config import Config
from dm_bridge.matrix.homeserver import Json
from dm_bridge.ops.metrics import Metrics

AT_ONCE = 100
"""Checkpoints in one request."""


class Reporting:
    """``checkpoints`` and ``states``, for those who have something to report. ``stack`` stops it again."""

    def __init__(
        self,
        config: Config,
        session: aiohttp.ClientSession,
        metrics: Metrics,
        stack: AsyncExitStack,
    ) -> None:
        self._stack = stack
        token = config.appservice.as_token.get_secret_value()
        self.checkpoints, self.states = Checkpoints(), BridgeStates()
        if url := config.reports.checkpoints_url:
            outlet = Outlet(
                "checkpoints", url, token, session, metrics, _checkpoints, batch=AT_ONCE
            )
            self._run(outlet)
            self.checkpoints = Checkpoints(outlet.put)
        if url := config.reports.states_url:
            outlet = Outlet("states", url, token, session, metrics, _state, batch=1)
            self._run(outlet)
            self.states = BridgeStates(outlet.put)
            self._in_background(self.states.go_on())

    def _run(self, outlet: Outlet) -> None:
        self._stack.push_async_callback(outlet.finish)
        self._in_background(outlet.run())

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        self._stack.push_async_callback(_ended, asyncio.create_task(work))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _checkpoints(reports: Sequence[Json]) -> Json:
    return {"checkpoints": list(reports)}


def _state(reports: Sequence[Json]) -> Json:
    return reports[0]
