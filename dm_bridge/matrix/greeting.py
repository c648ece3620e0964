"""Asking a homeserver what it is, without a token: client-server API, "API versions".

The rule that must never break: nothing secret is sent. What stands at the address may be anything.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from dm_bridge.errors import HomeserverError

MAX_ANSWER = 256 * 1024
NAME_SECONDS = 1.0
"""For its name, which is for people only."""

_ERRNO = re.compile(r"\[Errno (\d+)\]")


@dataclass(frozen=True, slots=True)
class Greeting:
    """``software``: "Synapse 1.163.2", or "" when nobody says. ``versions``: of the specification, as they came.

    ``clock``: the Date header, in seconds since the epoch; ``asked`` and ``answered``: ours, before and after.
    """

    software: str
    versions: tuple[str, ...]
    unstable: Mapping[str, bool]
    clock: float | None
    asked: float
    answered: float


async def greet(session: aiohttp.ClientSession, url: str, deadline: float) -> Greeting:
    """What stands at ``url``. Raises `HomeserverError`, whose sentence says what to do."""
    try:
        async with asyncio.timeout(deadline):
            asked = time.time()
            status, headers, answer = await _get(session, f"{url}/_matrix/client/versions")
            answered = time.time()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise HomeserverError(_unreached(url, error, deadline)) from error
    versions = answer.get("versions")
    if status != 200 or not isinstance(versions, list):
        what = "a proxy that cannot reach it" if status in (502, 503, 504) else "something else"
        raise HomeserverError(
            f"There is no Matrix homeserver at {url}, but {what} (it answered {status}). Check homeserver.url, "
            "and that the homeserver runs."
        )
    unstable = answer.get("unstable_features")
    return Greeting(
        await _software(session, url) or _plain(headers.get("Server", "").replace("/", " ")),
        tuple(version for version in versions if isinstance(version, str)),
        {key: value is True for key, value in unstable.items()}
        if isinstance(unstable, dict)
        else {},
        _date(headers.get("Date", "")),
        asked,
        answered,
    )


async def _software(session: aiohttp.ClientSession, url: str) -> str:
    """What it says of itself in the server-server API, if that is there too: headers may be a proxy's."""
    try:
        async with asyncio.timeout(NAME_SECONDS):
            _, _, answer = await _get(session, f"{url}/_matrix/federation/v1/version")
    except (aiohttp.ClientError, TimeoutError, OSError):
        return ""
    match answer:
        case {"server": {"name": str(name), "version": str(version)}}:
            return _plain(f"{name} {version.partition(' ')[0]}")
        case _:
            return ""


def _plain(name: str) -> str:
    return name[:60] if name.isprintable() else ""


async def _get(
    session: aiohttp.ClientSession, url: str
) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    async with session.get(url, allow_redirects=False) as response:
        raw = bytearray()
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > MAX_ANSWER:
                raise aiohttp.ClientPayloadError("the answer is too long")
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError:
            answer = None
        return response.status, response.headers, answer if isinstance(answer, dict) else {}


def _unreached(url: str, error: BaseException, deadline: float) -> str:
    check = "Check that it runs and that homeserver.url is right."
    match error:
        case TimeoutError():
            return f"The homeserver at {url} did not answer within {deadline:g} seconds. {check}"
        case aiohttp.ClientConnectorCertificateError():
            return (
                f"The certificate of the homeserver at {url} is not accepted ({error.certificate_error}). Renew "
                "it, or set homeserver.url to an address whose certificate this machine trusts."
            )
        case aiohttp.ClientSSLError():
            return (
                f"No encrypted connection to the homeserver at {url} could be made ({error.os_error}). Does "
                "homeserver.url say https where it should say http?"
            )
        case aiohttp.ClientConnectorDNSError():
            return f"DNS does not know the host of homeserver.url, {url}. Correct it, or this machine's DNS."
    said = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError):
        said = error.os_error.strerror or said
        number = _ERRNO.search(said)  # of several addresses, all are told: one will do
        said = os.strerror(int(number[1])) if number else said
    return f"The homeserver at {url} cannot be reached ({said}). {check}"


def _date(header: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(header).timestamp()
    except ValueError:
        return None
