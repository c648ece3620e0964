"""The plans of hot queries: an index answers them, however much history lies around."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest_asyncio
from asyncpg.connection import LoggedQuery

from dm_bridge.direct.ledger import DMState
from dm_bridge.ids import ChatId, ContactId, EventId, LoginId, PortalKey, RemoteId, RoomId, UserId
from dm_bridge.network.events import RemoteMessage, Text
from dm_bridge.store.audit_log import AuditStore
from dm_bridge.store.database import Connection, Database
from dm_bridge.store.direct import DirectStore
from dm_bridge.store.features import FeatureStore
from dm_bridge.store.history import HistoryStore
from dm_bridge.store.inbox import InboxStore
from dm_bridge.store.journals import JournalStore
from dm_bridge.store.outbox import OutboxStore
from dm_bridge.store.overview import OverviewStore
from dm_bridge.store.people import PeopleStore
from dm_bridge.store.portals import PortalStore
from dm_bridge.store.queue import Direction, QueueStore
from dm_bridge.store.references import Reaction, ReferenceStore
from dm_bridge.store.rooms import RoomStore
from dm_bridge.store.safeguards import SafeguardStore
from dm_bridge.store.spaces import SpaceStore
from dm_bridge.store.stamps import StampStore
from dm_bridge.store.undelivered import UndeliveredStore
from tests.conftest import a_copy

from .stored import XMPP, a_login

FILL = (
    """
    INSERT INTO inbox (login_id, chat_id, remote_id, event, state, reference, event_id)
    SELECT $1, 'chat' || n % 50, 'id' || n, 'x',
           CASE WHEN n % 400 = 0 THEN 'waiting' WHEN n % 401 = 0 THEN 'parked' ELSE 'delivered' END,
           'ref' || n, 'event' || n
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO outbox (event_id, room_id, sender, event, state, login_id, chat_id, remote_id)
    SELECT 'event' || n, '!room' || n % 50, '@u:s', 'x',
           CASE WHEN n % 400 = 0 THEN 'waiting' WHEN n % 401 = 0 THEN 'parked'
                WHEN n % 13 = 0 THEN 'failed' ELSE 'delivered' END, $1, 'chat' || n % 50, 'remote' || n
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO portal (login_id, chat_id, contact, ghost, room_id, state)
    SELECT $1, 'chat' || n, 'contact', '@ghost:s', '!room' || n, 'open' FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO former_room (room_id, login_id, chat_id)
    SELECT '!former' || n, $1, 'chat' || n FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO direct_dm (account, room_id, ghost, state, settled)
    SELECT '@account' || n % 500 || ':s', '!room' || n, '@ghost:s', 'active', n % 1000 <> 0 AND $1 <> ''
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO direct_account (account, refused)
    SELECT '@account' || n || ':s', left($1, 0) FROM generate_series(0, 5000) AS n
    """,
    """
    INSERT INTO direct_version (account, seq, at, source, detail)
    SELECT '@account' || n % 500 || ':s', n, 0, 'read' || left($1, 0), '{"added":[],"removed":[],"reasons":[]}'
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO ghost (network, contact, user_id, registered)
    SELECT 'xmpp', 'contact' || n, '@ghost' || n || ':s' || left($1, 0), true FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO contact_request (login_id, contact)
    SELECT $1, 'contact' || n FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO management_room (room_id, user_id)
    SELECT '!room' || n, '@user' || n || ':s' || left($1, 0) FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO audit_log (at, actor, act, subject, door)
    SELECT now() - make_interval(mins => n), '@user' || n % 500, 'login' || left($1, 0), '@user' || n % 500, 'bot'
    FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO login_failure (account, by, at)
    SELECT convert_to('a' || n % 5000 || left($1, 0), 'UTF8'), 'b', now() - make_interval(mins => n)
    FROM generate_series(1, 20000) AS n
    """,
)


@pytest_asyncio.fixture(scope="module")
async def filled(postgres: str) -> AsyncIterator[str]:
    """The URL of a database with some history, analysed: a template."""
    async with a_copy(postgres, "template_of_tests", "template_of_plans") as url:
        database = await Database.open(url)
        login = await a_login(database)
        async with database.connection() as connection:
            for statement in FILL:
                await connection.execute(statement, login)
            await connection.execute("ANALYZE")
        await database.close()
        yield url


@pytest_asyncio.fixture
async def full(postgres: str, filled: str) -> AsyncIterator[Database]:
    """A copy of it."""
    async with a_copy(postgres, "template_of_plans", "test_of_plans") as url:
        database = await Database.open(url)
        yield database
        await database.close()


async def plan(database: Database, run: Callable[[Database], Awaitable[object]]) -> dict[str, Any]:
    """The plan of the one statement that ``run`` executes."""
    (node,) = await plans(database, run)
    return node


async def plans(
    database: Database, run: Callable[[Database], Awaitable[object]]
) -> list[dict[str, Any]]:
    """The plans of the statements that ``run`` executes."""
    seen: list[LoggedQuery] = []

    class Watched(Database):
        @asynccontextmanager
        async def connection(self) -> AsyncIterator[Connection]:
            async with database.connection() as connection:
                with connection.query_logger(seen.append):
                    yield connection

    await run(Watched("", database.instance))
    statements = [
        record
        for record in seen
        if record.args is not None
        and not re.search("BEGIN|COMMIT", record.query)
        and not re.search("typeinfo|jit", record.query)  # asyncpg asks what an array is
    ]
    async with database.connection() as connection:
        answers = [
            await connection.fetchval(f"EXPLAIN (FORMAT JSON) {each.query}", *(each.args or ()))
            for each in statements
        ]
    return [json.loads(answer)[0]["Plan"] for answer in answers]


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)


def indexes(node: dict[str, Any]) -> set[str]:
    assert all(part["Node Type"] != "Seq Scan" for part in nodes(node)), node
    return {part["Index Name"] for part in nodes(node) if "Index Name" in part}


def sorts(node: dict[str, Any]) -> bool:
    return any(part["Node Type"] in ("Sort", "Incremental Sort") for part in nodes(node))


KEY = PortalKey(LoginId("login"), ChatId("chat1"))
ROOM = RoomId("!room1")
ACCOUNT = UserId("@account7:s")
OTHER = RoomId("!another")
ONE, TWO = UserId("@ghost:s"), UserId("@renamed:s")


async def test_what_waits_in_a_chat_is_found_in_order_through_the_partial_index(
    full: Database,
) -> None:
    found = await plan(full, lambda database: InboxStore(database).waiting(KEY, 50))
    assert indexes(found) == {"inbox_waiting"}
    assert not sorts(found)


async def test_what_waits_in_a_room_is_found_in_order_through_the_partial_index(
    full: Database,
) -> None:
    found = await plan(full, lambda database: OutboxStore(database).waiting(ROOM, 50))
    assert indexes(found) == {"outbox_waiting"}
    assert not sorts(found)


async def test_copies_under_another_id_are_looked_for_through_indexes(full: Database) -> None:
    async with full.connection() as connection:
        login = LoginId(await connection.fetchval("SELECT login_id FROM login"))
    event = RemoteMessage(
        ChatId("chat1"),
        RemoteId("new"),
        ContactId("c"),
        True,
        Text("x"),
        other_id=RemoteId("id1"),
        sent_id=RemoteId("remote1"),
    )
    await InboxStore(full).add([])  # asyncpg asks for the types of arrays once
    found = await plan(full, lambda database: InboxStore(database).add([(login, event)]))
    assert indexes(found) == {"inbox_pkey", "inbox_other", "outbox_remote"}


async def test_where_something_waits_is_found_without_reading_history(full: Database) -> None:
    found = await plan(full, lambda database: InboxStore(database).chats_waiting())
    assert indexes(found) == {"inbox_waiting"}
    found = await plan(full, lambda database: OutboxStore(database).rooms_waiting())
    assert indexes(found) == {"outbox_waiting"}


async def test_moves_that_wait_are_found_without_reading_history(full: Database) -> None:
    found = await plan(
        full, lambda database: InboxStore(database).moves_before(KEY, RemoteId("id1"))
    )
    assert indexes(found) == {"inbox_waiting", "inbox_pkey"}
    found = await plan(full, lambda database: InboxStore(database).moves_waiting(KEY.login))
    assert indexes(found) == {"inbox_waiting"}


async def test_a_message_is_found_by_its_reference_and_by_its_event(full: Database) -> None:
    found = await plan(full, lambda database: ReferenceStore(database).named(KEY, RemoteId("ref1")))
    assert indexes(found) == {"inbox_pkey", "inbox_reference", "outbox_remote"}
    async with full.connection() as connection:
        login = LoginId(await connection.fetchval("SELECT login_id FROM inbox LIMIT 1"))
    there = PortalKey(login, ChatId("chat2"))  # not that of the event: there is nothing to decode
    found = await plan(
        full, lambda database: ReferenceStore(database).of_event(there, EventId("event1"))
    )
    assert indexes(found) == {"inbox_event", "outbox_pkey"}


async def test_reactions_are_found_through_an_index(full: Database) -> None:
    store = ReferenceStore(full)
    key = PortalKey(await a_login(full, "another@example.com"), KEY.chat)
    for n in range(2000):
        target, event = EventId(f"$t{n}"), EventId(f"$r{n}")
        await store.add_reaction(key, Reaction(target, True, "a", event))
    async with full.connection() as connection:
        await connection.execute("ANALYZE reaction")
    found = await plan(
        full, lambda database: ReferenceStore(database).reaction_of(key, EventId("$r1"))
    )
    assert indexes(found) == {"reaction_event"}
    found = await plan(
        full,
        lambda database: ReferenceStore(database).reactions(key, EventId("$t1"), from_self=True),
    )
    assert indexes(found) == {"reaction_pkey"}


async def test_what_became_of_a_message_is_found_through_an_index(full: Database) -> None:
    found = await plan(full, lambda database: InboxStore(database).delivered(KEY, RemoteId("id1")))
    assert indexes(found) == {"inbox_pkey"}


async def test_the_portal_of_a_room_is_found_through_its_index(full: Database) -> None:
    found = await plan(full, lambda database: PortalStore(database).by_room(ROOM))
    assert indexes(found) == {"portal_room_id_key"}


async def test_rooms_before_and_after_the_portals_own_are_found_through_an_index(
    full: Database,
) -> None:
    found = await plan(full, lambda database: PortalStore(database).by_former_room(ROOM))
    assert indexes(found) <= {"former_room_pkey", "portal_pkey"}
    found = await plan(full, lambda database: PortalStore(database).by_successor(ROOM))
    assert indexes(found) == {"portal_successor"}


async def test_the_event_of_a_remote_message_is_found_through_its_index(full: Database) -> None:
    found = await plan(full, lambda database: OutboxStore(database).sent_as(KEY, RemoteId("x")))
    assert indexes(found) == {"outbox_remote"}


async def test_the_ledgers_that_hold_a_room_are_found_through_an_index(
    full: Database,
) -> None:
    found = await plan(
        full, lambda database: DirectStore(database).set_state(ROOM, DMState.RETIRED)
    )
    assert indexes(found)


async def test_the_ledger_of_an_account_is_found_through_its_index(full: Database) -> None:
    found = await plan(full, lambda database: DirectStore(database).managed(ACCOUNT))
    assert indexes(found) == {"direct_dm_pkey"}


async def test_unsettled_accounts_are_found_without_reading_settled_ones(full: Database) -> None:
    found = await plan(full, lambda database: DirectStore(database).unsettled())
    assert indexes(found) == {"direct_dm_unsettled"}


async def test_an_upgraded_room_and_a_renamed_ghost_are_found_through_an_index(
    full: Database,
) -> None:
    found = await plan(full, lambda database: DirectStore(database).replace_room(ROOM, OTHER))
    assert "direct_dm_room" in indexes(found)
    found = await plan(full, lambda database: DirectStore(database).rename_ghost(ROOM, ONE, TWO))
    assert "direct_dm_room" in indexes(found)


async def test_the_users_decision_is_recorded_through_an_index(full: Database) -> None:
    found = await plan(full, lambda database: DirectStore(database).opt(ACCOUNT, ROOM, True))
    assert indexes(found)


async def test_when_an_account_was_seen_is_found_through_its_key(full: Database) -> None:
    found = await plan(full, lambda database: JournalStore(database).seen(ACCOUNT))
    assert indexes(found) == {"direct_account_pkey"}


async def test_the_versions_of_an_account_are_found_in_order_through_their_key(
    full: Database,
) -> None:
    async with full.connection() as connection:
        answer = await connection.fetchval(
            "EXPLAIN (FORMAT JSON) SELECT seq, at, source, detail FROM direct_version "
            "WHERE account = $1 ORDER BY seq",
            ACCOUNT,
        )
    assert indexes(json.loads(answer)[0]["Plan"]) == {"direct_version_pkey"}


async def test_the_management_rooms_of_a_user_are_found_through_an_index(full: Database) -> None:
    found = await plan(full, lambda database: RoomStore(database).management_rooms(ACCOUNT))
    assert indexes(found) == {"management_room_user"}


async def test_people_are_found_through_indexes(full: Database) -> None:
    async with full.connection() as connection:
        login = LoginId(await connection.fetchval("SELECT login_id FROM login"))
    contacts = [ContactId(f"contact{n}") for n in (7, 8)]
    for run, names in (
        (lambda d: PeopleStore(d).ghosts(XMPP, contacts), {"ghost_pkey"}),
        (lambda d: PeopleStore(d).named_privately(ONE), {"portal_private"}),
        (lambda d: PeopleStore(d).answered(login, contacts), {"contact_request_pkey"}),
        (lambda d: FeatureStore(d).untold(LoginId("other"), "new", 5), {"portal_pkey"}),
        (lambda d: FeatureStore(d).told(KEY, ROOM, "new"), {"portal_pkey"}),
        (lambda d: SpaceStore(d).chats(LoginId("other")), {"portal_pkey"}),
    ):
        found = await plan(full, run)
        assert indexes(found) == names


async def test_a_space_is_found_through_indexes(full: Database) -> None:
    async with full.connection() as connection:
        await connection.execute(
            """
            INSERT INTO login (login_id, owner, network, remote, name, state)
            SELECT 'login' || n, '@account' || n || ':s', 'xmpp', 'a', 'a', 'active'
            FROM generate_series(1, 5000) AS n;
            INSERT INTO space (login_id, mode, room_id)
            SELECT 'login' || n, 'on', '!space' || n FROM generate_series(1, 5000) AS n;
            ANALYZE login, space
            """
        )
    rooms = [ROOM, OTHER]
    for run, names in (
        (lambda d: SpaceStore(d).get(LoginId("login7")), {"space_pkey"}),
        (lambda d: SpaceStore(d).by_room(ROOM), {"space_room_id_key"}),
        (lambda d: SpaceStore(d).of([ACCOUNT]), {"space_pkey", "login_owner_network_remote_key"}),
        (
            lambda d: SpaceStore(d).unknown(rooms),
            {"management_room_pkey", "portal_room_id_key", "former_room_pkey", "space_room_id_key"},
        ),
    ):
        found = await plan(full, run)
        assert indexes(found) == names


async def test_counting_the_queues_reads_no_history(full: Database) -> None:
    found = await plan(full, lambda database: QueueStore(database).depths())
    assert indexes(found) <= {
        *("inbox_waiting", "inbox_aside", "outbox_waiting", "outbox_aside"),
        *("inbox_requeued", "outbox_requeued", "inbox_undelivered"),
    }


async def test_what_was_put_back_is_found_in_an_index_of_its_own(full: Database) -> None:
    found = await plan(full, lambda database: QueueStore(database).requeued_chats())
    assert indexes(found) == {"inbox_requeued"}
    found = await plan(full, lambda database: QueueStore(database).requeued_rooms())
    assert indexes(found) == {"outbox_requeued"}


async def test_notices_that_are_not_true_any_more_are_found_in_indexes_of_their_own(
    full: Database,
) -> None:
    found = await plan(full, lambda database: OutboxStore(database).unsettled_notices(10))
    assert indexes(found) == {"outbox_notice", "outbox_verdict"}


async def test_what_is_parked_is_listed_and_changed_through_its_index(full: Database) -> None:
    for direction, index in (
        (Direction.TO_MATRIX, "inbox_aside"),
        (Direction.TO_REMOTE, "outbox_aside"),
    ):
        seqs = [row.seq for row in await QueueStore(full).rows(direction, "parked", 2)]
        found = await plan(full, lambda d, q=direction: QueueStore(d).rows(q, "parked", 20))  # type: ignore[misc]
        assert {index, "inbox_undelivered"} & {part.get("Index Name") for part in nodes(found)}
        found, *more = await plans(full, lambda d, q=direction, s=seqs: QueueStore(d).requeue(q, s))  # type: ignore[misc]
        assert indexes(found) <= {index, "inbox_undelivered", "outbox_undelivered"}
        assert [indexes(each) for each in more] == [{"inbox_pkey"}] * (index == "outbox_aside")


async def test_what_a_page_looks_at_again_and_again_is_found_through_indexes(
    full: Database,
) -> None:
    user = UserId("@owner:s")
    for statements in (
        await plans(full, lambda d: StampStore(d).of(user)),
        await plans(full, lambda d: UndeliveredStore(d).not_shown(user, 200)),
        await plans(full, lambda d: UndeliveredStore(d).waiting(user, 60.0, 200)),
        await plans(full, lambda d: PeopleStore(d).called(ACCOUNT)),
    ):
        for found in statements:
            parts = [part for part in nodes(found) if part["Node Type"] == "Seq Scan"]
            read = {part["Relation Name"] for part in parts}
            assert not read & {"inbox", "outbox", "direct_dm", "direct_version"}, found


async def test_why_something_waits_is_noted_through_the_index_of_what_waits(
    full: Database,
) -> None:
    (chat, *_) = await InboxStore(full).chats_waiting()
    found = await plan(full, lambda database: QueueStore(database).note_chat(chat, "away"))
    assert indexes(found) <= {"inbox_waiting", "inbox_pkey"}
    found = await plan(
        full, lambda database: QueueStore(database).note_room(RoomId("!room8"), "away")
    )
    assert indexes(found) <= {"outbox_waiting", "outbox_pkey"}


async def test_what_is_known_of_a_page_of_history_is_found_through_indexes(full: Database) -> None:
    (chat, *_) = await InboxStore(full).chats_waiting()
    event = RemoteMessage(chat.chat, RemoteId("new"), ContactId("c"), True, Text("x"))
    event = replace(event, other_id=RemoteId("id1"), sent_id=RemoteId("remote1"))
    await HistoryStore(full).unknown(chat, [event])  # asyncpg asks for the types of arrays once
    found = await plan(full, lambda database: HistoryStore(database).unknown(chat, [event]))
    assert indexes(found) == {"inbox_pkey", "inbox_other", "outbox_remote"}
    found = await plan(full, lambda database: HistoryStore(database).goes_on(chat))
    assert indexes(found) <= {"inbox_pkey", "outbox_remote"}
    assert indexes(found)


async def test_an_import_is_broken_off_without_reading_history(full: Database) -> None:
    (chat, *_) = await InboxStore(full).chats_waiting()
    given_up, *_ = await plans(full, lambda database: HistoryStore(database).break_off(chat.login))
    (looked,) = (
        part for part in nodes(given_up) if part.get("Alias") == "i" and "Index Name" in part
    )
    assert looked["Index Name"] in ("inbox_waiting", "inbox_pkey")


async def test_what_has_not_arrived_is_found_without_reading_history(full: Database) -> None:
    user = UserId("@u:s")
    async with full.connection() as connection:
        await connection.execute("UPDATE login SET owner = $1", user)
        await connection.execute(
            """
            INSERT INTO login (login_id, owner, network, remote, name, state)
            SELECT 'l' || n, '@owner' || n || ':s', 'xmpp', 'r' || n, 'n', 'active'
            FROM generate_series(1, 5000) AS n
            """
        )
        await connection.execute("ANALYZE login")
    (stamp,) = await plans(full, lambda database: StampStore(database).of(user))
    indexes(stamp)
    (parked,) = await plans(full, lambda database: UndeliveredStore(database).not_shown(user, 200))
    assert "inbox_undelivered" in indexes(parked)
    for found in await plans(full, lambda d: UndeliveredStore(d).waiting(user, 60.0, 200)):
        used = {part.get("Index Name") for part in nodes(found)}
        assert used & {"outbox_waiting", "inbox_waiting"}
        scanned = {p["Relation Name"] for p in nodes(found) if p["Node Type"] == "Seq Scan"}
        assert scanned <= {"portal"}  # all of them are this user's here


async def test_a_page_for_admins_costs_what_is_on_it(full: Database) -> None:
    async with full.connection() as connection:
        await connection.execute(
            """
            INSERT INTO login (login_id, owner, network, remote, name, state)
            SELECT 'l' || n, '@owner' || n || ':s', 'xmpp', 'r' || n, 'n', 'active'
            FROM generate_series(1, 10000) AS n
            """
        )
        await connection.execute(
            "INSERT INTO share (user_id) SELECT '@owner' || n || ':s' FROM generate_series(1, 10000) AS n"
        )
        await connection.execute("ANALYZE")
    store = OverviewStore
    place = ("@owner5:s", "xmpp", "")
    page = await plan(full, lambda database: store(database).logins(51, place))
    assert "login_owner_network_remote_key" in indexes(page)
    assert not sorts(page)
    page = await plan(full, lambda database: store(database).accounts(51, "@owner5:s"))
    assert "share_pkey" in indexes(page)
    assert not sorts(page)
    assert len(await store(full).logins(51, place)) == 51
    assert len(await store(full).accounts(51)) == 51


async def test_the_audit_log_is_read_and_pruned_through_indexes(full: Database) -> None:
    found = await plan(
        full, lambda database: AuditStore(database).latest(25, users=["@user7", "erased 1"])
    )
    assert indexes(found) <= {"audit_log_subject", "audit_log_actor", "audit_log_pkey"}
    found = await plan(full, lambda database: AuditStore(database).latest(25))
    assert indexes(found) == {"audit_log_pkey"}
    found = await plan(full, lambda database: AuditStore(database).prune(90))
    assert indexes(found) == {"audit_log_at", "audit_log_pkey"}


async def test_tries_at_an_account_are_counted_through_an_index(full: Database) -> None:
    lock, counted, added = await plans(
        full, lambda database: SafeguardStore(database).try_account(b"a7", b"b", 5)
    )
    assert indexes(counted) == {"login_failure_account"}
    assert not indexes(lock) | indexes(added)
