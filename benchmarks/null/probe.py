"""What keeps the event loop of this process, for how long.

A heartbeat tells how late everybody else is served; each callback is timed; and where one takes long, a thread
looks what it is doing. Beside each time stands the processor time that was used in it: on a busy machine a
process waits for its turn, which is no fault of its own.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

BEAT = 0.01
LONG = 0.015
"""Seconds after which it is looked at what a callback does."""
_LOOK_EVERY = 0.005
_FRAMES = 8


class Probe:
    """`start` it inside the loop; it stays until the process ends."""

    def __init__(self) -> None:
        self._began = 0.0
        self._seen = ""
        self._main = 0
        self.reset()

    def reset(self) -> None:
        """Forget what was."""
        self._late = self._late_cpu = 0.0
        self._longest: list[tuple[float, float, str]] = []
        self._collecting = self._collected = 0.0

    def start(self) -> asyncio.Task[None]:
        """Time whatever the loop does from now on; returns the heartbeat."""
        self._main = threading.get_ident()
        original, timed = asyncio.Handle._run, self._timed
        setattr(asyncio.Handle, "_run", lambda handle: timed(handle, original))  # noqa: B010
        gc.callbacks.append(self._on_collection)
        threading.Thread(target=self._look, name="probe", daemon=True).start()
        return asyncio.create_task(self._beat())

    def summary(self) -> dict[str, Any]:
        """Seconds: ``late``: the heartbeat; ``callback``: one; ``collection``: of garbage; each at most, and what
        the longest callbacks were."""
        longest = sorted(self._longest, reverse=True)
        return {
            "late": self._late,
            "late_cpu": self._late_cpu,
            "callback": longest[0][0] if longest else 0.0,
            "callback_cpu": max((cpu for _, cpu, _ in longest), default=0.0),
            "collection": self._collected,
            "longest": longest[:5],
        }

    async def _beat(self) -> None:
        while True:
            before, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(BEAT)
            late = time.perf_counter() - before - BEAT
            self._late = max(self._late, late)
            self._late_cpu = max(self._late_cpu, min(late, time.thread_time() - cpu))

    def _timed(self, handle: asyncio.Handle, run: Any) -> None:
        self._seen = ""
        self._began = began = time.perf_counter()
        cpu = time.thread_time()
        run(handle)
        took = time.perf_counter() - began
        self._began = 0.0
        if took > LONG:
            what = self._seen or repr(handle)[:200]
            self._longest.append((took, time.thread_time() - cpu, what))

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_EVERY)
            began = self._began
            if began and not self._seen and time.perf_counter() - began > LONG:
                frame = sys._current_frames().get(self._main)
                if began == self._began:
                    self._seen = _where(frame)

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.perf_counter()
        else:
            self._collected = max(self._collected, time.perf_counter() - self._collecting)


def _where(frame: FrameType | None) -> str:
    lines: list[str] = []
    while frame is not None and len(lines) < _FRAMES:
        code = frame.f_code
        lines.append(f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " < ".join(lines)
