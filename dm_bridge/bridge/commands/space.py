"""`space`: a space for the chats of a login, for who wants one.

The rule that must never break: only logins of the user who asks are shown and changed.
"""

from __future__ import annotations

import difflib

from dm_bridge.bridge.commands.reply import Answer, Reply, not_logged_in
from dm_bridge.bridge.commands.typed import uncopied
from dm_bridge.bridge.commands.which import which_login
from dm_bridge.bridge.logins import Logins
from dm_bridge.bridge.spaces import Spaces
from dm_bridge.errors import UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.formatting import code, plain
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.spaces import SpaceMode, SpaceRow
from dm_bridge.texts import phrase


class SpaceCommand:
    """Runs `space`."""

    def __init__(self, spaces: Spaces, logins: Logins) -> None:
        self._spaces = spaces
        self._logins = logins

    async def run(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``space``: what there is; ``space on``, ``space off``: for the only login, or the one that is named."""
        rows = self._logins.of(user)
        if not rows:
            raise UserError(not_logged_in(self._logins.networks))
        what, *words = [uncopied(word) for word in rest.split()] or [""]
        match what.lower():
            case "":
                lines = [await self._line(row) for row in rows]
                said = "\n".join([phrase("space-list"), "", *lines])
            case "on":
                login = which_login(rows, words, "space on")
                await self._spaces.want(login.id)
                said = phrase("space-now", name=code(login.name), how=await self._how(login))
            case "off":
                login = which_login(rows, words, "space off")
                await self._spaces.refuse(login.id)
                said = phrase("space-now", name=code(login.name), how=await self._how(login))
            case other:
                near = difflib.get_close_matches(other, ("on", "off"), n=1)
                if near:
                    raise UserError(phrase("space-meant", command=f"space {near[0]}"))
                raise UserError(phrase("space-usage"))
        await answer(Reply(said))

    async def _line(self, login: LoginRow) -> str:
        how = await self._how(login)
        return "- " + phrase("space-line", login=code(login.id), name=code(login.name), how=how)

    async def _how(self, login: LoginRow) -> str:
        """Whether a login has a space, and what its user can do about that."""
        row = await self._spaces.row(login.id)
        how = _what_there_is(row, login)
        trouble = self._spaces.trouble(login.id)
        return how if trouble is None else phrase("space-trouble", how=how, why=plain(trouble))


def _what_there_is(row: SpaceRow | None, login: LoginRow) -> str:
    match None if row is None else row.mode:
        case SpaceMode.ON if row is not None and row.room is not None and row.invited:
            link = f"https://matrix.to/#/{row.room}"
            return phrase("space-there", link=link, login=login.id)
        case SpaceMode.ON:
            return phrase("space-making", login=login.id)
        case SpaceMode.LEFT:
            return phrase("space-left", login=login.id)
        case SpaceMode.OFF if row is not None and (row.creating or row.room is not None):
            return phrase("space-ending")
        case _:
            return phrase("space-none", login=login.id)
