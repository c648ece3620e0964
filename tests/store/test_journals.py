"""The journal in the database: one writer, nothing recorded upon something older, nothing lost between."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from types import MappingProxyType

import pytest

from dm_bridge.direct import DirectDocument, Journal, Reason, ReasonKind, Source
from dm_bridge.direct.journal import Bounds, Struggle
from dm_bridge.ids import UserId
from dm_bridge.store import journals as module
from dm_bridge.store.database import Database
from dm_bridge.store.instances import InstanceStore
from dm_bridge.store.journals import LEASE, Busy, JournalStore, Remembered, Seen

from .stored import OWNER, run_out

OTHER = UserId("@nurse:example.org")
REASONS = (
    Reason(ReasonKind.MARKED, "@ghost:x", "!room"),
    Reason(ReasonKind.OLD_COPY, count=3),
)


@pytest.fixture
def store(database: Database) -> JournalStore:
    return JournalStore(database, "one")


@pytest.fixture
def other(database: Database) -> JournalStore:
    return JournalStore(database, "two")


async def left(database: Database) -> float:
    """For how many seconds the account still has its writer."""
    async with database.connection() as connection:
        return float(
            await connection.fetchval(
                "SELECT extract(epoch FROM lease_until - now()) FROM direct_account WHERE account = $1",
                OWNER,
            )
        )


def document(content: object) -> DirectDocument:
    parsed = DirectDocument.parse(json.dumps(content))
    assert isinstance(parsed, DirectDocument)
    return parsed


async def record(
    store: JournalStore,
    before: Remembered,
    after: Journal,
    *,
    source: Source = Source.READ,
    refused: str | None = "",
) -> Remembered:
    async with store._database.transaction() as connection:
        remembered = await store.record(
            connection, OWNER, before, after, source=source, refused=refused
        )
    store.recorded(OWNER, remembered)
    return remembered


def with_history(journal: Journal) -> Journal:
    journal = journal.seen(document({"@a:b": ["!1"]}), 1.5, Source.PUSHED)
    journal = journal.seen(document({"@a:b": ["!1"], "odd": [None, 1.5]}), 2.5, Source.SWEEP)
    return journal.intend(
        document({"@a:b": ["!1"], "odd": [None, 1.5], "@ghost:x": ["!room"]}),
        3.5,
        REASONS,
        document({"@a:b": ["!1"], "odd": [None, 1.5]}),
    )


async def test_a_process_gives_way_when_it_is_buried_and_not_before(database: Database) -> None:
    instances = InstanceStore(database)
    await instances.join("us", 10.0, "", "", "0")
    process = JournalStore(database, is_instance=True)
    other = JournalStore(database, "two")
    await process.claim(OWNER)
    with pytest.raises(Busy):
        await other.claim(OWNER)
    await instances.leave()
    alive = await Database.open(database._url)
    try:
        await JournalStore(alive, "two").claim(OWNER)
    finally:
        await alive.close()


async def test_a_journal_is_read_back_as_it_was_recorded(
    store: JournalStore, database: Database
) -> None:
    before = await store.claim(OWNER)
    journal = with_history(before.journal)
    journal = replace(journal, struggles=MappingProxyType({"!room": Struggle(20, 3.0)}))
    await record(store, before, journal)
    found = (await JournalStore(database, "one").claim(OWNER)).journal
    assert found.versions == journal.versions
    assert found.struggles == journal.struggles
    assert found.head is not None
    assert journal.head is not None
    assert found.head.content() == journal.head.content()
    assert found.doubt is not None
    assert found.doubt.content() == {"@a:b": ["!1"], "odd": [None, 1.5]}
    assert (found.echoes, found.attempted) == (True, False)


@pytest.mark.parametrize("text", ['{"@a:b": ["!\\u0000"]}', '{"@\\ud800:b": ["!1"], "n": 1e308}'])
async def test_what_postgres_refuses_in_json_is_kept(store: JournalStore, text: str) -> None:
    parsed = DirectDocument.parse(text)
    assert isinstance(parsed, DirectDocument)
    before = await store.claim(OWNER)
    await record(store, before, before.journal.seen(parsed, 1.0, Source.READ))
    found = (await store.read(OWNER)).head
    assert found is not None
    assert found.content() == parsed.content()


async def test_an_account_that_was_never_seen_has_an_empty_journal(store: JournalStore) -> None:
    assert await store.read(OWNER) == Journal()
    assert await store.seen(OWNER) == Seen(None, "", "")
    assert await store.last_seen() == {}


async def test_one_writer_at_a_time(store: JournalStore, other: JournalStore) -> None:
    await store.claim(OWNER)
    with pytest.raises(Busy) as caught:
        await other.claim(OWNER)
    assert caught.value.retry_after
    await other.claim(OTHER)
    await store.claim(OWNER)
    await store.release(OWNER)
    await other.claim(OWNER)
    await store.release(OWNER)
    with pytest.raises(Busy):
        await store.claim(OWNER)


async def test_of_many_who_claim_at_once_one_gets_it(database: Database) -> None:
    stores = [JournalStore(database) for _ in range(8)]
    results = await asyncio.gather(*(s.claim(OWNER) for s in stores), return_exceptions=True)
    assert sum(not isinstance(result, Busy) for result in results) == 1


async def test_a_writer_that_died_is_followed_after_its_lease_and_cannot_come_back(
    store: JournalStore, other: JournalStore, database: Database
) -> None:
    before = await store.claim(OWNER)
    with pytest.raises(Busy):
        await other.claim(OWNER)
    assert 0 < await left(database) <= LEASE
    await run_out(database)
    theirs = await other.claim(OWNER)
    with pytest.raises(Busy):
        await record(store, before, with_history(before.journal))
    await record(other, theirs, with_history(theirs.journal))


async def test_a_process_that_died_is_followed_at_once(database_url: str) -> None:
    first, second = await Database.open(database_url), await Database.open(database_url)
    dead, alive = JournalStore(first), JournalStore(second)
    await dead.claim(OWNER)
    with pytest.raises(Busy):
        await alive.claim(OWNER)
    await first.close()
    async with asyncio.timeout(60):
        while True:  # PostgreSQL takes a moment to notice
            try:
                await alive.claim(OWNER)
                break
            except Busy:
                await asyncio.sleep(0.05)
    await second.close()


async def test_recording_prolongs_the_lease(
    store: JournalStore, other: JournalStore, database: Database
) -> None:
    remembered = await store.claim(OWNER)
    for _ in range(3):
        await run_out(database)
        remembered = await record(store, remembered, remembered.journal)
        assert 0 < await left(database) <= LEASE
    with pytest.raises(Busy):
        await other.claim(OWNER)


async def test_nothing_is_recorded_upon_what_is_older_than_what_stands_there(
    store: JournalStore,
) -> None:
    before = await store.claim(OWNER)
    await record(store, before, with_history(before.journal))
    with pytest.raises(Busy):
        await record(store, before, with_history(before.journal))
    assert len((await store.read(OWNER)).versions) == 3


async def test_what_another_process_recorded_is_not_taken_from_memory(
    store: JournalStore, other: JournalStore
) -> None:
    before = await store.claim(OWNER)
    await record(store, before, with_history(before.journal))
    await store.release(OWNER)
    theirs = await other.claim(OWNER)
    await record(
        other, theirs, theirs.journal.seen(document({"@new:x": ["!1"]}), 9.0, Source.WATCHED)
    )
    await other.release(OWNER)
    assert [v.source for v in (await store.claim(OWNER)).journal.versions][-1] is Source.WATCHED


async def test_a_write_that_surely_failed_is_taken_back(store: JournalStore) -> None:
    before = await store.claim(OWNER)
    remembered = await record(store, before, with_history(before.journal))
    await record(store, remembered, remembered.journal.abandon())
    found = await store.read(OWNER)
    assert [v.source for v in found.versions] == [Source.PUSHED, Source.SWEEP]
    assert found.doubt is None
    assert found.head is not None
    assert "@ghost:x" not in found.head.content()


async def test_an_accepted_write_is_doubted_by_us_and_believed_by_those_after_us(
    store: JournalStore, other: JournalStore
) -> None:
    before = await store.claim(OWNER)
    remembered = await record(store, before, with_history(before.journal))
    await store.written(OWNER, remembered)
    ours = (await store.claim(OWNER)).journal
    assert ours.doubt is not None
    assert ours.attempted
    await store.release(OWNER)
    assert (await other.claim(OWNER)).journal.doubt is None


async def test_versions_beyond_the_bounds_are_deleted(
    store: JournalStore, database: Database
) -> None:
    remembered = await store.claim(OWNER)
    for number in range(10):
        journal = remembered.journal.seen(
            document({"@a:b": [f"!{number}"]}), float(number), Source.READ
        )
        remembered = await record(store, remembered, journal.bounded(Bounds(4, 1e9), 10.0))
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT seq FROM direct_version ORDER BY seq")
    assert [row["seq"] for row in rows] == [7, 8, 9, 10]
    old = remembered.journal.bounded(Bounds(4, 1.5), 10.0)
    await record(store, remembered, old)
    assert [v.seq for v in (await store.read(OWNER)).versions] == [10]


async def test_how_a_document_was_seen_and_what_is_wrong_with_it(store: JournalStore) -> None:
    remembered = await store.claim(OWNER)
    journal = with_history(remembered.journal)
    remembered = await record(
        store, remembered, journal, source=Source.SWEEP, refused="It is junk."
    )
    seen = await store.seen(OWNER)
    assert (seen.source, seen.refused) == ("sweep", "It is junk.")
    assert seen.at == (await store.last_seen())[OWNER]
    remembered = await record(store, remembered, journal, source=Source.PUSHED, refused=None)
    seen = await store.seen(OWNER)
    assert (seen.source, seen.refused) == ("pushed", "It is junk.")
    await store.trouble(OWNER, "The homeserver is away.")
    assert (await store.seen(OWNER)).refused == "The homeserver is away."
    await record(store, remembered, journal)
    assert (await store.seen(OWNER)).refused == ""


async def test_seeing_what_is_known_writes_no_history_anew(
    store: JournalStore, database: Database
) -> None:
    before = await store.claim(OWNER)
    remembered = await record(store, before, with_history(before.journal).abandon())
    head = remembered.journal.head
    assert head is not None
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT xmin, * FROM direct_version ORDER BY seq")
    again = document(head.content())
    after = await record(store, remembered, remembered.journal.seen(again, 9.0, Source.READ))
    assert after.revision == remembered.revision
    async with database.connection() as connection:
        assert await connection.fetch("SELECT xmin, * FROM direct_version ORDER BY seq") == rows


async def test_peace_is_made_at_once_and_for_every_process(store: JournalStore) -> None:
    before = await store.claim(OWNER)
    fought = replace(
        with_history(before.journal), struggles=MappingProxyType({"!room": Struggle(60, 3.0)})
    )
    remembered = await record(store, before, fought)
    await store.at_peace(OWNER)
    with pytest.raises(Busy):
        await record(store, remembered, fought)
    assert (await store.claim(OWNER)).journal.struggles == {}


async def test_memory_of_journals_is_bounded(
    store: JournalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHED", 3)
    for number in range(5):
        await store.claim(UserId(f"@user{number}:example.org"))
    assert len(store._cache) == 3
