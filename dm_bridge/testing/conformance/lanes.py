"""Several kits side by side, for a server that makes everybody wait: each has its own server, loop and thread.

The rule that must never break: what a check finds is told by the test of that check, and by no other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from dm_bridge.testing.conformance.adapter import Adapter
from dm_bridge.testing.conformance.kit import Check, Kit


class Lanes:
    """``with Lanes(MyAdapter, directory, 4, checks) as lanes``: the checks are under way, in their order.

    Where a server does not start, the others take its checks, and the end raises that.
    """

    def __init__(
        self,
        adapter: Callable[[], Adapter],
        directory: Path,
        count: int,
        checks: Iterable[Check],
    ) -> None:
        self._adapter = adapter
        self._failures: list[BaseException] = []
        self._waiting = deque(dict.fromkeys(checks))
        self._outcomes: dict[Check, Future[None]] = {check: Future() for check in self._waiting}
        self._threads = [
            threading.Thread(target=self._work, args=(directory / f"lane-{number}",))
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waiting.clear()
        for thread in self._threads:
            thread.join()
        if self._failures and error is None:
            raise self._failures[0]

    def run(self, check: Check) -> None:
        """Wait for a check. Raises what `Kit.run` does."""
        self._outcomes[check].result()

    def _work(self, directory: Path) -> None:
        try:
            with Kit(self._adapter(), directory) as kit:
                while (check := self._next()) is not None:
                    self._settle(check, kit.run)
        except BaseException as error:  # the server does not start, or does not end
            self._failures.append(error)
            if len(self._failures) == len(self._threads):  # there is nobody left to take the rest
                while (check := self._next()) is not None:
                    self._outcomes[check].set_exception(error)

    def _next(self) -> Check | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _settle(self, check: Check, run: Callable[[Check], None]) -> None:
        try:
            run(check)
        except BaseException as error:
            self._outcomes[check].set_exception(error)
        else:
            self._outcomes[check].set_result(None)
