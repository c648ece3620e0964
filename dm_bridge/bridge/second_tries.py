"""What was not delivered of one user's messages, and trying it again: what is behind `retry` and the API.

The rule that must never break: only what belongs to the user who asks is found or tried again; and of what may
have arrived already, they are told so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from dm_bridge.bridge import routing
from dm_bridge.bridge.logins import Logins
from dm_bridge.ids import GhostNamespace, LoginId, PortalKey, RoomId, UserId
from dm_bridge.store.logins import LoginRow
from dm_bridge.store.undelivered import Stuck, Undelivered, UndeliveredStore
from dm_bridge.texts import phrase

DAYS = 7
"""For how many days a message is offered; what is older is hardly news to anybody."""
MOST = 200
"""Of each kind, the latest."""
LONG = 60.0
"""Seconds after which what waits is worth a word."""


@dataclass(frozen=True, slots=True)
class Written:
    """What the user wrote. ``text``: the whole of it, or what it did."""

    row: Undelivered
    text: str


@dataclass(frozen=True, slots=True)
class Tried:
    """``done``: wait again now. ``resting``: logins that are not connected, of which nothing was touched."""

    done: Sequence[Written]
    resting: Sequence[LoginRow]


class SecondTries:
    """``wake_rooms``, ``wake_chats``: are told where something waits again."""

    def __init__(
        self,
        store: UndeliveredStore,
        logins: Logins,
        bot: UserId,
        namespace: GhostNamespace,
        wake_rooms: Callable[[set[RoomId]], Awaitable[None]],
        wake_chats: Callable[[set[PortalKey]], None] = lambda chats: None,
    ) -> None:
        self._store = store
        self._logins = logins
        self._bot = bot
        self._namespace = namespace
        self._wake_rooms = wake_rooms
        self._wake_chats = wake_chats

    async def written(self, user: UserId) -> tuple[list[Written], list[Undelivered]]:
        """What can be tried again of what the user wrote; and what will fail whatever is tried."""
        messages, hopeless = [], []
        for row in await self._store.of(user, DAYS * 86400.0, MOST):
            facts = routing.RoomFacts(owner=user)
            match routing.route(row.event, facts, bot=self._bot, namespace=self._namespace):
                case routing.Message() as message:
                    messages.append(Written(row, message.words))
                case routing.Edit() as edit:
                    messages.append(Written(row, phrase("delivery-of-edit", text=edit.words)))
                case routing.Reaction(emoji=emoji):
                    messages.append(Written(row, phrase("delivery-of-reaction", emoji=emoji)))
                case routing.Redaction():
                    messages.append(Written(row, phrase("delivery-of-retraction")))
                case routing.Unsendable():
                    hopeless.append(row)
                case _:
                    pass
        return messages, hopeless

    async def send_again(self, user: UserId, chosen: Sequence[Written]) -> Tried:
        """Put back what the user wrote, as far as its logins are connected."""
        done = [each for each in chosen if self.is_connected(each.row.login)]
        if done:
            back = await self._store.put_back(user, [each.row.seq for each in done])
            done = [each for each in done if each.row.seq in back]
            await self._wake_rooms({each.row.room for each in done})
        resting = dict.fromkeys(
            each.row.login for each in chosen if not self.is_connected(each.row.login)
        )
        rows = [await self._logins.row(login) for login in resting]
        return Tried(done, [row for row in rows if row is not None])

    async def not_shown(self, user: UserId) -> list[Stuck]:
        """What networks brought for the user and was put aside."""
        return await self._store.not_shown(user, MOST)

    async def show_again(self, user: UserId, seqs: Collection[int]) -> set[int]:
        """Put back what networks brought. Returns which did not wait already."""
        back = await self._store.show_again(user, seqs)
        self._wake_chats(set(back.values()))
        return set(back)

    async def waiting(self, user: UserId) -> list[Stuck]:
        """What waits first in each chat of the user in which something has been waiting long."""
        return await self._store.waiting(user, LONG, MOST)

    def is_connected(self, login: LoginId) -> bool:
        """Whether a login has a session, which may be connecting."""
        return self._logins.session(login) is not None
