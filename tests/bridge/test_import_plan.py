"""What of a network's record is wanted, and what of it was read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.bridge.import_plan import pick, read_mark
from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.events import RemoteMessage, RemoteRead, Text
from dm_bridge.network.history import RecordEntry, RecordPart


def said(chat: str, name: object, *, own: bool = False) -> RemoteMessage:
    return RemoteMessage(
        ChatId(chat), RemoteId(f"{chat} {name}"), ContactId(chat), own, Text(str(name))
    )


def part(*chats: str) -> RecordPart:
    """Messages of these chats, the oldest first, numbered."""
    entries = [RecordEntry(said(chat, n), f"before {n}") for n, chat in enumerate(chats)]
    return RecordPart(tuple(entries), None, len(entries), {ChatId("a"): RemoteId("a 0")})


def test_the_newest_chats_count_and_of_each_the_newest_messages() -> None:
    a, b = sorted(pick(part(*"cabaab"), lambda chat: None, 2, 2), key=lambda each: each.chat)
    assert [event.id for event in a.events] == ["a 3", "a 4"]
    assert [event.id for event in b.events] == ["b 2", "b 5"]
    assert (a.before, a.messages, a.new, a.displayed) == ("before 3", 2, True, "a 0")
    assert (b.before, b.displayed) == ("before 2", None)


def test_of_known_chats_what_they_lack_is_taken() -> None:
    (a,) = pick(part(*"abab"), {ChatId("a"): 1, ChatId("b"): 0}.get, 0, 5)
    assert ([event.id for event in a.events], a.new) == (["a 2"], False)


def test_a_receipt_alone_is_no_conversation() -> None:
    read = RemoteRead(ChatId("a"), RemoteId("r"), RemoteId("x"), from_self=False)
    assert pick(RecordPart((RecordEntry(read, "before"),), None, 1), lambda chat: None, 5, 5) == []


def test_what_was_read_after_the_newest_message_belongs_to_the_chat() -> None:
    read = RemoteRead(ChatId("a"), RemoteId("r"), RemoteId("a 1"), from_self=False)
    entries = (*part(*"ab").entries, RecordEntry(read, "before 2"))
    a, b = sorted(pick(RecordPart(entries, None, 3), lambda chat: None, 2, 2), key=lambda p: p.chat)
    assert ([event.id for event in a.events], a.messages) == (["a 0", "r"], 1)
    assert [event.id for event in b.events] == ["b 1"]


@given(
    st.lists(st.sampled_from("abcd"), max_size=40),
    st.integers(1, 7),
    st.integers(0, 5),
    st.integers(1, 6),
)
def test_part_by_part_every_chat_gets_its_last_messages_without_a_gap(
    chats: list[str], size: int, conversations: int, messages: int
) -> None:
    everything = part(*chats).entries
    taken: dict[ChatId, list[str]] = {}
    rest = everything
    while rest:
        rest, some = rest[:-size], rest[-size:]
        picks = pick(
            RecordPart(some, None, size),
            lambda chat: messages - len(taken[chat]) if chat in taken else None,
            conversations - len(taken),
            messages,
        )
        for each in picks:
            taken[each.chat] = [e.id for e in each.events] + taken.get(each.chat, [])
    newest = list(dict.fromkeys(reversed(chats)))[:conversations]
    assert {str(chat): ids for chat, ids in taken.items()} == {
        chat: [e.event.id for e in everything if e.event.chat == chat][-messages:]
        for chat in newest
    }


READ = [said("a", 0), said("a", 1, own=True), said("a", 2), said("a", 3, own=True)]


@pytest.mark.parametrize(
    ("events", "displayed", "marked"),
    [
        (READ, None, "a 2"),  # nobody says so: all was read
        (READ, "a 0", "a 0"),
        (READ, "a 1", "a 0"),  # the contact's message before it
        (READ, "a 2", "a 2"),
        (
            READ,
            "elsewhere",
            None,
        ),  # older than all: then all is unread; or newer, and told by itself
        (READ[1:2], None, None),  # the user's own need not be marked
    ],
)
def test_what_the_user_has_read_is_marked(
    events: Sequence[RemoteMessage], displayed: str | None, marked: str | None
) -> None:
    read = read_mark(ChatId("a"), events, None if displayed is None else RemoteId(displayed))
    assert (None if read is None else (read.target, read.from_self)) == (
        None if marked is None else (marked, True)
    )
