"""What a homeserver pushes besides events: whatever comes, only what can be read is taken."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.ids import EventId, RoomId, UserId
from dm_bridge.matrix.ephemeral import (
    PRESENCES,
    Ephemeral,
    PresenceOf,
    ReadBy,
    TypingIn,
    from_text,
    newest_reads,
    parse_ephemeral,
    to_text,
)

ROOM = RoomId("!room")
JULIET = UserId("@juliet:example.org")
NURSE = UserId("@nurse:example.org")


def receipt(content: Any) -> dict[str, Any]:
    return {"type": "m.receipt", "room_id": ROOM, "content": content}


def test_who_types_is_read_whole() -> None:
    item = {"type": "m.typing", "room_id": ROOM, "content": {"user_ids": [JULIET, 7, NURSE]}}
    assert list(parse_ephemeral([item])) == [TypingIn(ROOM, frozenset({JULIET, NURSE}))]


def test_receipts_of_several_readers_are_read_in_their_order() -> None:
    content = {
        "$1": {"m.read": {JULIET: {"ts": 1}, NURSE: {"ts": 2, "thread_id": "main"}}},
        "$2": {"m.read": {JULIET: {"ts": 3}}},
    }
    assert list(parse_ephemeral([receipt(content)])) == [
        ReadBy(ROOM, JULIET, EventId("$1")),
        ReadBy(ROOM, NURSE, EventId("$1")),
        ReadBy(ROOM, JULIET, EventId("$2")),
    ]


def test_who_reads_in_a_thread_has_not_read_what_is_beside_it() -> None:
    threads: list[Any] = ["$root", "main", None, 7]
    content = {
        f"${n}": {"m.read": {JULIET: {"ts": 1, "thread_id": thread}}}
        for n, thread in enumerate(threads)
    } | {"$bad": {"m.read": {JULIET: "now"}}}
    read = [each.event for each in parse_ephemeral([receipt(content)]) if isinstance(each, ReadBy)]
    assert read == ["$1", "$2", "$3", "$bad"]


def test_what_is_read_in_private_stays_private() -> None:
    assert list(parse_ephemeral([receipt({"$1": {"m.read.private": {JULIET: {}}}})])) == []


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"type": "m.typing"},
        {"type": "m.typing", "room_id": ROOM, "content": {"user_ids": "all"}},
        {"type": "m.typing", "room_id": 1, "content": {"user_ids": []}},
        {"type": "m.presence", "sender": JULIET, "content": {"presence": "asleep"}},
        {"type": "m.presence", "content": {"presence": "online"}},
        receipt(None),
        receipt({"$1": None}),
        receipt({"$1": {"m.read": [JULIET]}}),
    ],
)
def test_what_cannot_be_read_is_passed_over(item: dict[str, Any]) -> None:
    assert list(parse_ephemeral([item])) == []


def synced(*contents: Any) -> dict[str, Any]:
    events = [{"type": "m.receipt", "content": content} for content in contents]
    return {"rooms": {"join": {ROOM: {"ephemeral": {"events": [{"type": "m.typing"}, *events]}}}}}


def test_of_a_sync_what_was_read_last_counts() -> None:
    content = {
        "$old": {"m.read": {JULIET: {"ts": 1}, NURSE: {"ts": 9}}},
        "$new": {"m.read": {JULIET: {"ts": 5, "thread_id": "main"}}},
        "$thread": {"m.read": {JULIET: {"ts": 6, "thread_id": "$root"}}},
        "$private": {"m.read.private": {JULIET: {"ts": 7}}},
        "$odd": {"m.read": {JULIET: {"ts": "8"}}},
    }
    assert newest_reads(synced(content), JULIET) == {ROOM: "$new"}
    assert newest_reads(synced({}, content), NURSE) == {ROOM: "$old"}
    assert newest_reads(synced({"$odd": {"m.read": {JULIET: None}}}), JULIET) == {ROOM: "$odd"}
    assert newest_reads(synced(content), UserId("@romeo:example.org")) == {}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(("rooms", "join", ROOM, "ephemeral", "events", "m.read", JULIET)),
                inner,
            )
        ),
    )
)
def test_whatever_a_sync_brings_is_read(answer: Any) -> None:
    assert isinstance(newest_reads(answer, JULIET), dict)


names = st.text(min_size=1).map(UserId)
signals: st.SearchStrategy[Ephemeral] = st.builds(
    TypingIn, st.text().map(RoomId), st.frozensets(names)
) | st.builds(ReadBy, st.text().map(RoomId), names, st.text().map(EventId))
presences = st.builds(PresenceOf, names, st.sampled_from(PRESENCES), st.text())


@given(signals | presences)
def test_another_process_reads_what_was_written_for_it(signal: Ephemeral) -> None:
    assert from_text(to_text(signal)) == signal


def test_what_a_newer_version_writes_is_passed_over() -> None:
    assert from_text('{"room_id": "!room", "presence": "online"}') is None
    assert from_text('{"user": "@a:b", "presence": "asleep", "text": ""}') is None


def test_presence_is_read() -> None:
    content = {"presence": "unavailable", "status_msg": "at mass", "last_active_ago": 1}
    item = {"type": "m.presence", "sender": JULIET, "content": content}
    assert list(parse_ephemeral([item])) == [PresenceOf(JULIET, "unavailable", "at mass")]
    item["content"] = {"presence": "online", "status_msg": None}
    assert list(parse_ephemeral([item])) == [PresenceOf(JULIET, "online")]
