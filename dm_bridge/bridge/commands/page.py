"""`page`: a link to the bridge's own page.

The rule that must never break: a link goes to its user only, into a room of two with the bot.
"""

from __future__ import annotations

from typing import Protocol

from dm_bridge.bridge.commands.reply import Answer, Reply
from dm_bridge.errors import UserError
from dm_bridge.ids import RoomId, UserId


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
                link, minutes = await self._door.link(user), _minutes(self._door.minutes)
                await answer(
                    Reply(
                        f"[Open your page]({link})\n\nThe link works once, in the next {minutes}, and is for you "
                        "alone: whoever opens it acts as you. `page close` signs you out everywhere."
                    )
                )
            case ["close"]:
                many = await self._door.end_all(user)
                ended = (
                    "You were signed in nowhere."
                    if not many
                    else f"You are signed out{_where(many)}."
                )
                await answer(Reply(f"{ended} Links that you have not used do not work any more."))
            case _:
                raise UserError("Write `page` for a link, or `page close` to sign out everywhere.")


def signed_in() -> str:
    """What a user is told when somebody has used their link."""
    return (
        "Somebody has opened the page with your link. If that was not you, write `page close` now, and then "
        "`logins` to see whether anything was changed."
    )


def _minutes(many: int) -> str:
    return "minute" if many == 1 else f"{many} minutes"


def _where(many: int) -> str:
    return "" if many == 1 else f" in {many} places"
