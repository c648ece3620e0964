"""The bridge's page: whether its address leads to it, for browsers.

The rule that must never break: only what everybody may read is asked for.
"""

from __future__ import annotations

import aiohttp

from dm_bridge.app.doctor.findings import Finding, mend, ok

ABOUT = "page"
SECONDS = 4.5
MARK = "Content-Security-Policy"
"""A header that the bridge's page has; few others have it as strict."""


async def check(session: aiohttp.ClientSession, url: str) -> Finding:
    """Asks for the page at ``url``, as a browser would."""
    try:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        async with session.get(url, allow_redirects=False, timeout=timeout) as response:
            return judge(url, response.status, response.headers.get(MARK, ""))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return mend(
            ABOUT,
            f"{url} cannot be reached from here ({type(error).__name__}). Check the proxy that leads there, its "
            "certificate and DNS; users' browsers need it.",
        )


def judge(url: str, status: int, policy: str) -> Finding:
    """Of an answer."""
    if status == 200 and policy.startswith("default-src 'none'; script-src 'self'"):
        return ok(ABOUT, f"The page is at {url}.")
    if 300 <= status < 400:
        return mend(
            ABOUT,
            f"{url} sends browsers elsewhere ({status}). Set page.public_url to that address.",
        )
    return mend(
        ABOUT,
        f"Something else than the bridge's page is at {url} ({status}). Have the proxy pass that path on to "
        "/page/ at the address in appservice.listen, and leave the page's headers as they are.",
    )
