"""Noticing that somebody changed an account's m.direct: the best way there is, for each account.

Best first: the homeserver's module pushes every change; a filtered ``/sync`` watches accounts that are
active; a read follows what an account did in a room of ours; and a slow sweep comes to everybody.
docs/observation.md says what each costs.

The rule that must never break: no way is trusted for ever. An account that is neither watched nor
pushed is read once in a period of the sweep, and any other once in `SELDOM`, whatever its way says.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import structlog

from dm_bridge.bridge.pushes import Kept, LastSeen, Pushes
from dm_bridge.bridge.sweep import Sweep
from dm_bridge.bridge.watchers import Watch, Watchers
from dm_bridge.direct.journal import Source
from dm_bridge.errors import BridgeError
from dm_bridge.ids import UserId
from dm_bridge.matrix.accounts import Access
from dm_bridge.matrix.direct_push import DirectPush, PushAnswer
from dm_bridge.texts import phrase

log = structlog.get_logger(__name__)

AFTER = 2.0
"""Seconds from an account's activity to the read: clients write m.direct right after they join."""
APART = 60.0
"""Seconds between two such reads of one account, at least."""
SELDOM = 7
"""Periods between two sweeps of an account that is pushed, or that nobody else writes."""
REFRESH = 3600.0
TRY_AGAIN = 60.0
MAX_LOOKS = 20_000


class ObservationMode(enum.Enum):
    """How changes of an account are noticed; ``sentence`` tells its user, in the bot's words."""

    PUSHED = "pushed"
    WATCHED = "watched"
    ACTIVITY = "activity"
    SWEPT = "swept"
    NONE = "none"

    @property
    def sentence(self) -> str:
        return phrase(_SENTENCES[self])


_SENTENCES = {
    ObservationMode.PUSHED: "direct-seen-pushed",
    ObservationMode.WATCHED: "direct-seen-watched",
    ObservationMode.ACTIVITY: "direct-seen-activity",
    ObservationMode.SWEPT: "direct-seen-swept",
    ObservationMode.NONE: "direct-seen-none",
}


@dataclass(frozen=True, slots=True)
class ObservationSettings:
    """``watch_accounts``: watched at once, at most; 0 for none. ``linger``: seconds after activity.

    ``sweep_hours``: period of the sweep. ``sweep_rate``: reads a second, at most.
    """

    watch_accounts: int = 200
    linger: float = 900.0
    sweep_hours: float = 24.0
    sweep_rate: float = 5.0


class Observation:
    """All ways of observation.

    ``open_watch`` makes an account's `DirectWatch`. ``access``: how the bridge acts for a real user; only
    by masquerade can they be watched. ``owns``: whether an account is a ghost of ours. ``accounts``: all
    that are kept, read at start and every hour. ``clock``: seconds since the epoch. ``alone``: whether no other
    process keeps accounts; ``elsewhere``: tells them of a change of one that is not ours.
    """

    def __init__(
        self,
        keeper: Kept,
        open_watch: Callable[[UserId, Callable[[], float]], Watch],
        access: Callable[[UserId], Access],
        owns: Callable[[UserId], bool],
        accounts: Callable[[], Awaitable[Collection[UserId]]],
        last_seen: LastSeen,
        settings: ObservationSettings,
        *,
        clock: Callable[[], float] = time.time,
        alone: Callable[[], bool] = lambda: True,
        elsewhere: Callable[[UserId], None] = lambda account: None,
    ) -> None:
        self._keeper = keeper
        self._access = access
        self._owns = owns
        self._accounts = accounts
        self._last_seen = last_seen
        self._settings = settings
        self._clock = clock
        self._sweep = Sweep(settings.sweep_hours * 3600, settings.sweep_rate)
        self._pushes = Pushes(
            keeper,
            last_seen,
            self._missed_some,
            clock=clock,
            alone=alone,
            elsewhere=elsewhere,
        )
        self._watchers = Watchers(
            open_watch,
            self._watched_saw,
            self._is_to_be_watched,
            limit=settings.watch_accounts,
            linger=settings.linger,
        )
        self._looks = _Looks(self._look_after_activity)
        self._news = asyncio.Event()
        self._missed = True  # nobody looked while the bridge was not running
        self._taken: set[UserId] = set()
        self._known = False
        self._task: asyncio.Task[None] | None = None

    # -- what others tell

    def activity(self, account: UserId) -> None:
        """The account did something that we were told of. Cheap for accounts that are not kept."""
        if self._owns(account) or not self._keeper.keeps(account):
            return
        self._pushes.kept(account)
        if not self._pushes.covers(account) and not self._watch(account):
            self._looks.ask(account)

    def wrote(self, account: UserId) -> None:
        """The keeper has written the account's document, or is about to: others may answer."""
        if self._owns(account):
            return
        self._pushes.kept(account)
        if not self._pushes.covers(account):
            self._watch(account)

    def happened(self, account: UserId, events: int) -> None:
        """So many events came, or are about to come, in rooms of the account."""
        self._watchers.happened(account, events)

    def receive(self, push: DirectPush) -> PushAnswer | None:
        """For `DirectPushEndpoint`. None until `start`: nobody knows yet which accounts are kept."""
        return None if self._task is None else self._pushes.receive(push)

    # -- what others ask

    def how(self, account: UserId) -> ObservationMode:
        """How changes of the account are noticed now."""
        if self._owns(account):
            return ObservationMode.SWEPT
        if self._access(account) is Access.NONE:
            return ObservationMode.NONE
        if self._pushes.covers(account):
            return ObservationMode.PUSHED
        if self._watchers.live(account):
            return ObservationMode.WATCHED
        return ObservationMode.ACTIVITY

    @property
    def watched(self) -> int:
        """How many accounts are watched."""
        return len(self._watchers)

    @property
    def pushed_since(self) -> float | None:
        """Since when the module has been heard, seconds since the epoch; None: it is not."""
        return self._pushes.alive_since

    @property
    def pushes_received(self) -> int:
        """Changes of kept accounts that were pushed."""
        return self._pushes.received

    # -- running

    async def start(self) -> None:
        """Begin to watch and to sweep."""
        self._watchers.start()
        self._task = asyncio.create_task(self._sweep_on(), name="sweep of m.direct")

    async def stop(self) -> None:
        """Stop; what is under way in the keeper goes on."""
        self._looks.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._watchers.stop()

    def taken(self, accounts: Collection[UserId]) -> None:
        """The keeper has taken these accounts up; nobody may have looked for a while."""
        self._taken.update(accounts)
        for account in accounts:
            if self._task is not None and self._keeper.keeps(account):
                self._watch(account)
        self._news.set()

    # -- watching

    def _watch(self, account: UserId) -> bool:
        return self._access(account) is Access.MASQUERADE and self._watchers.note(account)

    def _is_to_be_watched(self, account: UserId) -> bool:
        return (
            self._access(account) is Access.MASQUERADE
            and self._keeper.keeps(account)
            and not self._pushes.covers(account)
        )

    def _watched_saw(self, account: UserId, content: bytes) -> None:
        # While it is pushed too, the push has come already, and what comes now may be the older.
        if self._keeper.keeps(account) and not self._pushes.covers(account):
            self._keeper.saw(account, content, Source.WATCHED)

    def _look_after_activity(self, account: UserId) -> None:
        if self.how(account) is ObservationMode.ACTIVITY and self._keeper.keeps(account):
            self._keeper.look(account, Source.ACTIVITY)

    # -- sweeping

    def _missed_some(self) -> None:
        self._missed = True
        self._news.set()

    async def _sweep_on(self) -> None:
        refresh_at = self._clock()
        while True:
            now = self._clock()
            try:
                if now >= refresh_at or self._taken:
                    refresh_at = now + TRY_AGAIN
                    await self._refresh()
                    refresh_at = now + REFRESH
                if self._missed and self._known:
                    self._missed, self._taken = False, set()
                    self._sweep.hurry(self._clock(), lambda account: not self._owns(account))
                if self._taken and self._known:
                    taken, self._taken = self._taken, set()
                    self._sweep.hurry(self._clock(), taken.__contains__)
                while (turn := self._sweep.pop(self._clock())) is not None:
                    self._sweep_one(*turn)
            except BridgeError as error:
                log.warning("the accounts to sweep could not be read", reason=str(error))
            except Exception:
                log.exception("the sweep of m.direct met a fault of our own")
            await self._wait_until(refresh_at)

    async def _wait_until(self, moment: float) -> None:
        """Until then, or the next turn of the sweep, or news."""
        now = self._clock()
        turn = self._sweep.wait(now)
        wait = moment - now if turn is None else min(moment - now, turn)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(wait, 0.01), REFRESH)):
                await self._news.wait()
        self._news.clear()

    async def _refresh(self) -> None:
        accounts = [each for each in await self._accounts() if self._keeper.keeps(each)]
        for account in accounts:
            self._pushes.kept(account)
        if not self._known:
            self._watch_the_latest(accounts)
        self._sweep.replace(accounts, self._clock(), self._last_seen)
        self._known = True

    def _watch_the_latest(self, accounts: Collection[UserId]) -> None:
        """After a start: watch those who were seen last, as far as there are places."""
        users = [account for account in accounts if not self._owns(account)]
        users.sort(key=lambda account: self._last_seen(account) or 0.0)
        for account in users[-self._settings.watch_accounts :] if users else []:
            if not self._pushes.covers(account):
                self._watch(account)

    def _sweep_one(self, account: UserId, hurried: bool) -> None:
        mode = self.how(account)
        if mode is ObservationMode.NONE or not self._keeper.keeps(account):
            return
        if mode is not ObservationMode.ACTIVITY and not hurried:
            seen = self._last_seen(account)
            seldom = (SELDOM - 0.5) * self._settings.sweep_hours * 3600
            if seen is not None and seen > self._clock() - seldom:
                return
        self._keeper.look(account, Source.SWEEP)


class _Looks:
    """Reads that follow activity: soon after it, and seldom for each account."""

    def __init__(self, look: Callable[[UserId], None]) -> None:
        self._look = look
        self._last: dict[UserId, float] = {}
        self._asked: dict[UserId, asyncio.TimerHandle] = {}

    def ask(self, account: UserId) -> None:
        """Look soon, unless that is going to happen already."""
        if account in self._asked or len(self._asked) >= MAX_LOOKS:
            return
        loop = asyncio.get_running_loop()
        at = max(loop.time() + AFTER, self._last.get(account, float("-inf")) + APART)
        self._asked[account] = loop.call_at(at, self._fire, account)

    def _fire(self, account: UserId) -> None:
        del self._asked[account]
        self._last.pop(account, None)
        self._last[account] = asyncio.get_running_loop().time()
        if len(self._last) > MAX_LOOKS:
            del self._last[next(iter(self._last))]
        self._look(account)

    def stop(self) -> None:
        """Forget what was asked for."""
        for handle in self._asked.values():
            handle.cancel()
        self._asked.clear()
