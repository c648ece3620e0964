"""The keeper: few writes, each based on what was read right before it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dm_bridge.bridge import keeper as module
from dm_bridge.bridge.keeper import Keeper
from dm_bridge.direct.ledger import DMState
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.matrix.accounts import Accounts
from dm_bridge.ops.metrics import Metrics
from dm_bridge.store.database import Database
from dm_bridge.store.direct import DirectStore

from .fakes import FakeHomeserver

USER = UserId("@juliet:example.org")
GHOST = UserId("@_ghost_romeo:example.org")
OUTSIDER = UserId("@nurse:example.org")
ROOM = RoomId("!room")


class Kept:
    """A keeper over a fake homeserver and a real store."""

    def __init__(self, database: Database) -> None:
        self.homeserver = FakeHomeserver()
        self.store = DirectStore(database)
        accounts = Accounts(self.homeserver, "example.org", lambda user: user == USER)  # type: ignore[arg-type]
        accounts.available = True
        self.accounts = accounts
        self.keeper = Keeper(
            self.homeserver,  # type: ignore[arg-type]
            accounts,
            self.store,
            lambda user: user.startswith("@_ghost_"),
            lambda account: [UserId("@bot:example.org")],
            Metrics(),
        )

    async def keep(self, *accounts: UserId) -> None:
        for account in accounts:
            self.keeper.touch(account)
        await self.keeper.settled(*accounts, within=10)

    def document(self, user: UserId = USER) -> object:
        return json.loads(self.homeserver.documents[user])

    def exchange(self) -> list[str]:
        return [verb for verb, _, _ in self.homeserver.verbs("GET", "PUT")]


@pytest_asyncio.fixture
async def kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    monkeypatch.setattr(module, "GAP", 0.01)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)
    kept = Kept(database)
    yield kept
    await kept.keeper.stop()


async def test_a_managed_room_is_marked_read_again_and_settled(kept: Kept) -> None:
    await kept.store.manage(USER, ROOM, GHOST, DMState.ACTIVE)
    await kept.keep(USER)
    assert kept.document() == {GHOST: [ROOM]}
    assert kept.exchange() == ["GET", "PUT", "GET"]
    assert await kept.store.unsettled() == []
    await kept.keep(USER)
    assert kept.exchange() == ["GET", "PUT", "GET", "GET"]


async def test_what_others_wrote_stays(kept: Kept) -> None:
    kept.homeserver.documents[USER] = b'{"@nurse:x": ["!a", "!a"], "odd": [1.50, null], "e": []}'
    await kept.store.manage(USER, ROOM, GHOST, DMState.ACTIVE)
    await kept.keep(USER)
    assert kept.document() == {
        "@nurse:x": ["!a", "!a"], "odd": [1.5, None], "e": [], GHOST: [ROOM],
    }  # fmt: skip


async def test_the_ghosts_own_document_is_kept_with_the_ghosts_own_access(kept: Kept) -> None:
    await kept.store.manage(GHOST, ROOM, USER, DMState.ACTIVE)
    await kept.keep(GHOST)
    assert kept.document(GHOST) == {USER: [ROOM]}


async def test_a_thousand_touches_are_a_handful_of_writes(kept: Kept) -> None:
    async def open_one(number: int) -> None:
        await kept.store.manage(USER, RoomId(f"!room{number}"), GHOST, DMState.ACTIVE)
        kept.keeper.touch(USER)

    for start in range(0, 1000, 50):
        await asyncio.gather(*(open_one(start + n) for n in range(50)))
    await kept.keeper.settled(USER, within=20)
    document = kept.document()
    assert isinstance(document, dict)
    assert len(document[GHOST]) == 1000
    assert kept.exchange().count("PUT") < 100


async def test_touches_at_the_same_moment_are_one_write(kept: Kept) -> None:
    for number in range(100):
        await kept.store.manage(USER, RoomId(f"!room{number}"), GHOST, DMState.ACTIVE)
    for _ in range(1000):
        kept.keeper.touch(USER)
    await kept.keeper.settled(USER, within=10)
    assert kept.exchange() == ["GET", "PUT", "GET"]


async def test_every_write_follows_a_read_of_its_own(kept: Kept) -> None:
    await kept.store.manage(USER, ROOM, GHOST, DMState.ACTIVE)
    intruder = iter([b'{"@x:y": ["!1"]}', b'{"@x:y": ["!2"]}'])

    async def write_in_between(method: str, user: UserId) -> None:
        if method == "GET" and "PUT" in kept.exchange():
            kept.homeserver.documents[USER] = next(intruder, kept.homeserver.documents[USER])

    kept.homeserver.before = write_in_between
    await kept.keep(USER)
    assert kept.document() == {"@x:y": ["!2"], GHOST: [ROOM]}
    exchange = kept.exchange()
    assert all(before == "GET" for before, after in itertools.pairwise(exchange) if after == "PUT")
    assert exchange[-1] == "GET"


async def test_a_room_that_others_keep_removing_is_given_up_and_stays_unsettled(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REVERSALS", 2)
    await kept.store.manage(USER, ROOM, GHOST, DMState.ACTIVE)

    async def wipe(method: str, user: UserId) -> None:
        if method == "GET":
            kept.homeserver.documents[USER] = b"{}"

    kept.homeserver.before = wipe
    await kept.keep(USER)
    assert kept.exchange().count("PUT") == 2 * module.ROUNDS
    assert await kept.store.unsettled() == [USER]


@pytest.mark.parametrize(
    "error",
    [
        HomeserverError("busy", status=502, retry_after=0.0, certain=False),
        HomeserverError("a proxy's", status=404),
        HomeserverError("no", status=403, errcode="M_FORBIDDEN"),
    ],
    ids=["502", "404 without M_NOT_FOUND", "403"],
)
async def test_nothing_is_written_after_a_read_that_failed(
    kept: Kept, error: HomeserverError
) -> None:
    await kept.store.manage(USER, ROOM, GHOST, DMState.ACTIVE)
    kept.homeserver.refuses["GET"] = error
    kept.keeper.touch(USER)
    async with asyncio.timeout(10):
        while len(kept.exchange()) < 5:  # noqa: ASYNC110 - it keeps trying
            await asyncio.sleep(0.01)
    assert set(kept.exchange()) == {"GET"}
    assert await kept.store.unsettled() == [USER]


async def test_a_write_that_failed_is_based_on_a_new_read_when_it_is_tried_again(
    kept: Kept,
) -> None:
    await kept.store.manage(USER, ROOM, GHOST, DMState.ACTIVE)
    failed = False

    async def fail_first_write(method: str, user: UserId) -> None:
        nonlocal failed
        if method == "PUT" and not failed:
            failed = True
            kept.homeserver.documents[USER] = b'{"@x:y": ["!meanwhile"]}'
            raise HomeserverError("busy", status=502, retry_after=0.0, certain=False)

    kept.homeserver.before = fail_first_write
    await kept.keep(USER)
    assert kept.document() == {"@x:y": ["!meanwhile"], GHOST: [ROOM]}


@pytest.mark.parametrize("content", [b"[]", b"null", b'"x"', b'{"a": 1, "a": 2}', b'{"a": 1e999}'])
async def test_what_could_not_be_written_back_is_never_touched(kept: Kept, content: bytes) -> None:
    kept.homeserver.documents[USER] = content
    await kept.store.manage(USER, ROOM, GHOST, DMState.ACTIVE)
    await kept.keep(USER)
    assert kept.exchange() == ["GET"]
    assert kept.homeserver.documents[USER] == content
    assert await kept.store.unsettled() == [USER]


async def test_without_access_nothing_is_asked_and_the_work_waits(kept: Kept) -> None:
    await kept.store.manage(OUTSIDER, ROOM, GHOST, DMState.ACTIVE)
    await kept.keep(OUTSIDER)
    assert kept.homeserver.calls == []
    assert await kept.store.unsettled() == [OUTSIDER]


async def test_what_an_earlier_run_left_is_taken_up(kept: Kept) -> None:
    await kept.store.manage(USER, ROOM, GHOST, DMState.ACTIVE)
    await kept.store.manage(GHOST, ROOM, USER, DMState.ACTIVE)
    await kept.keeper.resume()
    await kept.keeper.settled(USER, GHOST, within=10)
    assert kept.document() == {GHOST: [ROOM]}
    assert kept.document(GHOST) == {USER: [ROOM]}


async def test_a_retired_room_loses_its_mark_and_is_forgotten(kept: Kept) -> None:
    kept.homeserver.documents[USER] = json.dumps({GHOST: [ROOM, "!other"]}).encode()
    await kept.store.manage(USER, ROOM, GHOST, DMState.RETIRED)
    await kept.keep(USER)
    assert kept.document() == {GHOST: ["!other"]}
    assert await kept.store.managed(USER) == []


async def test_one_account_in_trouble_delays_no_other(kept: Kept) -> None:
    await kept.store.manage(USER, ROOM, GHOST, DMState.ACTIVE)
    await kept.store.manage(GHOST, ROOM, USER, DMState.ACTIVE)

    async def hang(method: str, user: UserId) -> None:
        if user == USER:
            await asyncio.Event().wait()

    kept.homeserver.before = hang
    kept.keeper.touch(USER)
    await kept.keep(GHOST)
    assert kept.document(GHOST) == {USER: [ROOM]}


async def test_stopping_leaves_no_task_behind_even_when_touched_meanwhile(kept: Kept) -> None:
    await kept.store.manage(USER, ROOM, GHOST, DMState.ACTIVE)
    hanging = asyncio.Event()

    async def hang(method: str, user: UserId) -> None:
        hanging.set()
        await asyncio.Event().wait()

    kept.homeserver.before = hang
    kept.keeper.touch(USER)
    await hanging.wait()
    kept.keeper.touch(USER)
    await kept.keeper.stop()
    kept.keeper.touch(USER)
    await asyncio.sleep(0.05)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("keeper: ")]
    assert await kept.store.unsettled() == [USER]
