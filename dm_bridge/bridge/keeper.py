"""Keeps m.direct: one task per account that reads fresh, decides, writes and verifies.

The rule that must never break: no write without a fresh read right before it, none after a read that
failed, and none that was not recorded first. What to write is decided by `dm_bridge.direct`; this is
only its hands.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

import structlog

from dm_bridge.bridge.direct_words import left_as_it_is
from dm_bridge.bridge.documents import Documents
from dm_bridge.bridge.keeper_work import ARRIVALS, MANY, Paces, Work
from dm_bridge.direct import (
    DEFAULT_BOUNDS,
    Bounds,
    Decision,
    DirectDocument,
    Keep,
    Ledger,
    Malformed,
    Mind,
    NotSet,
    Put,
    Reason,
    Refuse,
    Source,
    difference,
    observe,
    reconcile,
)
from dm_bridge.direct.conflicts import yielded
from dm_bridge.errors import BridgeError, HomeserverError, StorageError
from dm_bridge.ids import UserId
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.journals import Busy, JournalStore, Remembered

log = structlog.get_logger(__name__)

LONGEST_PAUSE = 300.0
LONGEST_GAP = 60.0
HELD = 600.0  # for how long touches can be held back
AT_ONCE = 16
GAP = 0.2  # seconds after which a round follows another
CHASES = 3  # times that a document which changed while we decided is decided upon again, at once

NeverKeys = Callable[[UserId], Iterable[UserId]]
Observed = DirectDocument | Malformed | NotSet


class Keeper:
    """Keeps the m.direct of puppeted users, and of ghosts.

    ``never_keys``: for an account, the users under whom no managed room may stand. ``wrote``: told of every
    account that is about to be written. ``clock``: seconds since the epoch.
    """

    def __init__(
        self,
        documents: Documents,
        database: Database,
        store: DirectStore,
        journals: JournalStore,
        never_keys: NeverKeys,
        metrics: Metrics,
        bounds: Bounds = DEFAULT_BOUNDS,
        *,
        wrote: Callable[[UserId], None] = lambda account: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._documents = documents
        self._database = database
        self._store = store
        self._journals = journals
        self._never_keys = never_keys
        self._metrics = metrics
        self._bounds = bounds
        self._wrote = wrote
        self._clock = clock
        self._kept: set[UserId] = set()
        self._seen: dict[UserId, float] = {}
        self._paces = Paces()
        self._work: dict[UserId, Work] = {}
        self._held: set[UserId] = set()
        self._stopped = False
        self._slots = asyncio.Semaphore(AT_ONCE)

    # -- what there is to do

    def touch(self, account: UserId) -> None:
        """Something that should be marked for ``account`` has changed; look at it soon."""
        self._kept.add(account)
        if (work := self._wake(account)) is not None:
            work.touch()

    def urge(self, account: UserId) -> None:
        """`touch`, and do not wait for trouble to pass: somebody asks, or the trouble is over."""
        self.touch(account)
        if (work := self._work.get(account)) is not None:
            work.urged.set()

    def hasten(self, account: UserId) -> None:
        """No more touches are coming: do not wait for them to pause, unless writes for few were many of late."""
        work = self._work.get(account)
        if work is not None and (work.gathered >= MANY or self._paces.may_hasten(account)):
            work.hasten()

    @contextlib.contextmanager
    def holding(self, account: UserId) -> Iterator[None]:
        """Within the block touches gather, so that all of them are one write; for `HELD` seconds at most."""
        timer = asyncio.get_running_loop().call_later(HELD, self._let_go, account)
        self._held.add(account)
        try:
            yield
        finally:
            timer.cancel()
            self._let_go(account)

    def _let_go(self, account: UserId) -> None:
        self._held.discard(account)
        if (work := self._work.get(account)) is not None:
            work.urged.set()

    def look(self, account: UserId, source: Source) -> None:
        """Somebody may have changed the document: read it soon. ``source``: why that is thought."""
        if (work := self._wake(account)) is not None:
            work.source, work.must_read = source, True

    def saw(self, account: UserId, content: bytes, source: Source) -> None:
        """A version of the document came by itself; it is judged soon, in the order of arrival."""
        if account in self._kept and (work := self._wake(account)) is not None:
            work.arrived.append((content, source))

    def keeps(self, account: UserId) -> bool:
        """Whether anything is managed for ``account``."""
        return account in self._kept

    def last_seen(self, account: UserId) -> float | None:
        """When we last read or wrote the account's document, in seconds since the epoch.

        Versions that came by themselves do not count.
        """
        return self._seen.get(account)

    async def settled(self, *accounts: UserId, within: float) -> None:
        """Return once all touches so far have been dealt with, or held back, or after ``within`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                for account in accounts:
                    work = self._work.get(account)
                    if work is not None and account not in self._held:
                        await work.reached(work.woken)

    async def resume(self, users: Collection[UserId] | None = None) -> None:
        """Take up ``users``, or all: what is managed for them, and what an earlier run left unwritten."""
        self._kept.update(await self._store.accounts(users))
        self._seen.update(await self._journals.last_seen(users))
        for account in await self._store.unsettled(users):
            self.touch(account)

    async def drop(self, users: Collection[UserId]) -> None:
        """Another process keeps these users from now on; what is under way is cancelled."""
        self._kept.difference_update(users)
        await self._cancel([user for user in users if user in self._work])

    async def stop(self) -> None:
        """Cancel what is under way; it is taken up again at the next start."""
        self._stopped = True
        await self._cancel(list(self._work))

    async def _cancel(self, accounts: Iterable[UserId]) -> None:
        works = ((account, self._work[account]) for account in accounts)
        under_way = {account: work.task for account, work in works if work.task is not None}
        for task in under_way.values():
            task.cancel()
        await asyncio.gather(*under_way.values(), return_exceptions=True)
        for account in under_way:
            await self._release(account)

    def _wake(self, account: UserId) -> Work | None:
        if self._stopped:
            return None
        work = self._work.get(account)
        if work is None:
            work = self._work[account] = Work()
            work.task = asyncio.create_task(self._keep(account, work), name=f"keeper: {account}")
        work.woken += 1
        return work

    # -- doing it

    async def _keep(self, account: UserId, work: Work) -> None:
        failures = rounds = touches = 0
        try:
            while work.kept < work.woken:
                if touches != work.touches:
                    while account in self._held and not work.urged.is_set():
                        await work.rest(HELD)
                    await self._paces.gather(account, work)
                woken, touches = work.woken, work.take()
                try:
                    async with self._slots:
                        done = await self._round(account, work)
                except BridgeError as error:
                    failures += not isinstance(error, Busy)
                    await self._recover(account, work, error, failures)
                    continue
                failures = 0
                rounds = 0 if done else rounds + 1
                if done:
                    work.settle(woken)
                    work.urged.clear()
                # right after a write it is read again; when others write as often, ever more slowly
                if rounds != 1:
                    await work.rest(min(LONGEST_GAP, GAP * 2 ** min(rounds, 10)))
                if work.kept == work.woken:
                    await self._release(account)
        except Exception:
            log.exception("m.direct could not be kept for a reason of our own", account=account)
        finally:
            del self._work[account]
            work.settle(work.woken)

    async def _recover(
        self, account: UserId, work: Work, error: BridgeError, failures: int
    ) -> None:
        """Say what the trouble is, and wait until it may have passed."""
        work.must_read = True
        if isinstance(error, Busy):
            pause = error.retry_after or 1.0
        else:
            pause = max(error.retry_after or 0.0, min(LONGEST_PAUSE, 2.0 ** min(failures, 10)))
            log.warning("m.direct could not be kept", account=account, reason=str(error))
        with contextlib.suppress(StorageError):
            if isinstance(error, HomeserverError) and self._documents.has_journal(account):
                await self._journals.trouble(account, str(error))
        await work.rest(pause * random.uniform(0.5, 1))  # noqa: S311
        work.urged.clear()

    async def _release(self, account: UserId) -> None:
        if self._documents.has_journal(account):
            with contextlib.suppress(StorageError):  # it will run out by itself
                await self._journals.release(account)

    async def _round(self, account: UserId, work: Work) -> bool:
        """Read, decide, write. True once a fresh read has shown what is wanted."""
        arrived, work.arrived = work.arrived, deque(maxlen=ARRIVALS)
        if not self._documents.has_access(account):
            return True
        if not self._documents.has_journal(account):
            return await self._round_of_ghost(account)
        try:
            return await self._round_of_user(account, work, arrived)
        except BridgeError:
            work.arrived = deque((*arrived, *work.arrived), maxlen=ARRIVALS)
            raise

    async def _round_of_user(
        self, account: UserId, work: Work, arrived: Iterable[tuple[bytes, Source]]
    ) -> bool:
        known = await self._recall(account)
        versions = [(DirectDocument.parse(content), source) for content, source in arrived]
        if not work.must_read and all(known.knows(version) for version, _ in versions):
            return True
        work.must_read = False
        source, work.source = work.source, Source.READ
        observed = await self._read(account)
        # What came by itself may have come late: homeservers answer /sync from caches, and pushes are tried
        # again. Where nothing has changed, or what came is a version of old, it says nothing new.
        if not known.knows(observed):
            for version, how in versions:
                if not known.remembers(version):
                    await self._judge(known, version, how)
        for _ in range(CHASES):
            match await self._judge(known, observed, source):
                case Keep():
                    if not known.ledger.managed:
                        self._kept.discard(account)
                    return True
                case Refuse(_, sentence):
                    log.error("m.direct is left alone", account=account, reason=sentence)
                    return True
                case Put(document, reasons):
                    before, observed, source = observed, await self._read(account), Source.READ
                    if _alike(before, observed):
                        work.must_read = True
                        await self._write(known, document)
                        _tell(account, reasons)
                        return False
                case decision:
                    assert_never(decision)
        work.must_read = True
        return False

    async def _recall(self, account: UserId) -> _Known:
        """Become the account's writer, and remember. Raises `Busy`, `StorageError`."""
        remembered = await self._journals.claim(account)
        managed, settled = await self._store.load(account)
        if managed:
            self._kept.add(account)
        ledger = Ledger.of(account, managed, self._never_keys(account))
        return _Known(account, ledger, remembered, settled)

    async def _read(self, account: UserId) -> Observed:
        observed = await self._documents.read(account)
        self._seen[account] = self._clock()
        return observed

    async def _judge(self, known: _Known, observed: Observed, source: Source) -> Decision:
        """Decide about one version, and record the decision before anything is done about it."""
        outcome = observe(
            Mind(known.ledger, known.remembered.journal),
            observed,
            at=self._clock(),
            source=source,
            bounds=self._bounds,
            writing=False,  # it counts as tried once the homeserver has accepted it
        )
        journal, ledger = outcome.mind.journal, outcome.mind.ledger
        match outcome.decision:
            case Keep():
                problem: str | None = ""
            case Refuse(reason):
                problem = left_as_it_is(known.account, reason)
            case Put():
                problem = None  # as it was, until it is written
        keep = isinstance(outcome.decision, Keep)
        async with self._database.transaction() as connection:
            after = await self._journals.record(
                connection, known.account, known.remembered, journal, source=source, refused=problem
            )
            await self._store.decide(connection, known.ledger, ledger)
            if keep and not (known.settled and ledger is known.ledger):
                fought = yielded(journal)
                forgotten = known.ledger.managed.keys() - ledger.managed.keys()
                gone = (known.ledger.managed[room] for room in forgotten)
                holds = (*(dm for dm in ledger.managed.values() if dm.room not in fought), *gone)
                await self._store.settle(known.account, holds, connection)
        self._journals.recorded(known.account, after)
        known.remembered, known.ledger = after, ledger
        return outcome.decision

    async def _write(self, known: _Known, document: DirectDocument) -> None:
        account = known.account
        self._wrote(account)
        self._metrics.direct_puts.inc()
        self._paces.wrote(account)
        # If that fails, what was decided waits to be seen again.
        self._journals.sending(account, known.remembered)
        try:
            await self._documents.write(account, document)
        except HomeserverError as error:
            if error.certain:
                self._journals.not_sent(account, known.remembered)
            raise
        self._seen[account] = self._clock()
        await self._journals.written(account, known.remembered)

    async def _round_of_ghost(self, account: UserId) -> bool:
        """As for a user, but nobody else writes a ghost's document: no journal, no decisions of theirs."""
        managed, settled = await self._store.load(account)
        match reconcile(Ledger.of(account, managed), await self._read(account)):
            case Keep():
                if not settled:
                    await self._store.settle(account, managed)
                return True
            case Refuse(_, sentence):
                log.error("m.direct is left alone", account=account, reason=sentence)
                return True
            case Put(document, reasons):
                self._metrics.direct_puts.inc()
                await self._documents.write(account, document)
                _tell(account, reasons)
                return False
            case decision:
                assert_never(decision)


@dataclass(slots=True)
class _Known:
    """What is managed for an account and remembered of its document, as recorded last."""

    account: UserId
    ledger: Ledger
    remembered: Remembered
    settled: bool

    def knows(self, observed: Observed) -> bool:
        """Whether ``observed`` says what the newest version says that we know of."""
        head = self.remembered.journal.head
        return head is not None and _alike(head, observed)

    def remembers(self, observed: Observed) -> bool:
        """Whether ``observed`` says what any version says that we know of."""
        journal = self.remembered.journal
        if journal.head is None or not isinstance(observed, DirectDocument):
            return False
        distances = journal.distances(difference(journal.head, observed))
        return any(distance.edits == 0 for _, distance in distances)


def _alike(one: Observed, other: Observed) -> bool:
    if isinstance(one, DirectDocument) and isinstance(other, DirectDocument):
        return not difference(one, other)
    return one == other


def _tell(account: UserId, reasons: tuple[Reason, ...]) -> None:
    log.info("m.direct written", account=account, changes=len(reasons))
    for reason in reasons:
        log.debug("m.direct written because", account=account, why=reason.sentence)
