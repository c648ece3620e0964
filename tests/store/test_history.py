"""What is older goes before what is there, once; and where the rest begins is recorded with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dm_bridge.bridge.import_plan import Pick
from dm_bridge.ids import ChatId, EventId, LoginId, PortalKey, RemoteId, RoomId, UserId
from dm_bridge.network.events import (
    RemoteEvent,
    RemoteMessage,
    RemoteReactions,
    RemoteRead,
    RemoteRetraction,
)
from dm_bridge.store.database import Database
from dm_bridge.store.history import HistoryStore, ImportChat, Imported, ImportRow
from dm_bridge.store.inbox import ABOUT_NOTHING, InboxOutcome, InboxStore
from dm_bridge.store.logins import LoginStore
from dm_bridge.store.outbox import OutboxRow, OutboxStore

from .stored import OWNER, a_login, key_of, message
from .stored import ROMEO as ROMEO_HIMSELF

ROMEO = ChatId("romeo@example.net")


async def begun(database: Database, *chats: ChatId) -> tuple[HistoryStore, LoginId]:
    login = await a_login(database)
    await LoginStore(database).activate(login, b"sealed", "at first", imports=True)
    store = HistoryStore(database)
    row = await store.of(login)
    assert row is not None
    picks = [Pick(chat, True, None, f"before {chat}") for chat in chats]
    assert await store.found(row, picks, "further", 10, "found", 5) == list(chats)
    return store, login


def no_mark(chat: ChatId, events: object, displayed: object) -> None:
    return None


async def waiting(database: Database, key: PortalKey) -> list[tuple[str, bool]]:
    return [(row.id, row.older) for row in await InboxStore(database).waiting(key, 100)]


async def test_a_first_login_is_to_be_brought_over_once(database: Database) -> None:
    store, login = await begun(database)
    logins = LoginStore(database)
    assert await store.of(login) == ImportRow(login, "found", "at first", "further", 10)
    assert await store.unfinished([UserId("@other:s")]) == []
    assert [row.login for row in await store.unfinished([OWNER])] == [login]
    await store.end(login)
    await logins.activate(login, b"again", "later", imports=True)
    assert await store.of(login) is None
    assert await store.unfinished() == []


async def test_where_nothing_is_brought_over_later_logins_change_nothing(
    database: Database,
) -> None:
    login = await a_login(database)
    await LoginStore(database).activate(login, b"sealed", "at first")
    await LoginStore(database).activate(login, b"sealed", "at first", imports=True)
    assert await HistoryStore(database).of(login) is None


async def test_the_search_goes_on_where_it_was(database: Database) -> None:
    login = await a_login(database)
    await LoginStore(database).activate(login, b"sealed", "at first", imports=True)
    store = HistoryStore(database)
    first = await store.of(login)
    assert first is not None
    new = Pick(ROMEO, True, RemoteId("displayed"), "before 3", [message(3), message(4)], 2)
    await InboxStore(database).add([(login, message("new"))])
    assert await store.found(first, [new], "further", 100, "searching", 5) == [ROMEO]
    assert (
        await store.found(first, [new], "further", 100, "searching", 5) == []
    )  # it is elsewhere now
    second = await store.of(login)
    assert second == ImportRow(login, "searching", "at first", "further", 100)
    old = Pick(ROMEO, False, None, "before 1", [message(1), message(2)], 2)
    assert await store.found(second, [old], None, 50, "found", 5) == [ROMEO]
    assert await store.of(login) == ImportRow(login, "found", "at first", None, 150)
    assert await store.chats(login) == [ImportChat(ROMEO, "found", None, 4)]  # nothing is older
    assert [name for name, _ in await waiting(database, key_of(login))] == [
        *(f"id-{n}" for n in range(1, 5)),
        "id-new",
    ]


async def test_a_chat_that_was_taken_gets_no_more_from_the_search(database: Database) -> None:
    login = await a_login(database)
    await LoginStore(database).activate(login, b"sealed", "at first", imports=True)
    store, key = HistoryStore(database), key_of(login)
    row = await store.of(login)
    assert row is not None
    await store.found(row, [Pick(ROMEO, True, None, "b", [message(2)], 1)], "f", 1, "searching", 5)
    assert await store.take(key, [message(1)], "before 1", no_mark)
    row = await store.of(login)
    assert row is not None
    late = Pick(ROMEO, False, None, "before 0", [message(0)], 1)
    assert await store.found(row, [late], None, 1, "found", 5) == []
    assert [name for name, _ in await waiting(database, key)] == ["id-1", "id-2"]


async def test_what_was_read_is_marked_behind_all_that_is_older(database: Database) -> None:
    store, login = await begun(database, ROMEO)
    key = key_of(login)
    await InboxStore(database).add([(login, message("new"))])
    seen: list[object] = []

    def mark(chat: ChatId, events: Sequence[RemoteEvent], displayed: RemoteId | None) -> RemoteRead:
        seen.extend(events)
        return RemoteRead(chat, RemoteId("read"), RemoteId("id-1"), from_self=True)

    assert await store.take(key, [message(0), message(1)], None, mark)
    assert seen == [message(0), message(1)]
    assert [name for name, _ in await waiting(database, key)] == ["id-0", "id-1", "read", "id-new"]


async def test_a_chat_without_messages_is_passed_over(database: Database) -> None:
    store, login = await begun(database, ROMEO)
    assert not await store.take(key_of(login), [], None, no_mark)
    assert [each.state for each in await store.chats(login)] == ["passed"]


async def test_what_is_given_up_is_not_shown(database: Database) -> None:
    login = await a_login(database)
    await LoginStore(database).activate(login, b"sealed", "at first", imports=True)
    store, key = HistoryStore(database), key_of(login)
    row = await store.of(login)
    assert row is not None
    await InboxStore(database).add([(login, message("new"))])
    await store.found(row, [Pick(ROMEO, True, None, "b", [message(2)], 1)], "f", 1, "searching", 5)
    await store.give_up(key)
    assert [name for name, _ in await waiting(database, key)] == ["id-new"]
    assert not await store.take(key, [message(1)], None, no_mark)


async def test_what_is_older_comes_before_what_waits(database: Database) -> None:
    store, login = await begun(database, ROMEO)
    key = key_of(login)
    await InboxStore(database).add([(login, message("new"))])
    assert await store.take(key, [message(n) for n in range(3)], "older", no_mark)
    assert await waiting(database, key) == [
        ("id-0", True),
        ("id-1", True),
        ("id-2", True),
        ("id-new", False),
    ]
    assert await store.add(key, [message("a"), message("b")], None, None) == 2
    assert [name for name, _ in await waiting(database, key)][:3] == ["id-a", "id-b", "id-0"]


async def test_a_chat_is_taken_once_whatever_becomes_of_the_answer(database: Database) -> None:
    store, login = await begun(database, ROMEO)
    key = key_of(login)
    assert await store.take(key, [message(1)], "older", no_mark)
    assert await store.take(key, [message(2)], "other", no_mark)
    assert await waiting(database, key) == [("id-1", True)]
    known = await store.chat(key)
    assert known is not None
    assert (known.state, known.place) == ("taken", "older")


async def test_copies_of_what_is_there_are_not_older(database: Database) -> None:
    store, login = await begun(database, ROMEO)
    key = key_of(login)
    live = replace(message("own:1"), from_self=True)
    await InboxStore(database).add([(login, live)])
    copy = replace(live, id=RemoteId("sid:1"), other_id=live.id)
    assert await store.unknown(key, [message(0), copy, live]) == [message(0)]
    assert await store.take(key, [message(0), copy], None, no_mark)
    assert await waiting(database, key) == [("id-0", True), ("id-own:1", False)]


@pytest.mark.parametrize("by_user", [False, True])
async def test_a_chat_that_goes_on_already_is_passed_over(
    database: Database, by_user: bool
) -> None:
    store, login = await begun(database, ROMEO)
    key = key_of(login)
    assert not await store.goes_on(key)
    if by_user:
        outbox = OutboxStore(database)
        await outbox.add([OutboxRow(EventId("$1"), RoomId("!r"), OWNER, {"type": "m"})])
        async with database.connection() as connection:
            await connection.execute(
                "UPDATE outbox SET login_id = $1, chat_id = $2, remote_id = 'sent', state = 'delivered'",
                login,
                ROMEO,
            )
    else:
        inbox = InboxStore(database)
        await inbox.add([(login, message("new"))])
        await inbox.finish(key, [InboxOutcome(RemoteId("id-new"), "delivered", EventId("$1"))])
    assert await store.goes_on(key)
    assert not await store.take(key, [message(1)], "older", no_mark)
    known = await store.chat(key)
    assert known is not None
    assert known.state == "passed"
    assert await waiting(database, key) == []


async def test_what_became_of_an_import_is_counted(database: Database) -> None:
    chats = [ChatId(f"{name}@x") for name in ("one", "two", "three", "four")]
    store, login = await begun(database, *chats)
    for chat in chats[:2]:
        said: list[RemoteMessage] = [message(n, chat) for n in range(3)]
        await store.take(PortalKey(login, chat), said, None, no_mark)
        await store.show(PortalKey(login, chat))
    await store.give_up(PortalKey(login, chats[2]), "It is gone.")
    await store.give_up(PortalKey(login, chats[3]))
    await store.give_up(PortalKey(login, ChatId("five@x")))
    assert await store.imported(login) == Imported(2, 6, 1, ("It is gone.",))


async def test_what_is_shown_in_a_thread_says_so(database: Database) -> None:
    store, login = await begun(database)
    key = key_of(login)
    await store.add(key, [message(1)], "older", EventId("$root"))
    (row,) = await InboxStore(database).waiting(key, 10)
    assert (row.thread, row.older) == ("$root", True)
    known = await store.chat(key)
    assert known is not None
    assert (known.state, known.place) == ("shown", "older")


def taken_back(number: object, target: str) -> RemoteRetraction:
    return RemoteRetraction(
        ROMEO, RemoteId(f"gone-{number}"), RemoteId(target), ROMEO_HIMSELF, False
    )


async def test_what_was_done_to_an_older_message_before_it_came_is_done_to_it_then(
    database: Database,
) -> None:
    login = await a_login(database)
    store, inbox, key = HistoryStore(database), InboxStore(database), key_of(login)
    named = replace(message(1), reference=RemoteId("by-its-author"))
    reaction = RemoteReactions(
        ROMEO, RemoteId("reaction"), RemoteId("id-2"), ROMEO_HIMSELF, False, ("👍",)
    )
    came: list[RemoteRetraction | RemoteReactions] = [
        taken_back(1, "by-its-author"),
        taken_back(2, "id-2"),
        taken_back(3, "id-3"),
        reaction,
        taken_back(4, "id-2"),
    ]
    await inbox.add([(login, event) for event in came])
    dropped = [InboxOutcome(event.id, "dropped", reason=ABOUT_NOTHING) for event in came[:-1]]
    await inbox.finish(key, [*dropped, InboxOutcome(came[-1].id, "dropped", reason="by an admin")])
    assert await store.add(key, [named, message(2)], "before 1", EventId("$thread")) == 2
    assert [(row.id, row.thread) for row in await inbox.waiting(key, 100)] == [
        ("id-1", "$thread"),
        ("id-2", "$thread"),
        ("gone-1", None),
        ("gone-2", None),
        ("reaction", None),
    ]
    await inbox.finish(key, [InboxOutcome(came[0].id, "delivered")])
    assert await store.add(key, [named, message(2)], "before 1", EventId("$thread")) == 0
    assert ("gone-1", False) not in await waiting(database, key)
