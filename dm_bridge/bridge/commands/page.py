"""`page`: a link to the bridge's own page.

The rule that must never break: a link goes to its user only, into a room of two with the bot.
"""

from __future__ import annotations

from typing import Protocol

from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.errors import UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.texts import phrase


class PageDoor(Protocol):
    """`dm_bridge.page.Sessions`. ``minutes``: how long a link works."""

    @property
    def minutes(self) -> int: ...
    async def link(self, user: UserId) -> str: ...
    async def end_all(self, user: UserId) -> int: ...


class PageCommand:
    """Runs `page`."""

    def __init__(self, door: PageDoor) -> None:
        self._door = door

    async def run(self, user: UserId, room: RoomId, rest: str, answer: Answer) -> None:
        """``page``: a link; ``page close``: signs out everywhere."""
        match rest.lower().split():
            case []:
                link = await self._door.link(user)
                await answer(Reply(phrase("page-link", link=link, minutes=self._door.minutes)))
            case ["close"]:
                many = await self._door.end_all(user)
                await answer(Reply(phrase("page-closed", places=many)))
            case _:
                raise UserError(phrase("page-usage"))


def signed_in() -> str:
    """What a user is told when somebody has used their link."""
    return phrase("page-opened")
