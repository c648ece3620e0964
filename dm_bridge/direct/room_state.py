"""Reads `RoomFacts` out of what a homeserver says about a room, for the account that asked.

The rule that must never break: it is total. State is written by strangers; whatever has the wrong
shape says nothing, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from dm_bridge.direct.document import is_room_id, is_user_id
from dm_bridge.direct.facts import Membership, RoomFacts
from dm_bridge.ids import RoomId, UserId

MEMBER = "m.room.member"
BRIDGE_INFO_TYPES = ("m.bridge", "uk.half-shot.bridge")
FUNCTIONAL_MEMBERS = "io.element.functional_members"
ROOM_STATE = (
    "m.room.create",
    "m.room.tombstone",
    "m.room.name",
    "m.room.canonical_alias",
    "m.room.join_rules",
    FUNCTIONAL_MEMBERS,
    *BRIDGE_INFO_TYPES,
)
"""The types of state that facts are made of, members aside."""

State = dict[tuple[str, str], dict[str, Any]]
"""Current state events by type and state key."""


def facts_of_state(
    state: State,
    account: UserId,
    *,
    membership: Membership | None = None,
    joined: int | None = None,
    invited: int | None = None,
) -> RoomFacts:
    """Facts from state events, stripped or whole.

    ``joined``, ``invited``: how many members the homeserver counts; without them, nobody can say
    whether the members are complete. ``membership``: the account's own, where the section of
    a sync says it.
    """
    members = _members(state)
    own = state.get((MEMBER, account), {})
    if membership is None:
        membership = members.get(account, Membership.UNKNOWN)
    members[account] = membership
    create = _content(state, "m.room.create")
    bridges = [content_of(event) for (kind, _), event in state.items() if kind in BRIDGE_INFO_TYPES]
    functional = _content(state, FUNCTIONAL_MEMBERS).get("service_members")
    alias = _text(_content(state, "m.room.canonical_alias").get("alias"))
    name = _text(_content(state, "m.room.name").get("name"))
    direct, by_us = _invitation(state, account)
    complete = joined is not None and (
        sum(member in (Membership.JOIN, Membership.INVITE) for member in members.values())
        >= joined + (invited or 0)
    )
    return RoomFacts(
        membership=membership,
        by=_text(own.get("sender")),
        title=name or alias or _names_of_members(state, account),
        named=bool(name or alias),
        public=_content(state, "m.room.join_rules").get("join_rule") == "public",
        room_type=_text(create.get("type")),
        creator=_text(state.get(("m.room.create", ""), {}).get("sender")),
        successor=_room(_content(state, "m.room.tombstone").get("replacement_room")),
        predecessor=_room(_mapping(create.get("predecessor")).get("room_id")),
        members=members,
        complete=complete,
        counted=(joined or 0) + (invited or 0),
        bridged=any(bridges),
        bots=_users(bridge.get("bridgebot") for bridge in bridges),
        bridge_creators=_users(bridge.get("creator") for bridge in bridges),
        functional=_users(functional if isinstance(functional, list) else ()),
        direct=direct,
        invited_by_us=by_us,
    )


def facts_of_sync(answer: Mapping[str, Any], account: UserId) -> dict[RoomId, RoomFacts]:
    """Facts about every room that a /sync answer names.

    Of rooms that were left, homeservers name those that the account was removed or banned from, which
    is more than they say when asked about one room.
    """
    rooms = _mapping(answer.get("rooms"))
    found: dict[RoomId, RoomFacts] = {}
    for room, data in _mapping(rooms.get("leave")).items():
        if is_room_id(room):
            facts = facts_of_state(state_of_events(_state_and_timeline(_mapping(data))), account)
            if facts.membership in (Membership.LEAVE, Membership.BAN):
                found[room] = facts
    for section, membership, stripped in (
        ("knock", Membership.KNOCK, "knock_state"),
        ("invite", Membership.INVITE, "invite_state"),
        ("join", Membership.JOIN, ""),
    ):
        for room, data in _mapping(rooms.get(section)).items():
            if not is_room_id(room):
                continue
            data = _mapping(data)
            if stripped:
                state = state_of_events(_events(data, stripped))
                found[room] = facts_of_state(state, account, membership=membership)
                continue
            summary = _mapping(data.get("summary"))
            state = state_of_events(_state_and_timeline(data))
            found[room] = facts_of_state(
                state,
                account,
                membership=membership,
                joined=_number(summary.get("m.joined_member_count")),
                invited=_number(summary.get("m.invited_member_count")),
            )
    return found


def facts_with_members(facts: RoomFacts, events: Iterable[Any], account: UserId) -> RoomFacts:
    """Facts completed by the member events of everybody who is present."""
    state = state_of_events(events)
    direct, by_us = _invitation(state, account)
    return replace(
        facts,
        members={**facts.members, **_members(state), account: facts.membership},
        complete=True,
        title=facts.title or _names_of_members(state, account),
        direct=facts.direct if facts.direct is not None else direct,
        invited_by_us=facts.invited_by_us if facts.direct is not None else by_us,
    )


def replaced_by_sync(answer: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """By room and user: the event id of what the member event in a /sync answer replaced."""
    found: dict[tuple[str, str], str] = {}
    for room, data in _mapping(_mapping(answer.get("rooms")).get("join")).items():
        for (event_type, key), event in state_of_events(_events(_mapping(data), "state")).items():
            if event_type == MEMBER:
                found[room, key] = previous_of(event)[1]
    return found


def state_of_events(events: Iterable[Any]) -> State:
    """Events by type and state key, a later one in place of an earlier; others are left out."""
    state: State = {}
    for event in events:
        if isinstance(event, dict):
            event_type, key = event.get("type"), event.get("state_key")
            if isinstance(event_type, str) and isinstance(key, str):
                state[event_type, key] = event
    return state


def content_of(event: object) -> Mapping[str, Any]:
    """The content of an event, empty when it has none."""
    return _mapping(_mapping(event).get("content"))


def is_direct_invite(content: Mapping[str, Any]) -> bool | None:
    """Whether a member event's content is a direct invite; None when it is no invite."""
    if content.get("membership") != "invite":
        return None
    return content.get("is_direct") is True


def previous_of(event: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """What an event replaced: its content, empty when not told, and its event id, empty when none."""
    unsigned = _mapping(event.get("unsigned"))
    content = unsigned.get("prev_content", event.get("prev_content"))
    return _mapping(content), _text(unsigned.get("replaces_state") or event.get("replaces_state"))


def _invitation(state: State, account: UserId) -> tuple[bool | None, bool]:
    """Whether the chat began with a direct invite, as far as the member events tell, and whose it was."""
    own = state.get((MEMBER, account), {})
    for event, by_us in [(own, False)] + [
        (event, True)
        for (event_type, key), event in state.items()
        if event_type == MEMBER and key != account
    ]:
        content, before = content_of(event), previous_of(event)[0]
        if content.get("is_direct") is True and content.get("membership") in ("invite", "join"):
            return True, by_us
        if is_direct_invite(before):
            return True, by_us
        if not by_us and is_direct_invite(before) is False:
            return False, False
    return None, False


def _members(state: State) -> dict[str, Membership]:
    return {
        key: _membership(event)
        for (event_type, key), event in state.items()
        if event_type == MEMBER and is_user_id(key)
    }


def _names_of_members(state: State, account: UserId) -> str:
    names = [
        _text(content_of(event).get("displayname")) or key
        for (event_type, key), event in state.items()
        if event_type == MEMBER and key != account
    ]
    return names[0] if len(names) == 1 else ""


def _content(state: State, event_type: str) -> Mapping[str, Any]:
    return content_of(state.get((event_type, "")))


def _membership(event: Mapping[str, Any]) -> Membership:
    try:
        return Membership(content_of(event).get("membership"))
    except ValueError:
        return Membership.UNKNOWN


def _events(data: Mapping[str, Any], section: str) -> list[Any]:
    events = _mapping(data.get(section)).get("events")
    return events if isinstance(events, list) else []


def _state_and_timeline(data: Mapping[str, Any]) -> list[Any]:
    return [*_events(data, "state"), *_events(data, "timeline")]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _room(value: object) -> str:
    return value if is_room_id(value) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _users(values: Iterable[object]) -> frozenset[str]:
    return frozenset(value for value in values if isinstance(value, str) and is_user_id(value))
