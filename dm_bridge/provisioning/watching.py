"""Waiting for a change of what a user sees: a snapshot, at once or as soon as something is different.

What is in memory is looked at every second; of what is in the database, one row of stamps every other second,
through indexes (`dm_bridge.store.stamps`).

The rule that must never break: who waits takes nothing from those who ask; so how many may wait is bounded, for
each user and in all, and all end when the bridge stops, or when another process gets the user.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

from dm_bridge.bridge.logins import Logins
from dm_bridge.ids import UserId
from dm_bridge.provisioning.account import AccountCalls
from dm_bridge.provisioning.calls import Call
from dm_bridge.provisioning.deliveries import DeliveryCalls
from dm_bridge.provisioning.direct import DirectCalls
from dm_bridge.provisioning.refusals import Refusal, limited
from dm_bridge.provisioning.wire_watch import Snapshot
from dm_bridge.texts import phrase

LONGEST = 25.0
"""Seconds for which an answer is held back."""
LOOK_EVERY = 1.0
STAMP_EVERY = 2
"""Of these looks, one reads the stamps."""
ALL_EVERY = 10
"""Of these looks, one reads everything: time alone changes some of it."""
OF_ONE_USER = 5
AT_ONCE = 100

Stamp = Callable[[UserId], Awaitable[str]]
"""Some text that changes whenever something of a user's that is stored does."""


class Watching:
    """Answers `watch`. ``holds``: whether this process, ``name``, has a user."""

    def __init__(
        self,
        name: str,
        logins: Logins,
        account: AccountCalls,
        direct: DirectCalls,
        deliveries: DeliveryCalls,
        stamp: Stamp,
        holds: Callable[[UserId], bool] = lambda user: True,
    ) -> None:
        self._name = name
        self._logins = logins
        self._account = account
        self._direct = direct
        self._deliveries = deliveries
        self._stamp = stamp
        self._holds = holds
        self._waiting: Counter[UserId] = Counter()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopping.set()

    async def watch(self, call: Call) -> Snapshot:
        """A snapshot that is not the one that the caller has seen, or after `LONGEST` seconds any."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST
        with self._place(call.user):
            stamp = await self._stamp(call.user)
            before = self._states(call.user)
            snapshot = await self._snapshot(call)
            looks = 0
            while snapshot.digest == call.query.get("seen", "") and loop.time() < until:
                await self._pause(call.user)
                looks += 1
                states, known = self._states(call.user), stamp
                if looks % STAMP_EVERY == 0:
                    stamp = await self._stamp(call.user)
                if states != before or stamp != known or looks % ALL_EVERY == 0:
                    before, snapshot = states, await self._snapshot(call)
            return snapshot

    @contextlib.contextmanager
    def _place(self, user: UserId) -> Iterator[None]:
        """One that waits. Raises `Refusal`."""
        if self._waiting[user] >= OF_ONE_USER:
            raise limited(phrase("provisioning-too-many-pages"), 5.0)
        if self._waiting.total() >= AT_ONCE:
            raise Refusal(503, "M_UNKNOWN", phrase("provisioning-too-many-watch"), 10.0)
        self._waiting[user] += 1
        try:
            yield
        finally:
            self._waiting[user] -= 1
            if not self._waiting[user]:
                del self._waiting[user]

    async def _pause(self, user: UserId) -> None:
        """Until the next look. Raises `Refusal` when there is nothing to be seen here any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                await self._stopping.wait()
        if self._stopping.is_set():
            raise Refusal(503, "M_UNKNOWN", phrase("provisioning-watch-stops"), 2.0)
        if not self._holds(user):
            raise Refusal(503, "M_UNKNOWN", phrase("provisioning-moving"), 1.0)

    def _states(self, user: UserId) -> list[object]:
        """What is not in the database."""
        rows = self._logins.of(user)
        return [(row, self._logins.state(row.id), self._logins.since(row.id)) for row in rows]

    async def _snapshot(self, call: Call) -> Snapshot:
        who = await self._account.whoami(call)
        made = Snapshot(
            digest="",
            connected_to=self._name,
            networks=who.networks,
            logins=who.logins,
            direct=await self._direct.status(call),
            deliveries=await self._deliveries.of(call.user),
            management_room=who.management_room,
        )
        said = made.model_copy(update={"direct": made.direct.model_copy(update=_UNTIMED)})
        text = said.model_dump_json(by_alias=True).encode()
        return made.model_copy(update={"digest": hashlib.sha256(text).hexdigest()[:32]})


_UNTIMED = {"last_seen_ts": None}
"""The list is looked at all the time; that is no news."""
