"""A user's direct chats: how they are, what became of them, and what the user decides about them."""

from __future__ import annotations

from dm_bridge.bridge.commands.direct import ChatState, DirectView
from dm_bridge.bridge.names import name_of
from dm_bridge.ids import RoomId
from dm_bridge.provisioning.calls import Call
from dm_bridge.provisioning.refusals import not_found
from dm_bridge.provisioning.wire import (
    DirectChange,
    DirectChatInfo,
    DirectHistory,
    DirectInfo,
    DirectRepaired,
)
from dm_bridge.store.people import PeopleStore
from dm_bridge.texts import phrase

HISTORY, MOST_HISTORY = 20, 200


class DirectCalls:
    """Answers calls about them, as the bot's `direct` does."""

    def __init__(self, view: DirectView, people: PeopleStore) -> None:
        self._view = view
        self._people = people

    async def status(self, call: Call) -> DirectInfo:
        status = await self._view.status(call.user)
        called = await self._people.called(call.user)
        return DirectInfo.model_validate(
            {
                "access": status.access.value,
                "observed": status.observed,
                "last_seen_ts": None
                if status.last_seen is None
                else _milliseconds(status.last_seen),
                "problem": status.problem,
                "chats": [
                    DirectChatInfo.model_validate(
                        {
                            "room_id": chat.room,
                            "contact": chat.contact,
                            "contact_name": name_of(called.get(chat.room)),
                            "mxid": called[chat.room].ghost if chat.room in called else None,
                            "state": chat.state.value.replace(" ", "_"),
                        }
                    )
                    for chat in status.chats
                ],
            }
        )

    async def history(self, call: Call) -> DirectHistory:
        lines = await self._view.history(call.user, call.limit(HISTORY, MOST_HISTORY))
        return DirectHistory(
            changes=[
                DirectChange(
                    ts=_milliseconds(line.at),
                    sentence=line.sentence,
                    details=list(line.details),
                    before={key: list(rooms) for key, rooms in line.before.items()},
                    after={key: list(rooms) for key, rooms in line.after.items()},
                    by_bridge=line.ours,
                )
                for line in lines
            ]
        )

    async def mark(self, call: Call) -> DirectInfo:
        await self._view.mark(call.user, await self._room(call))
        return await self.status(call)

    async def unmark(self, call: Call) -> DirectInfo:
        await self._view.unmark(call.user, await self._room(call))
        return await self.status(call)

    async def repair(self, call: Call) -> DirectRepaired:
        repair = await self._view.repair(call.user)
        return DirectRepaired.model_validate(
            {
                "message": repair.sentence,
                "outcome": repair.outcome.value,
                "repaired": repair.things,
                "direct": await self.status(call),
            }
        )

    async def _room(self, call: Call) -> RoomId:
        """The room that is named, if it is one of the user's chats. Raises `Refusal`."""
        room = RoomId(call.path["roomID"])
        for chat in (await self._view.status(call.user)).chats:
            if chat.room == room and chat.state is not ChatState.RETIRED:
                return room
        raise not_found(phrase("provisioning-no-chat"))


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
