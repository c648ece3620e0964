"""Ghosts: the application service's users that stand for remote contacts."""

from __future__ import annotations

from mautrix.api import Path

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import UserId
from dm_bridge.matrix.homeserver import Homeserver

MAX_NAME = 255


async def register(homeserver: Homeserver, user: UserId) -> bool:
    """Make sure that ``user``, in our namespace, exists (application service API, ``/register``).

    Whether it is new.
    """
    body = {
        "type": "m.login.application_service",
        "username": user[1:].partition(":")[0],
        "inhibit_login": True,
    }
    try:
        await homeserver.request("POST", Path.v3.register, body=body)
    except HomeserverError as error:
        if error.errcode != "M_USER_IN_USE":
            raise
        return False
    return True


async def set_name(homeserver: Homeserver, user: UserId, name: str) -> None:
    """Set a display name; a long one is cut at 255 characters."""
    path = Path.v3.profile[user].displayname
    await homeserver.request("PUT", path, user=user, body={"displayname": name[:MAX_NAME]})
