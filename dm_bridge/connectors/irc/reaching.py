"""Looking at a server without logging in: DNS, port, certificate.

The rule that must never break: nothing is sent.
"""

from __future__ import annotations

from dm_bridge.connectors.certificate import expiry
from dm_bridge.connectors.irc.transport import Route, close
from dm_bridge.errors import NetworkError
from dm_bridge.network.reaching import Reached


async def reach(route: Route) -> Reached:
    """Where ``route`` leads, and until when its certificate is good. Raises `NetworkError`."""
    try:
        _, writer = await route.connect()
    except NetworkError as error:
        raise NetworkError(
            f"{error.message} Check networks.irc.servers.{route.name}, and that nothing blocks the way.",
            retry_after=error.retry_after,
        ) from error
    try:
        return Reached(route.address, expiry(writer))
    finally:
        await close(writer)
