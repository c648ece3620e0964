"""What is older goes before what is there, once; and where the rest begins is recorded with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dm_bridge.ids import ChatId, EventId, LoginId, PortalKey, RemoteId, RoomId, UserId
from dm_bridge.network.events import RemoteMessage
from dm_bridge.network.history import Conversation
from dm_bridge.store.database import Database
from dm_bridge.store.history import HistoryStore, Imported, ImportRow
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.logins import LoginStore
from dm_bridge.store.outbox import OutboxRow, OutboxStore

from .stored import OWNER, a_login, key_of, message

ROMEO = ChatId("romeo@example.net")


async def begun(database: Database, *chats: ChatId) -> tuple[HistoryStore, LoginId]:
    login = await a_login(database)
    await LoginStore(database).activate(login, b"sealed", "at first", imports=True)
    store = HistoryStore(database)
    found = [Conversation(chat, f"={chat}") for chat in chats]
    await store.found(login, found, None, len(chats), all_=True)
    return store, login


async def waiting(database: Database, key: PortalKey) -> list[tuple[str, bool]]:
    return [(row.id, row.older) for row in await InboxStore(database).waiting(key, 100)]


async def test_a_first_login_is_to_be_brought_over_once(database: Database) -> None:
    store, login = await begun(database)
    logins = LoginStore(database)
    assert await store.of(login) == ImportRow(login, "found", "at first", None, 0)
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
    chats = [Conversation(ChatId(name), f"={name}") for name in "cab"]
    await store.found(login, chats[:2], "further", 100, all_=False)
    assert await store.of(login) == ImportRow(login, "searching", "at first", "further", 100)
    await store.found(login, chats, None, 150, all_=True)
    assert [(each.chat, each.state, each.place) for each in await store.chats(login)] == [
        ("c", "found", "=c"),
        ("a", "found", "=a"),
        ("b", "found", "=b"),
    ]
    await store.found(login, [Conversation(ChatId("late"), "=")], None, 0, all_=True)
    assert len(await store.chats(login)) == 3  # the search was over


async def test_what_is_older_comes_before_what_waits(database: Database) -> None:
    store, login = await begun(database, ROMEO)
    key = key_of(login)
    await InboxStore(database).add([(login, message("new"))])
    assert await store.take(key, [message(n) for n in range(3)], "older")
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
    assert await store.take(key, [message(1)], "older")
    assert await store.take(key, [message(2)], "other")
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
    assert await store.take(key, [message(0), copy], None)
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
    assert not await store.take(key, [message(1)], "older")
    known = await store.chat(key)
    assert known is not None
    assert (known.state, known.place) == ("passed", f"={ROMEO}")
    assert await waiting(database, key) == []


async def test_what_became_of_an_import_is_counted(database: Database) -> None:
    chats = [ChatId(f"{name}@x") for name in ("one", "two", "three", "four")]
    store, login = await begun(database, *chats)
    for chat in chats[:2]:
        said: list[RemoteMessage] = [message(n, chat) for n in range(3)]
        await store.take(PortalKey(login, chat), said, None)
        await store.settle(PortalKey(login, chat), "shown")
    await store.settle(PortalKey(login, chats[2]), "failed", "It is gone.")
    await store.settle(PortalKey(login, chats[3]), "passed")
    await store.settle(PortalKey(login, ChatId("five@x")), "passed")
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
