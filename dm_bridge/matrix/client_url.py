"""Finds where a homeserver's client-server API is, for a person who names it on a command line.

The rule that must never break: what a server's .well-known says is followed to https only. Nothing
secret is sent from here.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
from yarl import URL

from dm_bridge.errors import HomeserverError, UserError

DEADLINE = 20.0
MAX_DOCUMENT = 64 * 1024


async def find_client_url(session: aiohttp.ClientSession, named: str) -> str:
    """The base URL of the client-server API of ``named``: a URL, or a server name.

    A server name is looked up as clients do it (specification, "Server discovery"). A URL that is not
    the API's is taken as the server's, and looked up too. Raises `UserError`, `HomeserverError`.
    """
    url = _url(named.strip())
    if "://" in named and await _speaks_matrix(session, url):
        return str(url).rstrip("/")
    named_there = await _well_known(session, url)
    base = named_there or (url if "://" not in named else None)
    if base is not None and await _speaks_matrix(session, base):
        return str(base).rstrip("/")
    raise HomeserverError(
        f"There is no Matrix homeserver at {base or url}, or it does not work. --homeserver takes the URL of the "
        "client API, such as https://matrix.example.org, or a server name, such as example.org."
    )


def _url(named: str) -> URL:
    wrong = UserError(
        f"{named!r} is no homeserver. Give a URL, such as https://matrix.example.org, or a server "
        "name, such as example.org."
    )
    try:
        url = URL(named if "://" in named else f"https://{named}")
        host = url.host
    except ValueError:
        raise wrong from None
    if url.scheme not in ("https", "http") or not host or url.user or url.query_string:
        raise wrong
    if url.fragment or ("://" not in named and url.path != "/"):
        raise wrong
    return url


async def _speaks_matrix(session: aiohttp.ClientSession, base: URL) -> bool:
    status, answer = await _get(session, f"{str(base).rstrip('/')}/_matrix/client/versions")
    return status == 200 and isinstance(answer, dict) and isinstance(answer.get("versions"), list)


async def _well_known(session: aiohttp.ClientSession, server: URL) -> URL | None:
    """What the server's .well-known names, or None where it names nothing that can be used."""
    status, answer = await _get(session, str(server.origin() / ".well-known/matrix/client"))
    if status != 200 or not isinstance(answer, dict):
        return None
    homeserver = answer.get("m.homeserver")
    named = homeserver.get("base_url") if isinstance(homeserver, dict) else None
    try:
        url = URL(named) if isinstance(named, str) else URL()
        usable = url.scheme == "https" and url.host and not url.user and not url.query_string
    except ValueError:
        return None
    return url if usable else None


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    """Status and JSON of an answer; None for what is no JSON, or too long."""
    try:
        async with asyncio.timeout(DEADLINE), session.get(url, max_redirects=4) as response:
            if response.url.scheme != "https" and URL(url).scheme == "https":
                return 0, None
            raw = bytearray()
            async for chunk in response.content.iter_any():
                raw += chunk
                if len(raw) > MAX_DOCUMENT:
                    return response.status, None
            try:
                return response.status, json.loads(raw)
            except (ValueError, RecursionError):
                return response.status, None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise HomeserverError(
            f"{URL(url).host} cannot be reached ({_cause(error)}). Check --homeserver and the network."
        ) from error


def _cause(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "its certificate is not accepted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or "no connection"
    return str(error) or type(error).__name__
