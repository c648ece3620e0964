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
            raise RegistrationError(
                "The homeserver does not know our appservice.as_token. Run `dm-bridge registration`, list "
                "both files it writes in the homeserver's app_service_config_files, and restart it."
            ) from error
        if error.status == 404:
            raise RegistrationError(
                f"There is no Matrix homeserver at {homeserver.url} ({error}). Check homeserver.url."
            ) from error
        raise
    if server_name(who) != server_name(bot):
        raise RegistrationError(
            f"The homeserver's name is {server_name(who)}, but homeserver.domain says {server_name(bot)}. "
            "Correct homeserver.domain, run `dm-bridge registration` again, and restart the homeserver."
        )
    if who != bot:
        raise RegistrationError(
            f"The homeserver has registered us as {who}, but appservice.bot says {bot}. "
            "Run `dm-bridge registration` again and restart the homeserver."
        )
    await ghosts.register(homeserver, bot)


async def accounts_problem(homeserver: Homeserver) -> str | None:
    """Why the second registration does not work, or None when it does."""
    try:
        await homeserver.whoami()
    except HomeserverError as error:
        if error.errcode in _UNKNOWN_TOKEN:
            return (
                "The homeserver does not know appservice.accounts_token: registration-accounts.yaml is not in "
                "its app_service_config_files, or is out of date. Until it is there, chats are not joined for "
                "users, and their m.direct is not kept."
            )
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
                return (
                    f"The homeserver knows our as_token under another id than appservice.id ({appservice}). "
                    "Run `dm-bridge registration` again and restart the homeserver."
                )
            case "M_URL_NOT_SET":
                return (
                    "The homeserver has no url for us. Set appservice.url, run `dm-bridge registration` again "
                    "and restart the homeserver."
                )
            case "M_BAD_STATUS":
                return (
                    f"The homeserver reaches something at {url}, but is refused there. Either that is not this "
                    "bridge (check appservice.url), or its hs_token differs from ours (run "
                    "`dm-bridge registration` again and restart the homeserver)."
                )
            case "M_CONNECTION_FAILED" | "M_CONNECTION_TIMEOUT":
                # Synapse also says so of a ping that came while it makes up for pushes that failed.
                if await arrived(transaction):
                    return None
                return (
                    f"The homeserver cannot reach us at {url}. Check appservice.url and appservice.listen, and "
                    "that nothing blocks the way; after a change, run `dm-bridge registration` again."
                )
            case _:
                raise
    if not await arrived(transaction):
        return (
            f"The homeserver reaches another program than this one at {url}. Check appservice.url and "
            "appservice.listen, and that no second bridge runs with this configuration; after a change, run "
            "`dm-bridge registration` again."
        )
    return None
