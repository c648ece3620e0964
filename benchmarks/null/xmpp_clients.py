"""``python -m benchmarks.null.xmpp_clients [N]``: what N slixmpp clients cost, apart from everything else."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from statistics import median

from slixmpp import ClientXMPP


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _measure(count: int) -> None:
    clients, took = [ClientXMPP("first@example.org", "secret")], []
    before = _resident()
    for number in range(count):
        start = time.perf_counter()
        clients.append(ClientXMPP(f"user{number}@example.org", "secret"))
        took.append(time.perf_counter() - start)
    memory = (_resident() - before) / count
    print(
        f"{count} clients: {median(took) * 1000:.1f} ms each to build (at most {max(took) * 1000:.1f} ms), "
        f"{memory * 1024:.0f} kB each"
    )


if __name__ == "__main__":
    asyncio.run(_measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
