"""Any Matrix account, through its own access token; no bridge, no application service.

The rule that must never break: "not there" is said only when the homeserver said so, with 403 or 404
and a Matrix error code. Any other failure to answer is `Membership.UNKNOWN`, or an error.

One filtered /sync tells about all joined rooms at once; single calls follow for what it leaves open,
a bounded number at a time. The filter asks for no messages, and nothing is marked as read or seen.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from mautrix.api import Path, PathBuilder

from dm_bridge.direct.audit import rooms_in
from dm_bridge.direct.document import DirectDocument, is_room_id, is_user_id
from dm_bridge.direct.facts import Membership, RoomFacts
from dm_bridge.direct.room_state import (
    MEMBER,
    ROOM_STATE,
    State,
    content_of,
    facts_of_state,
    facts_of_sync,
    facts_with_members,
    is_direct_invite,
    previous_of,
    replaced_by_sync,
    state_of_events,
)
from dm_bridge.errors import HomeserverError, UserError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.client_url import find_client_url
from dm_bridge.matrix.homeserver import Homeserver, Json
from dm_bridge.matrix.sessions import homeserver_session
from dm_bridge.matrix.syncing import NOTHING, single_sync

AT_ONCE = 12
"""Single calls under way at the same time."""
SYNC_DEADLINE = 600.0
LOOKUP_DEADLINE = 15.0
HURRY_AFTER, GIVE_UP_AFTER = 25, 250
"""Calls in a row without an answer, after which the rest is tried but briefly, or not at all."""
_FEW_MEMBERS = 50
_LONGEST_HISTORY = 8
_NOT_THERE = ("M_FORBIDDEN", "M_NOT_FOUND")

_Item = TypeVar("_Item")
Progress = Callable[[str], None]


class AccountClient:
    """One account. Made by `open_account`."""

    def __init__(self, homeserver: Homeserver, user: UserId, progress: Progress) -> None:
        self.user = user
        self.url = homeserver.url
        self._homeserver = homeserver
        self._progress = progress
        self._silent = 0
        self._looked_up: dict[RoomId, RoomFacts] = {}
        self._replaced: dict[tuple[str, str], str] = {}

    # -- the document

    async def read(self) -> bytes | None:
        """The m.direct content as it stands there now, or None when it was never set."""
        try:
            return await self._homeserver.request_raw("GET", self._direct, deadline=60)
        except HomeserverError as error:
            if error.status == 404 and error.errcode == "M_NOT_FOUND":
                return None
            raise

    async def write(self, content: str) -> None:
        """Replace the m.direct content by this JSON text; tried once."""
        await self._homeserver.request_raw(
            "PUT", self._direct, data=content.encode(), deadline=60, once=True
        )

    @property
    def _direct(self) -> PathBuilder:
        return Path.v3.user[self.user].account_data["m.direct"]

    # -- the rooms

    async def rooms(self) -> dict[RoomId, RoomFacts]:
        """Every room that the account is in, was invited to, or knocks at.

        Raises `HomeserverError` when they cannot be learned.
        """
        self._looked_up.clear()
        self._progress(
            "Asking the homeserver about all rooms of the account; that can take a minute."
        )
        answer = await self._homeserver.request("GET", Path.v3.joined_rooms)
        listed = answer.get("joined_rooms")
        if not isinstance(listed, list):
            raise HomeserverError("The homeserver's list of joined rooms makes no sense.")
        joined = {room for room in listed if is_room_id(room)}
        answer = await self._sync()
        synced = facts_of_sync(answer, self.user)
        self._replaced = replaced_by_sync(answer)
        found = {
            room: facts
            for room, facts in synced.items()
            if facts.membership is not Membership.JOIN or room in joined
        }
        missing = [
            room for room in joined if room not in found or not found[room].membership.present
        ]

        async def look(room: RoomId) -> None:
            facts = await self._single(room)
            joined = facts.membership is Membership.JOIN
            found[room] = facts if joined else RoomFacts(Membership.UNKNOWN)

        await self._each(missing, look)
        return found

    async def facts(
        self, rooms: Mapping[RoomId, RoomFacts], document: DirectDocument
    ) -> dict[RoomId, RoomFacts]:
        """``rooms``, and what else has to be known to judge ``document``."""
        found = dict(rooms)
        marks = rooms_in(document)

        async def look(room: RoomId) -> None:
            facts = self._looked_up.get(room) or found.get(room)
            keys = [UserId(key) for key in marks.get(room, ()) if is_user_id(key)]
            if facts is None:
                facts = await self._single(room)
            if facts.membership is Membership.JOIN:
                facts = await self._with_members(room, facts, keys)
                if room not in marks:
                    facts = await self._with_invitation(room, facts)
            found[room] = self._looked_up[room] = facts

        found |= self._looked_up
        work = [
            room for room, keys in marks.items() if room not in found or _open(found[room], keys)
        ]
        work += [
            room
            for room, facts in found.items()
            if room not in marks and room not in self._looked_up and self._may_be_a_chat(facts)
        ]
        if len(work) > 50:
            self._progress(f"Looking closer at {len(work):,} rooms.")
        await self._each(work, look)
        upgraded: Iterable[RoomId] = marks
        while new := _successors(found, upgraded):
            await self._each(new, look)
            upgraded = new
        return found

    def _may_be_a_chat(self, facts: RoomFacts) -> bool:
        """Whether single calls could tell that a room which is not marked looks like a direct chat."""
        if facts.membership is not Membership.JOIN or facts.room_type or facts.successor:
            return False
        if facts.complete:
            return facts.direct is None and facts.partner(self.user) is not None
        return facts.counted <= 2 + len(facts.helpers)

    async def _sync(self) -> Json:
        state = {
            "timeline": {"limit": 0, **NOTHING},
            "state": {"types": [MEMBER, *ROOM_STATE], "lazy_load_members": True},
            "ephemeral": NOTHING,
            "account_data": NOTHING,
        }
        query = single_sync(state)
        return await self._homeserver.request(
            "GET", Path.v3.sync, query=query, deadline=SYNC_DEADLINE, attempt_deadline=SYNC_DEADLINE
        )

    async def _single(self, room: RoomId) -> RoomFacts:
        """Facts about a room that the sync did not name, from its state one by one."""
        own = await self._member_event(room, self.user)
        if isinstance(own, Membership):
            return RoomFacts(own)
        state: State = {(MEMBER, self.user): own}
        query = {"dir": "b", "limit": "50", "filter": json.dumps({"types": list(ROOM_STATE)})}
        answer = await self._lookup(Path.v3.rooms[room].messages, query)
        if isinstance(answer, dict) and isinstance(answer.get("chunk"), list):
            state |= state_of_events(reversed(answer["chunk"]))
        facts = facts_of_state(state, self.user)
        return await self._with_members(room, facts, ()) if facts.membership.present else facts

    async def _with_members(
        self, room: RoomId, facts: RoomFacts, keys: Iterable[UserId]
    ) -> RoomFacts:
        """Facts that settle whether ``keys`` are in the room, and who is, where that is feasible."""
        if not facts.complete and facts.counted <= _FEW_MEMBERS:
            query = {"not_membership": "leave"}
            answer = await self._lookup(Path.v3.rooms[room].members, query)
            if isinstance(answer, dict) and isinstance(answer.get("chunk"), list):
                facts = facts_with_members(facts, answer["chunk"], self.user)
        asked = [key for key in keys if key not in facts.members]
        if asked:
            members = dict(facts.members)
            for key in asked:
                event = await self._member_event(room, key)
                members[key] = (
                    event
                    if isinstance(event, Membership)
                    else facts_of_state({(MEMBER, key): event}, key).membership
                )
            facts = replace(facts, members=members)
        return facts

    async def _with_invitation(self, room: RoomId, facts: RoomFacts) -> RoomFacts:
        """Facts that say whether the chat with the one other person began with a direct invite."""
        partner = facts.partner(self.user)
        if facts.direct is not None or partner is None:
            return facts
        for member in (self.user, partner):
            replaced = self._replaced.get((room, member))
            if replaced == "":
                continue
            if replaced is None:
                event = await self._member_event(room, member)
            else:
                event = await self._lookup(Path.v3.rooms[room].event[replaced], {})
            for _ in range(_LONGEST_HISTORY):
                if isinstance(event, Membership):
                    break
                direct = is_direct_invite(content_of(event))
                before, replaced = previous_of(event)
                direct = is_direct_invite(before) if direct is None else direct
                if direct is not None:
                    return replace(facts, direct=direct, invited_by_us=member == partner)
                if not replaced:
                    break
                event = await self._lookup(Path.v3.rooms[room].event[replaced], {})
        return facts

    async def _member_event(self, room: RoomId, user: UserId) -> Json | Membership:
        """The member event of ``user``, or what its absence means."""
        path = Path.v3.rooms[room].state[MEMBER][user]
        event = await self._lookup(path, {"format": "event"})
        if isinstance(event, dict) and "content" not in event:
            return {"content": event}  # a homeserver that knows no formats
        return event

    async def _lookup(self, path: PathBuilder, query: Mapping[str, str]) -> Json | Membership:
        """The answer to one GET, `Membership.NONE` when nothing is there, else `Membership.UNKNOWN`."""
        if self._silent >= GIVE_UP_AFTER:
            return Membership.UNKNOWN
        deadline = LOOKUP_DEADLINE if self._silent < HURRY_AFTER else 1.0
        try:
            answer = await self._homeserver.request(
                "GET", path, query=query, deadline=deadline, attempt_deadline=deadline
            )
        except HomeserverError as error:
            if error.status == 401:
                raise
            if error.status in (403, 404) and error.errcode in _NOT_THERE:
                self._silent = 0
                return Membership.NONE
            self._silent += 1
            return Membership.UNKNOWN
        self._silent = 0
        return answer

    async def _each(self, items: Iterable[_Item], work: Callable[[_Item], Awaitable[None]]) -> None:
        """``work`` on every item, a few at a time."""
        waiting = iter(list(items))

        async def worker() -> None:
            for item in waiting:
                await work(item)

        self._silent = 0
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(worker())
        except* HomeserverError as errors:
            raise errors.exceptions[0] from None


def _successors(found: Mapping[RoomId, RoomFacts], rooms: Iterable[RoomId]) -> list[RoomId]:
    """What ``rooms`` were replaced by, where nothing is known about it yet."""
    named = dict.fromkeys(RoomId(found[room].successor) for room in rooms)
    return [room for room in named if room and room not in found]


def _open(facts: RoomFacts, keys: Iterable[str]) -> bool:
    """Whether single calls could tell more about who is in a marked room."""
    if facts.membership is not Membership.JOIN or facts.space:
        return False
    return not facts.complete or any(is_user_id(key) and key not in facts.members for key in keys)


@asynccontextmanager
async def open_account(
    homeserver: str, token: str, progress: Progress = lambda _: None
) -> AsyncIterator[AccountClient]:
    """The account whose access token this is. ``homeserver``: a URL, or a server name.

    Raises `UserError` for a token that the homeserver does not know.
    """
    async with homeserver_session(AT_ONCE + 4) as session:
        url = await find_client_url(session, homeserver)
        client = Homeserver(url, token, session)
        try:
            answer = await client.request("GET", Path.v3.account.whoami, deadline=20)
        except HomeserverError as error:
            if error.status in (401, 403):
                raise UserError(
                    f"The homeserver at {url} does not accept this access token ({error.errcode}). "
                    "Take a current one from a client that is logged in, or log in anew."
                ) from error
            raise
        user = answer.get("user_id")
        if not isinstance(user, str) or not is_user_id(user):
            raise HomeserverError(f"The homeserver at {url} does not say whose token this is.")
        yield AccountClient(client, UserId(user), progress)
