"""The inbox: once, in order, and out of the queue exactly once."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.ids import ChatId, ContactId, EventId, RemoteId, RoomId
from dm_bridge.network.events import (
    ContactMoved,
    RemoteEdit,
    RemoteEvent,
    RemoteFailure,
    RemoteMessage,
    RemoteReactions,
    RemoteRead,
    RemoteReceived,
    Text,
)
from dm_bridge.network.media import Media, MediaKind, Place
from dm_bridge.store.database import Database
from dm_bridge.store.inbox import InboxOutcome, InboxStore, _decode, _encode
from dm_bridge.store.logins import LoginStore
from dm_bridge.store.outbox import OutboxRow, OutboxStore

from .stored import OWNER, a_login, key_of, message

words = st.text(st.characters(exclude_categories=["Cs"]))
texts = st.builds(Text, words, st.none() | words, st.booleans(), st.booleans())
numbers = st.none() | st.integers(0, 2**53)
attachments = (
    st.none()
    | st.builds(
        Media,
        kind=st.sampled_from(MediaKind),
        url=words,
        name=words,
        mimetype=words,
        size=numbers,
        width=numbers,
        height=numbers,
        duration=st.none() | st.floats(0, 1e9),
        thumbnail=st.none() | words,
        key=st.none() | words,
        iv=st.none() | words,
        sha256=st.none() | words,
    )
    | st.builds(Place, st.floats(-90, 90), st.floats(-180, 180), st.none() | st.floats(0, 1e6))
)
events: st.SearchStrategy[RemoteEvent] = st.builds(
    RemoteMessage,
    st.builds(ChatId, words),
    st.builds(RemoteId, words),
    st.builds(ContactId, words),
    st.booleans(),
    texts,
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | words,
    st.none() | st.builds(RemoteId, words),
    st.none() | st.builds(RemoteId, words),
    attachment=attachments,
) | st.builds(RemoteFailure, st.builds(ChatId, words), st.builds(RemoteId, words), words)
edits = st.builds(
    RemoteEdit,
    st.builds(ChatId, words),
    st.builds(RemoteId, words),
    st.builds(RemoteId, words),
    st.builds(ContactId, words),
    st.booleans(),
    texts,
    attachment=attachments,
)
receipts: st.SearchStrategy[RemoteEvent] = st.builds(
    RemoteRead,
    st.builds(ChatId, words),
    st.builds(RemoteId, words),
    st.builds(RemoteId, words),
    st.booleans(),
) | st.builds(
    RemoteReceived,
    st.builds(ChatId, words),
    st.builds(RemoteId, words),
    st.builds(RemoteId, words),
)


@given(events | edits | receipts)
def test_an_event_comes_out_of_storage_as_it_went_in(event: RemoteEvent) -> None:
    assert _decode(_encode(event)) == event


def test_what_an_earlier_version_does_not_know_is_stored_only_where_it_is() -> None:
    assert b"attachment" not in _encode(message(1))
    place = replace(message(1), attachment=Place(1.0, 2.0))
    assert b"attachment" in _encode(place)


def test_a_file_with_an_odd_name_can_be_stored() -> None:
    media = Media(kind=MediaKind.VOICE, url="https://x/", name="\ud800")
    decoded = _decode(_encode(replace(message(1), attachment=media)))
    assert isinstance(decoded, RemoteMessage)
    assert isinstance(decoded.attachment, Media)
    assert (decoded.attachment.kind, decoded.attachment.name) == (MediaKind.VOICE, "\ufffd")
    reactions = RemoteReactions(
        ChatId("c"), RemoteId("i"), RemoteId("t"), ContactId("c"), False, ("\ud800",)
    )
    assert _decode(_encode(reactions)) == replace(reactions, emojis=("\ufffd",))


async def test_a_message_that_is_delivered_again_waits_once(database: Database) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    assert await inbox.add([(login, message(1)), (login, message(1))]) == {key_of(login)}
    assert await inbox.add([(login, message(1, body="changed")), (login, message(2))])
    assert await inbox.add([(login, message(1)), (login, message(2))]) == set()
    waiting = await inbox.waiting(key_of(login), 10)
    assert [row.id for row in waiting] == ["id-1", "id-2"]
    assert waiting[0].event == message(1)


async def test_the_same_id_in_another_chat_or_login_is_another_message(database: Database) -> None:
    inbox = InboxStore(database)
    first, second = await a_login(database), await a_login(database, "other@example.com")
    added = await inbox.add(
        [(first, message(1)), (first, message(1, chat="nurse@example.net")), (second, message(1))]
    )
    assert added == {key_of(first), key_of(first, "nurse@example.net"), key_of(second)}
    assert set(await inbox.chats_waiting()) == added


async def test_a_failure_report_never_counts_as_the_message_it_is_about(database: Database) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    failure = RemoteFailure(ChatId("romeo@example.net"), RemoteId("id-1"), "Gone.")
    await inbox.add([(login, message(1)), (login, failure), (login, failure)])
    assert [row.event for row in await inbox.waiting(key_of(login), 10)] == [message(1), failure]


async def test_one_batch_of_five_hundred_keeps_its_order(database: Database) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    numbers = [f"{secrets.token_hex(4)}" for _ in range(500)]
    await inbox.add([(login, message(number)) for number in numbers])
    waiting = await inbox.waiting(key_of(login), 1000)
    assert [row.id for row in waiting] == [f"id-{number}" for number in numbers]


async def test_order_holds_over_many_batches_and_pages(database: Database) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    for batch in range(20):
        await inbox.add([(login, message(f"{batch}-{n}")) for n in (3, 1, 2)])
    expected = [f"id-{batch}-{n}" for batch in range(20) for n in (3, 1, 2)]
    seen: list[str] = []
    while page := await inbox.waiting(key_of(login), 7):
        assert len(page) <= 7
        seen += [row.id for row in page]
        outcomes = [InboxOutcome(row.id, "delivered", EventId("$e")) for row in page]
        await inbox.finish(key_of(login), outcomes)
    assert seen == expected


async def test_an_empty_batch_is_no_work(database: Database) -> None:
    assert await InboxStore(database).add([]) == set()


async def test_a_row_is_finished_once_and_the_first_outcome_stays(database: Database) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    await inbox.add([(login, message(1))])
    (row,) = await inbox.waiting(key_of(login), 1)
    await inbox.finish(key_of(login), [InboxOutcome(row.id, "delivered", EventId("$first"))])
    await inbox.finish(key_of(login), [InboxOutcome(row.id, "parked", reason="too late")])
    assert await inbox.waiting(key_of(login), 1) == []
    assert await inbox.chats_waiting() == []
    delivered = await inbox.delivered(key_of(login), RemoteId("id-1"))
    assert delivered is not None
    assert (delivered.event, delivered.waiting) == ("$first", False)


async def test_what_became_of_a_message_can_be_asked(database: Database) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    own = replace(message(2), from_self=True)
    await inbox.add([(login, message(1)), (login, own)])
    theirs = await inbox.delivered(key_of(login), RemoteId("id-1"))
    mine = await inbox.delivered(key_of(login), RemoteId("id-2"))
    assert theirs is not None
    assert mine is not None
    assert (theirs.event, theirs.waiting, theirs.from_self) == (None, True, False)
    assert (mine.event, mine.waiting, mine.from_self) == (None, True, True)
    assert await inbox.delivered(key_of(login), RemoteId("never seen")) is None
    assert await inbox.delivered(key_of(login, "nurse@example.net"), RemoteId("id-1")) is None


async def test_the_time_of_arrival_is_the_databases(database: Database) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    await inbox.add([(login, message(1))])
    async with database.connection() as connection:
        now = await connection.fetchval("SELECT extract(epoch FROM now())::float8")
    (row,) = await inbox.waiting(key_of(login), 1)
    assert 0 <= now - row.received_at < 60


@pytest.mark.parametrize("body", ["NUL \0 inside", "\u202ereversed", "\ufeff", "𝔘" * 1000, "\r\n"])
async def test_any_text_is_kept_unchanged(database: Database, body: str) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    await inbox.add([(login, message(1, body=body))])
    (row,) = await inbox.waiting(key_of(login), 1)
    assert isinstance(row.event, RemoteMessage)
    assert row.event.content.body == body


async def test_the_same_message_from_two_sides_at_once_is_new_for_one_of_them(
    database: Database,
) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    answers = await asyncio.gather(*(inbox.add([(login, message(1))]) for _ in range(8)))
    assert sorted(map(len, answers)) == [0] * 7 + [1]


async def test_a_moved_contact_is_read_back_unchanged_and_each_move_counts_once(
    database: Database,
) -> None:
    login = await a_login(database)
    inbox = InboxStore(database)
    moves = [
        ContactMoved(
            ChatId("romeo@example.net"),
            RemoteId(f"move-{n}"),
            ContactId("romeo@example.net"),
            ContactId("romeo@mantua.example"),
            ChatId("romeo@mantua.example"),
            name,
        )
        for n, name in enumerate((None, "Romeo"))
    ]
    await inbox.add([(login, move) for move in moves])
    await inbox.add([(login, moves[0])])
    assert [row.event for row in await inbox.waiting(key_of(login), 10)] == moves


async def test_a_message_that_was_delivered_under_its_other_id_is_the_same(
    database: Database,
) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    await inbox.add([(login, message(1)), (login, message(2))])
    again = [replace(message(f"archived-{n}"), other_id=RemoteId(f"id-{n}")) for n in (1, 3)]
    elsewhere = replace(again[0], chat=ChatId("nurse@example.net"))
    await inbox.add([(login, event) for event in (*again, elsewhere)])
    waiting = await inbox.waiting(key_of(login), 10)
    assert [row.id for row in waiting] == ["id-1", "id-2", "id-archived-3"]
    assert len(await inbox.waiting(key_of(login, "nurse@example.net"), 10)) == 1


async def test_a_copy_that_comes_late_under_the_other_id_is_the_same(database: Database) -> None:
    """A process that had the login before may still have been about to commit it."""
    inbox, login = InboxStore(database), await a_login(database)
    await inbox.add([(login, replace(message("archived"), other_id=RemoteId("id-live")))])
    assert await inbox.add([(login, message("live"))]) == set()
    assert await inbox.add([(login, message("live", "nurse@example.net"))]) != set()
    assert [row.id for row in await inbox.waiting(key_of(login), 10)] == ["id-archived"]


async def test_a_message_that_the_bridge_sent_does_not_come_back(database: Database) -> None:
    inbox, outbox, login = InboxStore(database), OutboxStore(database), await a_login(database)
    sent = OutboxRow(EventId("$sent"), RoomId("!room"), OWNER, {})
    await outbox.add([sent])
    await outbox.finish(sent, "delivered", portal=key_of(login), remote=RemoteId("by-us"))
    ours, not_ours = (
        replace(message(n), from_self=True, sent_id=RemoteId(n)) for n in ("by-us", "by-them")
    )
    await inbox.add([(login, ours), (login, not_ours)])
    assert [row.event for row in await inbox.waiting(key_of(login), 10)] == [not_ours]


async def test_events_and_position_are_committed_together(database: Database) -> None:
    inbox, logins, login = InboxStore(database), LoginStore(database), await a_login(database)
    assert await logins.position(login) is None
    assert await inbox.add_at(login, [message(1), message(2)], None, "two") == (
        {key_of(login)}, True
    )  # fmt: skip
    assert await logins.position(login) == "two"
    assert await inbox.add_at(login, [], "two", "three") == (set(), True)
    assert await logins.position(login) == "three"
    assert [row.id for row in await inbox.waiting(key_of(login), 10)] == ["id-1", "id-2"]


async def test_what_cannot_be_stored_moves_no_position(database: Database) -> None:
    inbox, logins, login = InboxStore(database), LoginStore(database), await a_login(database)
    with pytest.raises(asyncpg.PostgresError):
        await inbox.add_at(login, [message(1, chat="NUL \0")], None, "one")
    assert await logins.position(login) is None


async def test_a_position_that_somebody_else_moved_stays_and_the_events_are_kept(
    database: Database,
) -> None:
    inbox, logins, login = InboxStore(database), LoginStore(database), await a_login(database)
    await inbox.add_at(login, [message(1)], None, "one")
    assert await inbox.add_at(login, [message(2)], None, "old") == ({key_of(login)}, False)
    assert await logins.position(login) == "one"
    assert len(await inbox.waiting(key_of(login), 10)) == 2


async def test_a_commit_whose_answer_was_lost_can_be_repeated(database: Database) -> None:
    inbox, login = InboxStore(database), await a_login(database)
    await inbox.add_at(login, [message(1)], None, "one")
    assert await inbox.add_at(login, [message(1)], None, "one") == (set(), True)
