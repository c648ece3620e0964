"""Runs checks: each for itself, with a deadline, and with a sentence for the author when it fails.

All checks of a kit share one event loop, which is also the one that the adapter's server may live in.

The rule that must never break: a check that was not run, or not wholly, has not passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from dm_bridge.errors import BridgeError
from dm_bridge.testing.conformance import (
    attention,
    bridged,
    connections,
    contacts,
    history,
    incoming,
    logins,
    media,
    outgoing,
    relations,
    texts,
)
from dm_bridge.testing.conformance.adapter import Adapter, Line, NotOffered, ProxyLine
from dm_bridge.testing.conformance.case import Case, Failed, network_of
from dm_bridge.testing.fault_proxy import FaultProxy

Check = Callable[[Case], Awaitable[None]]

CHECKS: tuple[Check, ...] = (
    *texts.CHECKS,
    *incoming.CHECKS,
    *outgoing.CHECKS,
    *relations.CHECKS,
    *attention.CHECKS,
    *media.CHECKS,
    *connections.CHECKS,
    *logins.CHECKS,
    *history.CHECKS,
    *contacts.CHECKS,
    *bridged.CHECKS,
)
"""All of them. The docstring of each says what a connector has to do."""

CHECK_SECONDS = 40.0


class Kit:
    """``with Kit(adapter, directory) as kit``: a server that runs, and a connector to check on it."""

    def __init__(self, adapter: Adapter, directory: Path) -> None:
        self.adapter = adapter
        self._directory = directory
        self._numbers = itertools.count(1)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        try:
            self._runner.run(self._start())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._runner.run(self._stop())
        finally:
            self._runner.close()

    async def _start(self) -> None:
        where = await self.adapter.start(self._directory)
        self._line: Line
        if isinstance(where, tuple):
            proxy = FaultProxy(where)
            await proxy.accept()
            self._line = ProxyLine(proxy)
            self._network = network_of(self.adapter, proxy.host, proxy.port)
        else:
            self._line = where
            self._network = network_of(self.adapter, "", 0)
        await self._network.start()

    async def _stop(self) -> None:
        await self._network.stop()
        await self._line.close()
        await self.adapter.stop()

    def run(self, check: Check) -> None:
        """Run one check. Raises `Failed` with what has to change, `NotOffered` when it does not apply."""
        try:
            self._runner.run(self._run(check))
        except NotOffered:
            raise
        except (Exception, asyncio.CancelledError) as error:
            what = " ".join((check.__doc__ or "").split())
            seen = str(error) if isinstance(error, Failed) else f"Not expected here: {error!r}"
            if isinstance(error, BridgeError):
                seen = f"This failed, and should not have: {error}"
            raise Failed(f"{check.__name__}: {what}\n{seen}") from error

    async def _run(self, check: Check) -> None:
        case = Case(self.adapter, self._network, self._line, self._numbers)
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await check(case)
        except BaseException:
            with contextlib.suppress(Failed):  # what was found first says more
                await case.end()
            raise
        await case.end()
