"""The life of one simulated process: everything that it started ends at once when it is killed.

The rule that must never break: after a kill, nothing that the process does has an effect any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from dm_bridge.testing.virtual_time import VirtualLoop

T = TypeVar("T")

_LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class Life:
    """Tasks that are started in a life belong to it, and so do those that they start.

    The loop must have `task_factory` as its task factory. ``kill_at``: the step at which it ends by itself.
    """

    def __init__(self, kill_at: int | None = None, on_death: Callable[[], None] | None = None):
        self.alive = True
        self.steps = 0
        self.kill_at = kill_at
        self.on_death = on_death
        self.on_freeze: list[Callable[[], None]] = []
        self._thaw: Callable[[], None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._context: Context = copy_context()
        self._context.run(_LIFE.set, self)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` as a part of this life."""
        return asyncio.get_running_loop().create_task(work, context=self._context)

    def step(self) -> None:
        """The process is about to do something that others see, or has just done it: it may be killed here."""
        if not self.alive:
            raise asyncio.CancelledError
        self.steps += 1
        if self.steps == self.kill_at:
            self.kill()
            raise asyncio.CancelledError

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self._thaw is not None

    def freeze(self, loop: VirtualLoop) -> None:
        """Stand still, as after SIGSTOP, until `thaw`. What has left the process goes on (`on_freeze`)."""
        if self.alive and not self.frozen:
            self._thaw = loop.hold(lambda context: context.get(_LIFE) is self)
            for tell in self.on_freeze:
                tell()

    def thaw(self) -> None:
        """Go on: nothing of it knows how much time has passed."""
        thaw, self._thaw = self._thaw, None
        if thaw is not None:
            thaw()

    def kill(self) -> None:
        """End everything, wherever it is."""
        if not self.alive:
            return
        self.alive = False
        for task in self._tasks:
            if not task.done():
                task.cancel()
        self.thaw()
        if self.on_death is not None:
            self.on_death()

    @property
    def at_work(self) -> list[asyncio.Task[Any]]:
        """The tasks that are not done."""
        self._tasks = [task for task in self._tasks if not task.done()]
        return list(self._tasks)

    def add(self, task: asyncio.Task[Any]) -> None:
        """For `task_factory`."""
        self._tasks.append(task)
        if not self.alive:
            task.cancel()


def task_factory(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], context: Context | None = None
) -> asyncio.Task[T]:
    """A task factory that knows to which life a task belongs."""
    task = asyncio.Task(coro, loop=loop, context=context)
    life = _LIFE.get() if context is None else context.get(_LIFE)
    if life is not None:
        life.add(task)
    return task
