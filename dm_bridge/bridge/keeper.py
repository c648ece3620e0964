"""Keeps m.direct: one task per account that reads fresh, decides, writes and verifies.

The rule that must never break: no write without a fresh read right before it, and none after a
read that failed. What to write is decided by `dm_bridge.direct`; this is only its hands.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable
from typing import assert_never

import structlog

from dm_bridge.direct.document import DirectDocument, Malformed, NotSet
from dm_bridge.direct.ledger import Ledger
from dm_bridge.direct.reconcile import Keep, Put, Refuse, reconcile
from dm_bridge.errors import BridgeError
from dm_bridge.ids import UserId
from dm_bridge.matrix.accounts import Accounts, get_direct, put_direct
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.direct import DirectStore

log = structlog.get_logger(__name__)

ROUNDS = 3  # write, verify, and again when somebody wrote in between
REVERSALS = 4  # times that all rounds were in vain, before a write war is given up
LONGEST_PAUSE = 300.0
AT_ONCE = 16
GAP = 0.2  # seconds in which touches of one account gather into one write

NeverKeys = Callable[[UserId], Iterable[UserId]]


class _Work:
    """What is to be done for one account: touches are counted, and so are those dealt with."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.touched = 0
        self.kept = 0
        self._moved = asyncio.Event()

    def settle(self, touched: int) -> None:
        """Every touch up to this one has been dealt with."""
        self.kept = touched
        self._moved.set()
        self._moved = asyncio.Event()

    async def reached(self, touched: int) -> None:
        """Return once that touch has been dealt with."""
        while self.kept < touched:
            await self._moved.wait()


class Keeper:
    """Keeps the m.direct of puppeted users, and of ghosts.

    ``owns``: whether an account is a ghost of ours. ``never_keys``: for an account, the users under whom
    no managed room may stand.
    """

    def __init__(
        self,
        homeserver: Homeserver,
        accounts: Accounts,
        store: DirectStore,
        owns: Callable[[UserId], bool],
        never_keys: NeverKeys,
        metrics: Metrics,
    ) -> None:
        self._homeserver = homeserver
        self._accounts = accounts
        self._store = store
        self._owns = owns
        self._never_keys = never_keys
        self._metrics = metrics
        self._work: dict[UserId, _Work] = {}
        self._stopped = False
        self._slots = asyncio.Semaphore(AT_ONCE)

    def touch(self, account: UserId) -> None:
        """Something that should be marked for ``account`` has changed; look at it soon."""
        if self._stopped:
            return
        work = self._work.get(account)
        if work is None:
            work = self._work[account] = _Work()
            work.task = asyncio.create_task(self._keep(account, work), name=f"keeper: {account}")
        work.touched += 1

    async def settled(self, *accounts: UserId, within: float) -> None:
        """Return once all touches so far have been dealt with, or after ``within`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                for account in accounts:
                    work = self._work.get(account)
                    if work is not None:
                        await work.reached(work.touched)

    async def resume(self) -> None:
        """At start: take up what an earlier run left unwritten."""
        for account in await self._store.unsettled():
            self.touch(account)

    async def stop(self) -> None:
        """Cancel what is under way; it is taken up again at the next start."""
        self._stopped = True
        tasks = [work.task for work in self._work.values() if work.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, account: UserId, work: _Work) -> None:
        failures = reversals = 0
        try:
            while reversals < REVERSALS and work.kept < work.touched:
                touched = work.touched
                try:
                    async with self._slots:
                        done = await self._reconcile(account)
                except BridgeError as error:
                    failures += 1
                    backoff = min(LONGEST_PAUSE, 2.0 ** min(failures, 10))
                    pause = max(error.retry_after or 0.0, backoff)
                    log.warning("m.direct could not be kept", account=account, reason=str(error))
                    await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
                    continue
                failures = 0
                if done:
                    reversals = 0
                    work.settle(touched)
                else:
                    reversals += 1
                await asyncio.sleep(GAP * 2**reversals)
            if reversals:
                log.error(
                    "another client keeps reverting m.direct; it is left until something changes",
                    account=account,
                )
        except Exception:
            log.exception("m.direct could not be kept for a reason of our own", account=account)
        finally:
            del self._work[account]
            work.settle(work.touched)

    async def _reconcile(self, account: UserId) -> bool:
        """Write until a fresh read shows what is wanted. False when others kept writing in between."""
        if not self._has_access(account):
            return True
        for _ in range(ROUNDS):
            managed = await self._store.managed(account)
            ledger = Ledger.of(account, managed, self._never_keys(account))
            decision = reconcile(ledger, await self._read(account))
            match decision:
                case Keep():
                    await self._store.settle(account, managed)
                    return True
                case Refuse(_, sentence):
                    log.error("m.direct is left alone", account=account, reason=sentence)
                    return True
                case Put(document, reasons):
                    await self._write(account, document)
                    log.info("m.direct written", account=account, changes=len(reasons))
                    for reason in reasons:
                        log.debug("m.direct written because", account=account, why=reason.sentence)
                case _:
                    assert_never(decision)
        return False

    def _has_access(self, account: UserId) -> bool:
        return self._owns(account) or self._accounts.can_act_for(account)

    async def _read(self, account: UserId) -> DirectDocument | Malformed | NotSet:
        if self._owns(account):
            raw = await get_direct(self._homeserver, account)
        else:
            raw = await self._accounts.direct(account)
        return NotSet() if raw is None else DirectDocument.parse(raw)

    async def _write(self, account: UserId, document: DirectDocument) -> None:
        self._metrics.direct_puts.inc()
        if self._owns(account):
            await put_direct(self._homeserver, account, document.to_json())
        else:
            await self._accounts.put_direct(account, document.to_json())
