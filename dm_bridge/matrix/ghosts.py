"""Ghosts: the application service's users that stand for remote contacts."""

from __future__ import annotations

from mautrix.api import Path

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.homeserver import Homeserver, Json

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


async def set_avatar(homeserver: Homeserver, user: UserId, url: str | None) -> None:
    """Set an avatar, an ``mxc:`` URI; None takes it away."""
    path = Path.v3.profile[user].avatar_url
    await homeserver.request("PUT", path, user=user, body={"avatar_url": url or ""})


async def shown_in(homeserver: Homeserver, user: UserId, room: RoomId) -> Json:
    """What ``user`` is called and looks like in a room where they are: their member event's content."""
    path = Path.v3.rooms[room].state["m.room.member"][user]
    return await homeserver.request("GET", path, user=user)


async def show_in(
    homeserver: Homeserver, user: UserId, room: RoomId, name: str, url: str | None
) -> None:
    """Be called ``name`` in this room only, with the avatar ``url``."""
    content: Json = {"membership": "join", "displayname": name[:MAX_NAME]}
    if url is not None:
        content["avatar_url"] = url
    await homeserver.set_state(room, "m.room.member", user, content, user=user)
