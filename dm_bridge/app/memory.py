"""How a process that holds many logins spares memory, and pauses.

The rule that must never break: nothing here can become garbage and stay; what is frozen was there before any work.
"""

from __future__ import annotations

import asyncio.sslproto
import gc

TLS_BUFFER = 32 * 1024
"""Bytes that are read from a TLS connection at once, at most; a record has 16 KiB (RFC 8446, section 5.1)."""
COLLECTIONS = (1_000, 10, 100)
"""See `gc.set_threshold`: of the middle generation few objects at a time, of the oldest rarely."""


def make_room() -> None:
    """To be called once, when everything is imported and nothing has begun; for the whole process.

    A full garbage collection looks at every object, and nothing else runs meanwhile: for 100 ms, nearly all of
    it for what was imported, which is never garbage. And asyncio gives each TLS connection 256 KiB to read
    into, which is more than all the rest of a login.
    """
    asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
