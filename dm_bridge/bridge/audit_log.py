"""The audit log: who did what that matters for safety, for admins to read.

Not to be confused with the audit of m.direct (`dm_bridge.direct.audit`), which looks for mistakes in it.

The rule that must never break: no secret and nothing that people wrote is recorded. And an act of a user does not
fail because it could not be recorded, which the log says then; an act of an admin for others does (`insist`).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from dm_bridge.errors import StorageError
from dm_bridge.ids import UserId
from dm_bridge.store.audit_log import Act, AuditEntry, Detail

log = structlog.get_logger(__name__)

BOT, API, PAGE, CLI, BRIDGE = "bot", "api", "page", "cli", "bridge"
"""The doors."""
RECORDED_WITHIN = 5.0
"""Seconds that recording an act of a user may take."""
AGAIN_AFTER = 3600.0
"""Seconds for which the same is not recorded again by `record_now_and_then`."""
MAX_KNOWN = 10_000
_NOTHING: Mapping[str, Detail] = {}


class AuditSink(Protocol):
    """`dm_bridge.store.audit_log.AuditStore`."""

    async def add(self, entry: AuditEntry) -> None: ...


class AuditLog:
    """Records acts. Without ``store``, none. ``clock`` never jumps."""

    def __init__(
        self, store: AuditSink | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._clock = clock
        self._lately: OrderedDict[tuple[str, str, str | None, str], float] = OrderedDict()

    async def record(
        self,
        actor: str,
        act: Act,
        subject: UserId | None = None,
        details: Mapping[str, Detail] = _NOTHING,
        door: str = BRIDGE,
    ) -> None:
        """Record that ``actor`` did ``act`` to ``subject``. Does not raise: what cannot be recorded is logged."""
        try:
            async with asyncio.timeout(RECORDED_WITHIN):
                await self.insist(actor, act, subject, details, door)
        except (StorageError, TimeoutError) as error:
            log.error(
                "an act could not be recorded in the audit log",
                actor=actor,
                act=act.value,
                subject=subject,
                details=dict(details),
                door=door,
                reason=str(error),
            )

    async def insist(
        self,
        actor: str,
        act: Act,
        subject: UserId | None = None,
        details: Mapping[str, Detail] = _NOTHING,
        door: str = BRIDGE,
    ) -> None:
        """The same, for what must not be done unrecorded. Raises `StorageError`."""
        if self._store is not None:
            await self._store.add(AuditEntry(actor, act.value, subject, door, details))

    async def record_now_and_then(
        self,
        actor: str,
        act: Act,
        subject: UserId | None = None,
        details: Mapping[str, Detail] = _NOTHING,
        door: str = BRIDGE,
    ) -> None:
        """As `record`, but the same act of the same actor once in `AGAIN_AFTER`, however often it is done."""
        key, now = (actor, act.value, subject, door), self._clock()
        if now - self._lately.get(key, -AGAIN_AFTER) < AGAIN_AFTER:
            return
        self._lately[key] = now
        self._lately.move_to_end(key)
        if len(self._lately) > MAX_KNOWN:
            self._lately.popitem(last=False)
        await self.record(actor, act, subject, details, door)
