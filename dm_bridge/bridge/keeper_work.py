"""What a keeper has to do for one account, and how soon it may write again.

The rule that must never break: touches are counted, never dropped; whoever waits for one returns only
once it has been dealt with.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

from dm_bridge.direct import Source
from dm_bridge.ids import UserId

ARRIVALS = 64
"""Versions of one account that may wait to be judged; then the oldest are not."""
HASTY = 4
"""Writes of late from which on no more are hastened, except for many touches."""
MANY = 20
"""Touches that are worth a write of their own."""
CALM = 60.0
"""Seconds without a write of ours after which an account's next one is not delayed."""


class Work:
    """What is to be done for one account: wakings are counted, and so are those dealt with.

    ``touches``: how often the ledger changed; ``touched_at``: when last, by the clock of the loop.
    ``urged``: set when somebody waits.
    """

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.woken = 0
        self.kept = 0
        self.touches = 0
        self.touched_at = 0.0
        self.source = Source.READ
        self.must_read = False
        self.arrived: deque[tuple[bytes, Source]] = deque(maxlen=ARRIVALS)
        self.urged = asyncio.Event()
        self._hasty = self._gathering = False
        self._taken = 0
        self._moved = asyncio.Event()

    def touch(self) -> None:
        """The ledger has changed."""
        self.must_read = True
        self.touches += 1
        self.touched_at = asyncio.get_running_loop().time()

    def hasten(self) -> None:
        """No more touches are under way: the next gathering of them is over, now or when it begins."""
        self._hasty = True
        if self._gathering:
            self.urged.set()

    @contextlib.contextmanager
    def gathering(self) -> Iterator[bool]:
        """Around the gathering of touches, which is over at once when this is true."""
        self._gathering = True
        try:
            yield self._hasty
        finally:
            self._gathering = self._hasty = False

    @property
    def gathered(self) -> int:
        """The touches for which nothing was done yet."""
        return self.touches - self._taken

    def take(self) -> int:
        """Something is about to be done for all touches so far; how many there were."""
        self._taken = self.touches
        return self.touches

    def settle(self, woken: int) -> None:
        """Every waking up to this one has been dealt with."""
        self.kept = woken
        self._moved.set()
        self._moved = asyncio.Event()

    async def reached(self, woken: int) -> None:
        """Return once that waking has been dealt with."""
        while self.kept < woken:
            await self._moved.wait()

    async def rest(self, seconds: float) -> None:
        """Wait, unless somebody urges."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.urged.wait()


class Paces:
    """How soon the next write of an account may follow: at once, unless there were some of late.

    The more there were, the longer touches gather, so that a thousand of them, however fast they come,
    are a handful of writes.
    """

    def __init__(self) -> None:
        self._wrote: dict[UserId, tuple[int, float]] = {}

    def wrote(self, account: UserId) -> None:
        """The account's document is being written."""
        writes, _ = self._wrote.get(account, (0, 0.0))
        self._wrote[account] = writes + 1, asyncio.get_running_loop().time()

    def may_hasten(self, account: UserId) -> bool:
        """Whether one more write may follow at once."""
        return self._wrote.get(account, (0, 0.0))[0] < HASTY

    async def gather(self, account: UserId, work: Work) -> None:
        """Wait until touches pause for long enough, or somebody urges."""
        loop = asyncio.get_running_loop()
        writes, last = self._wrote.get(account, (0, 0.0))
        if not writes or loop.time() - last > CALM:
            self._wrote.pop(account, None)
            return
        with work.gathering() as over:
            while not over and not work.urged.is_set():
                until = min(work.touched_at + quiet(writes), last + patience(writes))
                if (wait := until - loop.time()) <= 0:
                    return
                await work.rest(wait)


def quiet(writes: int) -> float:
    """Seconds for which nothing may be touched before one more write, after so many of late."""
    return min(4.0, 0.25 * 2.0**writes)


def patience(writes: int) -> float:
    """Seconds after the last write for which touches that do not pause may keep one more back."""
    return min(300.0, 10.0 * 3.0 ** (writes - 1))
