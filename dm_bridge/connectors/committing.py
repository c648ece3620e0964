"""Committing what a network brought, however long that takes.

The rule that must never break: it returns only when the sink has committed, or when it is cancelled.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import structlog

from dm_bridge.errors import StorageError
from dm_bridge.network.api import EventSink
from dm_bridge.network.events import RemoteEvent

_log = structlog.get_logger(__name__)

_RETRY_MIN, _RETRY_MAX = 0.5, 30.0


async def commit(
    sink: EventSink,
    events: Sequence[RemoteEvent],
    position: str | None,
    *,
    login: str,
    waiting: Callable[[], int],
) -> None:
    """Deliver ``events`` to ``sink``, again and again while the store is down.

    ``login``, ``waiting``: whose they are, and how many events wait; for the log.
    """
    attempt = 0
    while True:
        try:
            await sink.deliver(events, position)
            return
        except StorageError as error:
            _log.warning(
                "incoming messages wait for the database",
                login=login,
                waiting=waiting(),
                error=str(error),
            )
        except Exception:
            _log.exception("incoming messages could not be stored", login=login)
        limit = min(_RETRY_MAX, _RETRY_MIN * 2**attempt)
        await asyncio.sleep(random.uniform(limit / 2, limit))  # noqa: S311 - spreads load
        attempt = min(attempt + 1, 10)
