"""The life of one simulated process: everything that it started ends at once when it is killed.

The rule that must never break: after a kill, nothing that the process does has an effect any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

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

    def kill(self) -> None:
        """End everything, wherever it is."""
        if not self.alive:
            return
        self.alive = False
        for task in self._tasks:
            if not task.done():
                task.cancel()
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
