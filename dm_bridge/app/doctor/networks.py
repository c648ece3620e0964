"""The networks' servers: DNS, ports, certificates.

The rule that must never break: no login is used; a network that is away is no fault of the bridge, and still said.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from dm_bridge.app.doctor.findings import Finding, mend, note, ok
from dm_bridge.config.schema import NetworkSection
from dm_bridge.errors import ConfigError, NetworkError
from dm_bridge.ids import ContactId
from dm_bridge.network.reaching import Reachable, Reached

MOST = 12
"""How many servers of one network are looked at."""
SERVER_SECONDS = 4.5
SOON = 14 * 86400.0
"""Seconds before its end from which a certificate is worth a word."""


async def check(section: NetworkSection, accounts: Sequence[ContactId]) -> list[Finding]:
    """``accounts``: those of users on this network."""
    about = section.connector.title
    try:
        network = section.build()
        await network.start()
    except ConfigError as error:
        return [mend(about, error.message)]
    try:
        if not isinstance(network, Reachable):
            return [note(about, "Its connector has no way to look at its servers; try a login.")]
        servers = list(network.servers(accounts))
        if not servers:
            return [
                ok(
                    about,
                    "No server is named and nobody has logged in, so there is none to look at.",
                )
            ]
        findings = list(
            await asyncio.gather(*(_look(about, network, server) for server in servers[:MOST]))
        )
        if len(servers) > MOST:
            findings.append(
                note(about, f"{len(servers) - MOST:,} more servers were not looked at.")
            )
        return findings
    finally:
        await network.stop()


async def _look(about: str, network: Reachable, server: str) -> Finding:
    try:
        async with asyncio.timeout(SERVER_SECONDS):
            return judge(about, server, await network.reach(server), time.time())
    except TimeoutError:
        return mend(
            about,
            f"{server} did not answer within {SERVER_SECONDS:g} seconds. Check that its server runs, that nothing "
            "blocks the way, and the DNS of this machine.",
        )
    except NetworkError as error:
        return mend(about, error.message)


def judge(about: str, server: str, reached: Reached, now: float) -> Finding:
    """Of a server that answers. ``now``: seconds since the epoch."""
    if reached.expires is None:
        return ok(about, f"{server} answers at {reached.address}, without encryption.")
    days = (reached.expires - now) / 86400
    if days < 0:
        return mend(
            about,
            f"The certificate of {server} at {reached.address} has expired. Have it renewed, and change its "
            "fingerprint in the configuration then.",
        )
    if days * 86400 < SOON:
        return note(
            about,
            f"{server} answers at {reached.address}, but its certificate expires in {days:.0f} days. Have it "
            "renewed.",
        )
    return ok(
        about,
        f"{server} answers at {reached.address}; its certificate is good for {days:.0f} days.",
    )
