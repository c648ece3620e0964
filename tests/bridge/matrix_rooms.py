"""A homeserver that keeps the state of rooms, and can fail at any call."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

from mautrix.api import PathBuilder

from dm_bridge.errors import HomeserverError
from dm_bridge.ids import EventId, RoomId, UserId

Json = dict[str, Any]
T = TypeVar("T")


class MatrixRooms:
    """``fail_at``: the number of the call, from 0, that fails as a connection that breaks; None: none.

    A call that fails so may have had its effect: ``lost_answers`` says whether it had.
    """

    url = "http://fake"

    def __init__(self) -> None:
        self.state: dict[RoomId, dict[tuple[str, str], Json]] = {}
        self.messages: dict[RoomId, list[Json]] = {}
        self.transactions: dict[str, EventId] = {}
        self.redacted: dict[EventId, UserId] = {}
        self.calls = 0
        self.fail_at: int | None = None
        self.lost_answers = False
        self._numbers = itertools.count(1)

    def create(self, room: RoomId, creator: UserId, **content: object) -> None:
        """A room, with its creator in it."""
        self.state[room] = {}
        self.messages[room] = []
        self.put(room, "m.room.create", "", {"room_version": "12", **content}, creator)
        self.put(room, "m.room.member", creator, {"membership": "join"}, creator)

    def put(self, room: RoomId, kind: str, key: str, content: Json, sender: UserId) -> Json:
        event = {
            "type": kind,
            "state_key": key,
            "content": content,
            "sender": sender,
            "room_id": room,
            "event_id": f"$state-{next(self._numbers)}",
        }
        self.state[room][(kind, key)] = event
        return event

    def membership(self, room: RoomId, user: UserId) -> str:
        event = self.state[room].get(("m.room.member", user))
        return "" if event is None else str(event["content"]["membership"])

    def say(self, room: RoomId, user: UserId, body: str) -> Json:
        """A message that somebody sends by their own means."""
        event = {
            "type": "m.room.message",
            "sender": user,
            "content": {"msgtype": "m.text", "body": body},
            "event_id": f"$message-{next(self._numbers)}",
        }
        self.messages[room].append(event)
        return event

    def bodies(self, room: RoomId) -> list[str]:
        return [event["content"]["body"] for event in self.messages[room]]

    def _begin(self) -> bool:
        """Count a call; whether its answer is to be lost. Raises when it is to fail without effect."""
        number, self.calls = self.calls, self.calls + 1
        if number != self.fail_at:
            return False
        if not self.lost_answers:
            raise _broken()
        return True

    def _in(self, room: RoomId, user: UserId) -> None:
        if room not in self.state or self.membership(room, user) != "join":
            raise HomeserverError("not in the room", status=403, errcode="M_FORBIDDEN")

    async def send(
        self,
        room: RoomId,
        event_type: str,
        content: Json,
        transaction: str,
        *,
        user: UserId,
        timestamp: float | None = None,
        repeat_unsure: bool = True,
    ) -> EventId:
        lost = self._begin()
        self._in(room, user)
        if transaction not in self.transactions:
            event = self.say(room, user, content.get("body", ""))
            event |= {"type": event_type, "content": content}
            self.transactions[transaction] = EventId(event["event_id"])
        return _answer(self.transactions[transaction], lost)

    async def redact(
        self,
        room: RoomId,
        event: EventId,
        transaction: str,
        reason: str,
        *,
        user: UserId,
        mark: Json | None = None,
    ) -> None:
        lost = self._begin()
        self._in(room, user)
        self.redacted[event] = user
        _answer(None, lost)

    async def set_state(
        self, room: RoomId, event_type: str, key: str, content: Json, *, user: UserId
    ) -> EventId:
        lost = self._begin()
        self._in(room, user)
        return _answer(EventId(self.put(room, event_type, key, content, user)["event_id"]), lost)

    async def room_state(self, room: RoomId, *, user: UserId) -> list[Json]:
        lost = self._begin()
        self._in(room, user)
        return _answer(list(self.state[room].values()), lost)

    async def join(self, room: RoomId, *, user: UserId) -> None:
        lost = self._begin()
        if room not in self.state or self.membership(room, user) not in ("invite", "join"):
            raise HomeserverError("not invited", status=403, errcode="M_FORBIDDEN")
        self.put(room, "m.room.member", user, {"membership": "join"}, user)
        _answer(None, lost)

    async def leave(self, room: RoomId, *, user: UserId, reason: str = "") -> None:
        lost = self._begin()
        if room not in self.state or self.membership(room, user) not in ("invite", "join"):
            raise HomeserverError("not in the room", status=403, errcode="M_FORBIDDEN")
        self.put(room, "m.room.member", user, {"membership": "leave"}, user)
        _answer(None, lost)

    async def members(
        self, room: RoomId, *, user: UserId, also_gone: bool = False
    ) -> dict[UserId, str]:
        lost = self._begin()
        self._in(room, user)
        found = {
            UserId(key): str(event["content"]["membership"])
            for (kind, key), event in self.state[room].items()
            if kind == "m.room.member"
        }
        kept = {u: m for u, m in found.items() if also_gone or m in ("join", "invite")}
        return _answer(kept, lost)

    async def request(
        self,
        method: str,
        path: PathBuilder,
        *,
        user: UserId | None = None,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        **_: object,
    ) -> Json:
        """createRoom, or ``GET`` of a user's rooms, a state event with an empty key, a message, or a room's.

        Every user is registered already, and may have any name.
        """
        lost = self._begin()
        parts = [unquote(part) for part in str(path).split("/")]
        if parts[-1] == "register":
            raise HomeserverError("it exists", status=400, errcode="M_USER_IN_USE")
        assert user is not None
        if parts[-1] == "displayname":
            return _answer({}, lost)
        if parts[-1] == "createRoom":
            room = RoomId(f"!created-{next(self._numbers)}")
            self.create(room, user, **(body or {}).get("creation_content", {}))
            for invited in (body or {}).get("invite", []):
                self.put(room, "m.room.member", invited, {"membership": "invite"}, user)
            return _answer({"room_id": room}, lost)
        if parts[-1] == "joined_rooms":
            joined = [room for room in self.state if self.membership(room, user) == "join"]
            return _answer({"joined_rooms": joined}, lost)
        room = RoomId(parts[parts.index("rooms") + 1])
        self._in(room, user)
        if parts[-1] == "messages":
            return _answer(_page(self.messages[room], query or {}), lost)
        if parts[-3] == "relations":
            return _answer({"chunk": self._related(room, *parts[-2:])}, lost)
        if parts[-2] == "event":
            for found in self.messages[room]:
                if found["event_id"] == parts[-1]:
                    return _answer(dict(found), lost)
            raise HomeserverError("no such event", status=404, errcode="M_NOT_FOUND")
        event = self.state[room].get((parts[parts.index("state") + 1], ""))
        if event is None:
            raise HomeserverError("no such state", status=404, errcode="M_NOT_FOUND")
        whole = (query or {}).get("format") == "event"
        return _answer(dict(event if whole else event["content"]), lost)

    def _related(self, room: RoomId, event: str, kind: str) -> list[Json]:
        wanted = {"rel_type": kind, "event_id": event}
        there = [e for e in self.messages[room] if e["event_id"] not in self.redacted]
        return [e for e in there if e["content"].get("m.relates_to") == wanted]


def _page(events: list[Json], query: Mapping[str, str]) -> Json:
    """One page of messages, from the newest back."""
    only = json.loads(query.get("filter", "{}"))
    kept = [
        e
        for e in reversed(events)
        if e["sender"] in only.get("senders", [e["sender"]])
        and e["type"] in only.get("types", [e["type"]])
    ]
    start = int(query.get("from", "0"))
    end = start + int(query["limit"])
    return {"chunk": kept[start:end], **({"end": str(end)} if end < len(kept) else {})}


def _broken() -> HomeserverError:
    return HomeserverError("the connection broke", certain=False, retry_after=1.0)


def _answer(answer: T, lost: bool) -> T:
    if lost:
        raise _broken()
    return answer
