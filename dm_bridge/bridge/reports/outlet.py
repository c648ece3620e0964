"""Posts reports to one collector, behind everything else.

The senders that mautrix has open a connection for each report, and lose what is not taken at once; its types are
used.

The rule that must never break: nobody waits for a collector. What it does not take is kept up to a bound; beyond
it the oldest report goes, and is counted.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import aiohttp
import structlog

from dm_bridge.matrix.homeserver import Json
from dm_bridge.ops.metrics import Metrics

log = structlog.get_logger(__name__)

BOUND = 10_000
"""Reports that are kept for one collector."""
DEADLINE = 10.0
LAST_DEADLINE = 2.0
"""Seconds that a stop may take."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
_REFUSED = (400, 413, 422)
"""What is answered so will not be taken later either."""


class Outlet:
    """``name``: what metrics call it. ``body``: makes a request of some reports, at most ``batch`` of them."""

    def __init__(
        self,
        name: str,
        url: str,
        token: str,
        session: aiohttp.ClientSession,
        metrics: Metrics,
        body: Callable[[Sequence[Json]], Json],
        *,
        batch: int,
        bound: int = BOUND,
    ) -> None:
        self._name = name
        self._url = url
        self._token = token
        self._session = session
        self._metrics = metrics
        self._body = body
        self._batch = batch
        self._bound = bound
        self._reports: OrderedDict[Hashable, Json] = OrderedDict()
        self._there_is_some = asyncio.Event()

    def put(self, key: Hashable, report: Json) -> None:
        """Send this, soon. It takes the place of what has the same ``key`` and is not sent yet."""
        self._reports.pop(key, None)
        self._reports[key] = report
        while len(self._reports) > self._bound:
            self._reports.popitem(last=False)
            self._count("dropped", 1)
        self._there_is_some.set()

    async def run(self) -> None:
        """Until cancelled, post what there is, in order."""
        failures = 0
        while True:
            await self._there_is_some.wait()
            try:
                problem = await self._post_some(DEADLINE)
            except Exception as error:
                log.exception("reports could not be made for a reason of our own")
                problem = repr(error)
            if problem is None:
                if failures:
                    log.info("a collector takes reports again", collector=self._name)
                failures = 0
                continue
            failures += 1
            if failures == 1:  # once for each outage
                log.warning("a collector takes no reports", collector=self._name, reason=problem)
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311

    async def finish(self) -> None:
        """Post what is left, as far as that goes in `LAST_DEADLINE` seconds; `run` must have ended."""
        try:
            async with asyncio.timeout(LAST_DEADLINE):
                while self._reports and await self._post_some(LAST_DEADLINE) is None:
                    pass
        except TimeoutError:
            pass
        self._count("dropped", len(self._reports))
        self._reports.clear()

    async def _post_some(self, deadline: float) -> str | None:
        """Post the earliest reports; why that failed, if it can succeed later."""
        some = dict(list(self._reports.items())[: self._batch])
        try:
            status = await self._post(_encode(self._body(list(some.values()))), deadline)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return str(error) or type(error).__name__
        if not (200 <= status < 300 or status in _REFUSED):
            return f"It answered {status}."
        if status in _REFUSED:
            log.warning("a collector refused reports", collector=self._name, status=status)
        self._count("refused" if status in _REFUSED else "sent", len(some))
        for key, report in some.items():
            if self._reports.get(key) is report:  # none has taken its place meanwhile
                del self._reports[key]
        if not self._reports:
            self._there_is_some.clear()
        return None

    async def _post(self, body: bytes, deadline: float) -> int:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        async with (
            asyncio.timeout(deadline),
            self._session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as response,
        ):
            return response.status

    def _count(self, outcome: str, reports: int) -> None:
        self._metrics.reports.labels(self._name, outcome).inc(reports)


def _encode(body: Json) -> bytes:
    """As ASCII, so that lone surrogates in what a network said do no harm."""
    return json.dumps(body).encode()
