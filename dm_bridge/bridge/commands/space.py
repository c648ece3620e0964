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
from dm_bridge.store.spaces import SpaceMode

USAGE = (
    "Write `space` to see what there is, `space on` to have a space, or `space off` to have none."
)


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
                lines = [
                    f"- {code(row.id)} ({code(row.name)}): {await self._how(row)}" for row in rows
                ]
                said = "\n".join(
                    ["The chats of a login can be in a space of their own:", "", *lines]
                )
            case "on":
                login = which_login(rows, words, "space on")
                await self._spaces.want(login.id)
                said = f"{code(login.name)}: {await self._how(login)}"
            case "off":
                login = which_login(rows, words, "space off")
                await self._spaces.refuse(login.id)
                said = f"{code(login.name)}: {await self._how(login)}"
            case other:
                near = difflib.get_close_matches(other, ("on", "off"), n=1)
                meant = f"Did you mean `space {near[0]}`? " if near else ""
                raise UserError(f"{meant}{USAGE}")
        await answer(Reply(said))

    async def _how(self, login: LoginRow) -> str:
        """Whether a login has a space, and what its user can do about that."""
        row = await self._spaces.row(login.id)
        trouble = self._spaces.trouble(login.id)
        why = f" ⚠ {plain(trouble)}" if trouble is not None else ""
        on, off = f"`space on {login.id}`", f"`space off {login.id}`"
        match None if row is None else row.mode:
            case SpaceMode.ON if row is not None and row.room is not None and row.invited:
                link = f"[a space](https://matrix.to/#/{row.room})"
                return f"{link} has its chats, also new ones. {off} takes it away.{why}"
            case SpaceMode.ON:
                return f"its space is not there yet; I try again by myself.{why} {off} ends that."
            case SpaceMode.LEFT:
                return f"you have left its space, so I do not invite you again. {on} does."
            case SpaceMode.OFF if row is not None and (row.creating or row.room is not None):
                return f"its space is not gone yet; I try again by myself.{why}"
            case _:
                return f"no space. {on} makes one."
