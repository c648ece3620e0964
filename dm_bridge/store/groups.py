"""What many ask of the database at the same time, gathered into one statement: one commit for all of them.

While one group is under way, the next one gathers. So whoever is alone waits for nobody, and under load the number
of commits does not grow with the number of writes.

The rule that must never break: what `add` returns is done only when the item is committed, and items are
committed in the order in which they were added. When a group fails, everybody in it learns why; an item that
cannot be written at all takes no other one with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from dm_bridge.errors import BridgeError

T = TypeVar("T")
R = TypeVar("R")

MOST = 500
"""Items that are written together, if nothing else is said."""


class Groups(Generic[T, R]):
    """``write`` commits items, all or none, and returns a result for each, in their order; or reads one for each.

    ``most``: how many items it takes at once.
    """

    def __init__(
        self, write: Callable[[Sequence[T]], Awaitable[Sequence[R]]], most: int = MOST
    ) -> None:
        self._write = write
        self._most = most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._added = self._ended = 0
        self._watchers: list[tuple[int, asyncio.Future[None]]] = []

    def add(self, item: T) -> asyncio.Future[R]:
        """Have ``item`` written with the next group. To be awaited; raises what the write raised."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._added += 1
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._run(), name="a group of writes")
        return future

    async def settled(self) -> None:
        """Return once what was added so far is committed or has failed, even if nobody waits for it any more."""
        if self._ended < self._added:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.append((self._added, ended))
            await ended

    async def _run(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            try:
                await self._commit(group)
            except BaseException as error:  # we are cancelled: nobody may wait for ever
                for _, future in group + self._waiting:
                    _fail(future, error)
                self._count(len(group) + len(self._waiting))
                self._waiting = []
                raise
            self._count(len(group))

    def _count(self, ended: int) -> None:
        self._ended += ended
        over = [watcher for watcher in self._watchers if watcher[0] <= self._ended]
        self._watchers = self._watchers[len(over) :]  # they are in order
        for _, watcher in over:
            if not watcher.done():
                watcher.set_result(None)

    async def _commit(self, group: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._write([item for item, _ in group])
        except BridgeError as error:
            for _, future in group:
                _fail(future, error)
        except Exception as error:
            if len(group) == 1:
                _fail(group[0][1], error)
                return
            for one in group:
                await self._commit([one])
        else:
            for (_, future), result in zip(group, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _fail(future: asyncio.Future[R], error: BaseException) -> None:
    if future.done():
        return
    if isinstance(error, asyncio.CancelledError):
        future.cancel()
        return
    future.set_exception(error)
    future.exception()  # who asked may be gone; then nobody has to know
