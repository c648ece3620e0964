"""The homeserver: what it is, what it offers, and what time it has. Pure, but for one question.

The rule that must never break: only what the bridge uses is asked for, and a newer homeserver is no fault.
"""

from __future__ import annotations

import re
from typing import Any

from mautrix.api import Path

from dm_bridge.app.doctor.findings import Finding, mend, note, ok
from dm_bridge.matrix.greeting import Greeting
from dm_bridge.matrix.homeserver import Homeserver

ABOUT, CLOCK, ROOMS = "homeserver", "clock", "room versions"
TESTED_ROOMS = 12
"""The newest room version that is tested."""
SKEW = 30.0
"""Seconds by which clocks may differ: what is said of times is then still right."""

_VERSION = re.compile(r"v(\d+)\.(\d+)\Z")


def judge(greeting: Greeting, url: str) -> list[Finding]:
    """Whether it offers what the bridge uses of the client-server API."""
    name = greeting.software or "A homeserver"
    newest = max(map(_number, greeting.versions), default=(0, 0))
    said = f"v{newest[0]}.{newest[1]}" if newest > (0, 0) else "none that the bridge knows"
    here = f"{name} at {url} (Matrix {said})"
    if newest < (1, 1):
        return [mend(ABOUT, f"{here} is too old: the bridge needs Matrix v1.1. Upgrade it.")]
    lacking = []
    if newest < (1, 7):
        lacking.append("cannot be asked whether it reaches the bridge (v1.7, MSC2659)")
    if newest < (1, 11) and not greeting.unstable.get("org.matrix.msc3916.stable"):
        lacking.append("serves no files to the bridge (v1.11, MSC3916)")
    if newest < (1, 13) and "synapse" not in name.lower():
        lacking.append("may push no typing, receipts and presence (v1.13, MSC2409)")
    if lacking:
        return [note(ABOUT, f"{here} {', and '.join(lacking)}. Upgrade it when you can.")]
    return [ok(ABOUT, f"{here} offers all that the bridge uses.")]


def _number(version: str) -> tuple[int, int]:
    match = _VERSION.match(version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


async def check_rooms(homeserver: Homeserver) -> list[Finding]:
    """Which rooms it makes. Raises `HomeserverError`."""
    return judge_rooms(await homeserver.request("GET", Path.v3.capabilities, deadline=4))


def judge_rooms(answer: dict[str, Any]) -> list[Finding]:
    """Of ``GET /capabilities``."""
    match answer:
        case {"capabilities": {"m.room_versions": {"default": str(default)}}}:
            pass
        case _:
            return [note(ROOMS, "The homeserver does not say which room versions it makes.")]
    if default.isdecimal() and int(default) <= TESTED_ROOMS:
        return [ok(ROOMS, f"New rooms get version {default}.")]
    return [
        note(
            ROOMS,
            f"New rooms get version {default}, with which this version of the bridge was not tested (up to "
            f"{TESTED_ROOMS}). Upgrade dm_bridge when there is a newer one, or set the homeserver's "
            "default_room_version.",
        )
    ]


def judge_clock(whose: str, theirs: float | None, before: float, after: float) -> Finding:
    """Whether a clock, read between ``before`` and ``after`` of ours, agrees. A Date header has whole seconds."""
    if theirs is None:
        return note(CLOCK, f"The {whose} does not say what time it has.")
    ahead = max(theirs - after, 0.0) or min(theirs + 1.0 - before, 0.0)
    if abs(ahead) <= SKEW:
        return ok(CLOCK, f"The clocks of this machine and of the {whose} agree.")
    which = "ahead of" if ahead > 0 else "behind"
    return mend(
        CLOCK,
        f"The clock of the {whose} is {abs(ahead):,.0f} seconds {which} this machine's, so messages get wrong "
        "times. Have both set by NTP (timedatectl set-ntp true).",
    )
