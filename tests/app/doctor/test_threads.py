"""Threads that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from dm_bridge.app.doctor.threads import LooseThreads


def test_a_thread_that_never_ends_keeps_nobody_and_others_answer() -> None:
    hanging = threading.Event()
    seen: list[bool] = []

    def hang() -> None:
        seen.append(threading.current_thread().daemon)
        hanging.wait(60)

    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(LooseThreads())
        hung = loop.run_in_executor(None, hang)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        hung.cancel()
        return await asyncio.to_thread(lambda: 7)

    began = time.monotonic()
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(main())))
    thread.start()
    thread.join(30)
    took = time.monotonic() - began
    hanging.set()
    assert (answers, seen) == ([7], [True])
    assert took < 30
