"""What the homeserver's module pushes: which changes are news, and which accounts it covers.

A module does not send the changes of accounts that it was told are not kept. So an account counts as
covered only from the moment when every live instance has answered with an epoch that is no older than
the account: from then on no instance holds it for one that is not kept.

The rule that must never break: a version is handed on as news at most once, in the order in which the
homeserver took them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from dm_bridge.direct.journal import Source
from dm_bridge.ids import UserId
from dm_bridge.matrix.direct_push import DirectPush, PushAnswer, PushedDirect

log = structlog.get_logger(__name__)

SILENCE = 60.0
"""Seconds without a push or a heartbeat (one in ten seconds) after which an instance counts as gone."""
FRESH = 2.0
"""Seconds within which a push is news whatever else was seen.

Two that write at the same moment are told apart by what they wrote, and only when both are seen.
"""
MAX_DENIED = 10_000
MAX_INSTANCES = 32


class Kept(Protocol):
    """The keeper, as observation needs it."""

    def keeps(self, account: UserId) -> bool: ...
    def look(self, account: UserId, source: Source) -> None: ...
    def saw(self, account: UserId, content: bytes, source: Source) -> None: ...


LastSeen = Callable[[UserId], float | None]
"""When an account's document was last read, written or judged by us, seconds since the epoch."""


@dataclass(slots=True)
class _Instance:
    run: str
    seq: int
    epoch: int
    heard: float


class Pushes:
    """All instances of the module.

    ``missed_some`` is called when any account may have changed unseen. ``clock``: seconds since the epoch;
    ``steady``: monotonic seconds. While we are not ``alone``, pushes may reach another process: no account
    counts as covered, nobody is told that one is not kept, and ``elsewhere`` gets those that we do not keep.
    """

    def __init__(
        self,
        keeper: Kept,
        last_seen: LastSeen,
        missed_some: Callable[[], None],
        *,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        alone: Callable[[], bool] = lambda: True,
        elsewhere: Callable[[UserId], None] = lambda account: None,
    ) -> None:
        self._keeper = keeper
        self._last_seen = last_seen
        self._missed_some = missed_some
        self._clock = clock
        self._steady = steady
        self._alone = alone
        self._elsewhere = elsewhere
        self._nonce = secrets.token_hex(4)
        self._epoch = 0
        self._instances: dict[str, _Instance] = {}
        self._denied: dict[UserId, None] = {}
        self._since: float | None = None
        self._settling: dict[UserId, int] = {}
        self.received = 0
        self.dropped = 0

    @property
    def alive_since(self) -> float | None:
        """When the module began to be heard without a break, seconds since the epoch; None: it is not."""
        self._forget_silent()
        return self._since if self._instances else None

    def receive(self, push: DirectPush) -> PushAnswer:
        """Take a push, or a heartbeat; what to answer."""
        instance = self._hear(push)
        if push.gap:
            self._missed_some()
        for account in push.missed:
            if self._keeper.keeps(account):
                self._keeper.look(account, Source.PUSHED)
            elif not self._alone():
                self._elsewhere(account)
        if push.dropped:
            self.dropped += push.dropped
            log.warning("the homeserver's module dropped changes of m.direct", n=push.dropped)
        for update in push.updates:
            if update.seq > instance.seq:
                instance.seq = update.seq
                self._take(update)
        keeps = self._keeper.keeps
        named = dict.fromkeys(update.account for update in push.updates if update.content is None)
        strangers = dict.fromkeys(each.account for each in push.updates if not keeps(each.account))
        if not self._alone():
            strangers.clear()
        self._deny(strangers)
        kept = tuple(account for account in named if keeps(account))
        return PushAnswer(f"{self._nonce}.{self._epoch}", tuple(strangers), kept)

    def covers(self, account: UserId) -> bool:
        """Whether every change of the account is pushed to us."""
        self._forget_silent()
        if not self._instances or not self._alone():
            return False
        agreed = min(instance.epoch for instance in self._instances.values())
        if agreed < 0:
            return False
        needed = self._settling.get(account)
        if needed is None:
            return True
        if agreed < needed:
            return False
        del self._settling[account]
        return True

    def kept(self, account: UserId) -> None:
        """The account is kept; if a module was told otherwise, see to it that it learns."""
        if account in self._denied:
            del self._denied[account]
            self._epoch += 1
            self._settling[account] = self._epoch

    def _hear(self, push: DirectPush) -> _Instance:
        self._forget_silent()
        instance = self._instances.get(push.instance)
        if instance is None or instance.run != push.run:
            instance = _Instance(push.run, -1, -1, 0.0)
            if not self._instances:
                self._since = self._clock()
                log.info("the homeserver's module pushes changes of m.direct", by=push.instance)
            self._instances.pop(push.instance, None)
            self._instances[push.instance] = instance
            while len(self._instances) > MAX_INSTANCES:
                del self._instances[next(iter(self._instances))]
        nonce, _, number = push.epoch.partition(".")
        # A push that was sent before an older answer arrived says less than is known.
        if nonce == self._nonce and number.isdecimal() and len(number) < 19:
            instance.epoch = max(instance.epoch, min(int(number), self._epoch))
        instance.heard = self._steady()
        return instance

    def _forget_silent(self) -> None:
        now = self._steady()
        for name, instance in list(self._instances.items()):
            if now - instance.heard > SILENCE:
                del self._instances[name]
                if not self._instances:
                    self._since = None
                    log.warning(
                        "the homeserver's module has fallen silent; m.direct is watched in other ways",
                        by=name,
                    )

    def _take(self, update: PushedDirect) -> None:
        account = update.account
        if not self._keeper.keeps(account):
            if not self._alone():
                self._elsewhere(account)
            return
        self.kept(account)
        self.received += 1
        if update.content is None or self._is_late(update):
            self._keeper.look(account, Source.PUSHED)
        else:
            self._keeper.saw(account, update.content, Source.PUSHED)

    def _is_late(self, update: PushedDirect) -> bool:
        """Whether it waited for long, and something newer was seen meanwhile: then read it anew."""
        if update.age <= FRESH:
            return False
        seen = self._last_seen(update.account)
        return seen is not None and seen > self._clock() - update.age

    def _deny(self, accounts: dict[UserId, None]) -> None:
        self._denied |= accounts
        if len(self._denied) > MAX_DENIED:
            # Too many to know which of them is kept one day: let the modules ask for all again.
            self._denied.clear()
            self._epoch += 1
