"""The first words with the homeserver: does it know us, are we who we think, can it reach us?

The rule that must never break: what is wrong is said in a sentence that names the setting to change.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from mautrix.api import Path

from dm_bridge.errors import HomeserverError, RegistrationError
from dm_bridge.ids import UserId, server_name
from dm_bridge.matrix import ghosts
from dm_bridge.matrix.homeserver import Homeserver
from dm_bridge.texts import phrase

_UNKNOWN_TOKEN = ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", "M_FORBIDDEN", "M_UNAUTHORIZED")


async def check_identity(homeserver: Homeserver, bot: UserId) -> None:
    """Make sure that our token is known, and belongs to ``bot``.

    Raises `RegistrationError` when an admin must act, `HomeserverError` when the homeserver does not
    answer as one.
    """
    try:
        who = await homeserver.whoami()
    except HomeserverError as error:
        if error.errcode in _UNKNOWN_TOKEN:
            raise RegistrationError(phrase("registration-unknown")) from error
        if error.status == 404:
            raise RegistrationError(
                phrase("registration-no-homeserver", url=homeserver.url, error=str(error))
            ) from error
        raise
    if server_name(who) != server_name(bot):
        raise RegistrationError(
            phrase("registration-other-domain", name=server_name(who), domain=server_name(bot))
        )
    if who != bot:
        raise RegistrationError(phrase("registration-other-bot", user=who, bot=bot))
    await ghosts.register(homeserver, bot)


async def accounts_problem(homeserver: Homeserver) -> str | None:
    """Why the second registration does not work, or None when it does."""
    try:
        await homeserver.whoami()
    except HomeserverError as error:
        if error.errcode in _UNKNOWN_TOKEN:
            return phrase("registration-no-accounts")
        raise
    return None


async def ping_problem(
    homeserver: Homeserver,
    appservice: str,
    url: str,
    arrived: Callable[[str], Awaitable[bool]],
    name: str = "",
) -> str | None:
    """Why the homeserver cannot reach us at ``url``, or None when it can (MSC2659).

    ``arrived``: whether a ping with this transaction id, which begins with ``name``, has reached our endpoint.
    """
    path = Path.v1.appservice[appservice].ping
    transaction = name + secrets.token_hex(8)
    try:
        body = {"transaction_id": transaction}
        await homeserver.request("POST", path, body=body, deadline=70)
    except HomeserverError as error:
        match error.errcode:
            case "M_UNRECOGNIZED":
                return None
            case "M_FORBIDDEN":
                return phrase("registration-other-id", id=appservice)
            case "M_URL_NOT_SET":
                return phrase("registration-no-url")
            case "M_BAD_STATUS":
                return phrase("registration-refused-there", url=url)
            case "M_CONNECTION_FAILED" | "M_CONNECTION_TIMEOUT":
                # Synapse also says so of a ping that came while it makes up for pushes that failed.
                if await arrived(transaction):
                    return None
                return phrase("registration-not-reached", url=url)
            case _:
                raise
    if not await arrived(transaction):
        return phrase("registration-other-program", url=url)
    return None
