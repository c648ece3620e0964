"""How fast the processor is while something is measured: one that is shared with other machines is not always so.

``python -m benchmarks.processor`` does the same small work again and again, a hundredth of the time, and prints
when it was done and how much processor time it took. Waiting for the processor does not count.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Self

PAUSE = 2.0
WORK = 300_000
_STOP_SECONDS = 5.0
_ROOT = Path(__file__).resolve().parent.parent


class Processor:
    """Watched while open, with ``async with``."""

    def __init__(self) -> None:
        self._took: list[tuple[float, float]] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benchmarks.processor"),
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._process.terminate()
        async with asyncio.timeout(_STOP_SECONDS):
            await self._process.wait()
            await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            at, took = map(float, line.split())
            self._took.append((at, took))

    def since(self, begin: float) -> float:
        """Seconds of processor time that the work has taken since ``begin`` (`time.monotonic`), on average."""
        return mean(took for at, took in self._took if at >= begin - PAUSE)


def _work() -> None:
    while True:
        begin, total = time.thread_time(), 0
        for number in range(WORK):
            total += number * number
        print(time.monotonic(), time.thread_time() - begin, flush=True)
        time.sleep(PAUSE)


if __name__ == "__main__":
    _work()
