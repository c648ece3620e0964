"""HTTP sessions for talking to homeservers.

The rule that must never break: a session repeats nothing by itself. aiohttp sends a PUT again, once and without a
word, when the connection that it used again breaks before the answer comes. Then a message may be in the room
twice, because a homeserver that was restarted has forgotten the transaction, and nobody knows.
"""

from __future__ import annotations

import aiohttp

from dm_bridge.web import without_repeats

KEEPALIVE = 30.0
"""Seconds for which an idle connection is kept; less than servers and proxies keep theirs."""


def homeserver_session(
    connections: int = 100, keepalive: float = KEEPALIVE
) -> aiohttp.ClientSession:
    """A session with at most so many ``connections`` at once, and no cookies. Its user sets deadlines."""
    return without_repeats(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=keepalive),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
    )
