"""What an admin has done to a user, in the process that has the user: look, log out, stop, allow.

The rule that must never break: whoever asks has been found to be an admin before; and the user is told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from dm_bridge.bridge import deeds
from dm_bridge.bridge.commands.standing import words_for
from dm_bridge.bridge.logins import Logins
from dm_bridge.errors import BridgeError, UserError
from dm_bridge.ids import UserId
from dm_bridge.matrix.formatting import plain
from dm_bridge.texts import phrase


class Steward:
    """``tell``: how to reach a user."""

    def __init__(self, logins: Logins, tell: Callable[[UserId, str], Awaitable[None]]) -> None:
        self._logins = logins
        self._tell = tell

    async def run(self, user: UserId, deed: str, fields: Mapping[str, str]) -> dict[str, Any]:
        """Do one of the `deeds` to a user whom we have. Raises `BridgeError`."""
        match deed:
            case deeds.DESCRIBE:
                return {"logins": self._described(user)}
            case deeds.LOGOUT:
                return {"logged_out": await self._log_out(user, fields["login"], fields["by"])}
            case deeds.LOOK_AGAIN:
                await self._logins.look_again(user)
                told = await self._told(user, fields["text"])
                return {"told": told}
            case _:
                raise UserError(phrase("notice-other-version"))

    def _described(self, user: UserId) -> list[dict[str, str]]:
        return [
            {
                "id": row.id,
                "network": row.network,
                "name": row.name,
                "state": words_for(self._logins.state(row.id)),
            }
            for row in self._logins.of(user)
        ]

    async def _log_out(self, user: UserId, login: str, by: str) -> list[str]:
        rows = [row for row in self._logins.of(user) if login in ("", row.id)]
        if not rows:
            raise UserError(phrase("notice-no-such-login"))
        for row in rows:
            await self._logins.logout(row.id, by)
            await self._told(
                user,
                phrase("notice-logged-out-by-admin", login=plain(row.name), network=row.network),
            )
        return [row.name for row in rows]

    async def _told(self, user: UserId, text: str) -> bool:
        try:
            await self._tell(user, text)
        except BridgeError:
            return False
        return True
