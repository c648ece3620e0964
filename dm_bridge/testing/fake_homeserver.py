"""A homeserver in memory: what our client calls of the client-server API, with the semantics of Synapse.

It is reached through `FakeHttpSession`, which stands in for aiohttp's, so that everything of ours above a socket
is the real thing. What a homeserver remembers of an application service's transactions is kept in memory, for
`TRANSACTIONS_KEPT` seconds, by path and application service, and is gone after `restart`.

What is not played raises `NotImplementedError`.

The rule that must never break: a request takes effect at one moment, or not at all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import orjson

from dm_bridge.ids import RoomId, UserId
from dm_bridge.testing.fake_rooms import CREATE, MEMBER, Event, Json, Refused, Room, Rooms

TRANSACTIONS_KEPT = 1800.0
Answer = tuple[int, Json]


@dataclass(frozen=True, slots=True)
class AppService:
    """A registration. ``bot``: its sender. ``may_be``: as whom it may act."""

    name: str
    bot: UserId
    may_be: Callable[[UserId], bool]


@dataclass(frozen=True, slots=True)
class DirectWrite:
    """A write of m.direct through the API: what its writer had read last, and what they wrote."""

    user: UserId
    read: Json | None
    written: Json


@dataclass(frozen=True, slots=True)
class Backup:
    """All that a homeserver keeps on disk."""

    rooms: dict[RoomId, Room]
    documents: dict[UserId, Json]
    registered: frozenset[UserId]
    names: dict[UserId, str]


def canonical(document: Json) -> bytes:
    """The same for what says the same."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


class FakeHomeserver:
    """``services``: by token. ``documents``: m.direct by user. ``rooms``: see `Rooms`.

    ``on_create``: told of every room that is created through the API, with its creation content.
    """

    url = "http://homeserver.fake"

    def __init__(
        self,
        domain: str,
        services: dict[str, AppService],
        clock: Callable[[], float],
        time: Callable[[], float],
    ) -> None:
        self.domain = domain
        self.services = services
        self.rooms = Rooms(clock)
        self.documents: dict[UserId, Json] = {}
        self.registered: set[UserId] = {service.bot for service in services.values()}
        self.names: dict[UserId, str] = {}
        self.receipts: dict[tuple[str, UserId], str] = {}
        self.on_create: list[Callable[[Room, Json], None]] = []
        self.on_direct: list[Callable[[DirectWrite], None]] = []
        self.shown: dict[UserId, set[bytes]] = {}
        """What was read or written of m.direct through the API, by user, in `canonical` form."""
        self._read: dict[UserId, Json | None] = {}
        self._time = time
        self._transactions: dict[tuple[str, str], tuple[float, Answer]] = {}

    # -- the machine

    def restart(self) -> None:
        """Forget what is kept in memory only."""
        self._transactions.clear()

    def backup(self) -> Backup:
        """What could be restored."""
        rooms = {
            room.id: Room(room.id, room.creator, list(room.events), dict(room.state))
            for room in self.rooms.rooms.values()
        }
        return Backup(
            rooms,
            copy.deepcopy(self.documents),
            frozenset(self.registered),
            dict(self.names),
        )

    def restore(self, backup: Backup) -> None:
        """Be as at the time of a backup, once; ids of events and rooms go on from where they are."""
        self.restart()
        self.rooms.rooms = backup.rooms
        self.documents = backup.documents
        self.registered = set(backup.registered)
        self.names = backup.names

    def handle(
        self, token: str, method: str, path: str, query: dict[str, str], body: bytes
    ) -> Answer:
        """Answer one request. ``path``: percent-encoded, from ``/_matrix`` on."""
        service = self.services.get(token)
        if service is None:
            return 401, {"errcode": "M_UNKNOWN_TOKEN", "error": "Unknown token."}
        user = UserId(query.get("user_id", service.bot))
        key = (f"{method} {path}", service.name)
        now = self._time()
        if key in self._transactions and now - self._transactions[key][0] < TRANSACTIONS_KEPT:
            return self._transactions[key][1]
        parts = [unquote(part) for part in path.split("/")][4:]
        try:
            if not service.may_be(user):
                raise Refused(403, "M_FORBIDDEN", f"This token does not act for {user}.")
            if user not in self.registered and parts != ["register"]:
                raise Refused(403, "M_FORBIDDEN", f"{user} is not registered.")
            answer = 200, self._answer(method, parts, user, query, orjson.loads(body or b"{}"))
        except Refused as refused:
            return refused.status, {"errcode": refused.errcode, "error": str(refused)}
        if method == "PUT" and parts[0] == "rooms" and parts[2] in ("send", "redact"):
            self._transactions[key] = now, answer
        return answer

    # -- the API

    def _answer(
        self, method: str, parts: list[str], user: UserId, query: dict[str, str], body: Json
    ) -> Json:
        match method, *parts:
            case "GET", "account", "whoami":
                return {"user_id": user}
            case "POST", "register":
                return self._register(body)
            case "PUT", "profile", who, "displayname":
                self.names[UserId(who)] = body["displayname"]
                return {}
            case "POST", "createRoom":
                return self._create_room(user, body)
            case "GET", "joined_rooms":
                rooms = self.rooms.rooms.values()
                return {"joined_rooms": [r.id for r in rooms if r.membership(user) == "join"]}
            case _, "user", who, "account_data", "m.direct":
                return self._direct(method, UserId(who), body)
            case _, "rooms", room, *rest:
                return self._in_room(method, room, rest, user, query, body)
        raise NotImplementedError(f"{method} {parts} is not played here")

    def _register(self, body: Json) -> Json:
        user = UserId(f"@{body['username']}:{self.domain}")
        if user in self.registered:
            raise Refused(400, "M_USER_IN_USE", "That user exists.")
        self.registered.add(user)
        return {"user_id": user}

    def _create_room(self, user: UserId, body: Json) -> Json:
        creation = body.get("creation_content", {})
        room = self.rooms.create(
            user,
            invite=[UserId(one) for one in body.get("invite", [])],
            direct=body.get("is_direct", False),
            creation=creation,
            initial=body.get("initial_state", []),
            trusted=body.get("preset") == "trusted_private_chat",
        )
        for tell in self.on_create:
            tell(room, creation)
        return {"room_id": room.id}

    def _direct(self, method: str, user: UserId, body: Json) -> Json:
        document = self.documents.get(user)
        if method == "GET":
            self._read[user] = document
            if document is None:
                raise Refused(404, "M_NOT_FOUND", "No such account data.")
            self.shown.setdefault(user, set()).add(canonical(document))
            return document
        self.documents[user] = body
        self.shown.setdefault(user, set()).add(canonical(body))
        for tell in self.on_direct:
            tell(DirectWrite(user, self._read.get(user), body))
        return {}

    def _seen_by(self, room: str, user: UserId) -> list[Event]:
        """The events of a room, for who has left it up to then."""
        found = self.rooms.room(room)
        left = found.state.get((MEMBER, user))
        if left is not None and left.content.get("membership") == "leave":
            return [event for event in found.events if event.number <= left.number]
        return self.rooms.joined(room, user).events

    def _in_room(
        self,
        method: str,
        room: str,
        rest: list[str],
        user: UserId,
        query: dict[str, str],
        body: Json,
    ) -> Json:
        match method, *rest:
            case "PUT", "send", kind, _:
                return {"event_id": self.rooms.send(room, user, kind, body).id}
            case "PUT", "redact", event, _:
                content = {"redacts": event, **body}
                return {"event_id": self.rooms.send(room, user, "m.room.redaction", content).id}
            case "PUT", "state", kind, key:
                return {"event_id": self.rooms.set_state(room, user, kind, key, body).id}
            case "GET", "state", kind, key:
                state = self.rooms.joined(room, user).state.get((kind, key))
                if state is None:
                    raise Refused(404, "M_NOT_FOUND", "No such state.")
                return state.to_json() if query.get("format") == "event" else state.content
            case "POST", "join":
                self.rooms.join(room, user)
                return {"room_id": room}
            case "POST", "leave":
                self.rooms.leave(room, user, body.get("reason", ""))
                return {}
            case "GET", "members":
                state_of_room = self.rooms.joined(room, user).state
                members = [
                    e.to_json() for (k, _), e in state_of_room.items() if k == "m.room.member"
                ]
                return {"chunk": members}
            case "GET", "event", wanted:
                for event_there in self.rooms.joined(room, user).events:
                    if event_there.id == wanted:
                        return event_there.to_json()
                raise Refused(404, "M_NOT_FOUND", "No such event.")
            case "GET", "relations", wanted, "m.replace":
                there = self.rooms.joined(room, user).events
                relation = {"rel_type": "m.replace", "event_id": wanted}
                edits = [e.to_json() for e in there if e.content.get("m.relates_to") == relation]
                return {"chunk": edits}
            case "GET", "context", wanted:
                return _around(self.rooms.joined(room, user).events, wanted, query)
            case "GET", "messages":
                return _page(self._seen_by(room, user), query)
            case "POST", "receipt", "m.read", event:
                self.rooms.joined(room, user)
                self.receipts[room, user] = event
                return {}
        raise NotImplementedError(f"{method} {rest} is not played here")


def _around(events: list[Event], wanted: str, query: dict[str, str]) -> Json:
    """An event, and those before and after it."""
    place = next((n for n, event in enumerate(events) if event.id == wanted), None)
    if place is None:
        raise Refused(404, "M_NOT_FOUND", "No such event.")
    only, half = orjson.loads(query.get("filter", "{}")), int(query["limit"]) // 2
    before = [e.to_json() for e in reversed(events[:place]) if _is_asked_for(e, only)]
    after = [e.to_json() for e in events[place + 1 :] if _is_asked_for(e, only)]
    return {
        "event": events[place].to_json(),
        "events_before": before[:half],
        "events_after": after[:half],
    }


def _is_asked_for(event: Event, only: Json) -> bool:
    return event.sender in only.get("senders", [event.sender]) and event.type in only.get(
        "types", [event.type]
    )


def _page(events: list[Event], query: dict[str, str]) -> Json:
    """One page of events, from the newest back."""
    only = orjson.loads(query.get("filter", "{}"))
    kept = [e for e in reversed(events) if _is_asked_for(e, only) and e.type != CREATE]
    start = int(query.get("from", "0"))
    end = start + int(query["limit"])
    chunk = [event.to_json() for event in kept[start:end]]
    return {"chunk": chunk, **({"end": str(end)} if end < len(kept) else {})}


def services(bot: UserId, owns: Callable[[UserId], bool], domain: str) -> dict[str, AppService]:
    """The bridge's two registrations, by their tokens ``main`` and ``accounts``."""

    def anybody(user: UserId) -> bool:
        return user.endswith(f":{domain}") and not owns(user)

    accounts_bot = UserId(f"@accounts:{domain}")
    return {
        "main": AppService("main", bot, lambda user: owns(user) or user == bot),
        "accounts": AppService("accounts", accounts_bot, anybody),
    }


def of_interest(room: Room, sender: UserId, state_key: Any, ours: Callable[[UserId], bool]) -> bool:
    """Whether an event is pushed to an application service (Synapse: sender, state key, members who joined)."""
    if ours(sender) or (isinstance(state_key, str) and ours(UserId(state_key))):
        return True
    return any(ours(member) for member in room.members("join"))
