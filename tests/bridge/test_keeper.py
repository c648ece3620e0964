"""The keeper: few writes, each based on what was read right before it; nothing of anybody's lost."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from dm_bridge.bridge import keeper as module
from dm_bridge.bridge import keeper_work
from dm_bridge.bridge.keeper_work import HASTY, MANY
from dm_bridge.direct import Bounds, DMState, Source
from dm_bridge.errors import HomeserverError
from dm_bridge.ids import RoomId, UserId
from dm_bridge.store import journals
from dm_bridge.store.database import Database
from tests.store.stored import run_out

from .kept import GHOST, NURSE, OUTSIDER, ROOM, SECOND, THIRD, USER, Homeserver, Kept, busy


@pytest_asyncio.fixture
async def kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    hurry(monkeypatch)
    kept = Kept(database)
    yield kept
    await kept.keeper.stop()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GAP", 0.005)
    monkeypatch.setattr(module, "LONGEST_GAP", 0.05)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(keeper_work, "quiet", lambda writes: 0.02)


# -- marking


async def test_a_managed_room_is_marked_read_again_and_settled(kept: Kept) -> None:
    await kept.manage(ROOM)
    await kept.keep()
    assert kept.document() == {GHOST: [ROOM]}
    assert kept.exchange() == ["GET", "GET", "PUT", "GET"]
    assert await kept.store.unsettled() == []
    await kept.keep()
    assert kept.exchange() == ["GET", "GET", "PUT", "GET", "GET"]


async def test_what_others_wrote_stays(kept: Kept) -> None:
    kept.homeserver.documents[USER] = b'{"@nurse:x": ["!a", "!a"], "odd": [1.50, null], "e": []}'
    await kept.manage(ROOM)
    await kept.keep()
    assert kept.document() == {
        "@nurse:x": ["!a", "!a"], "odd": [1.5, None], "e": [], GHOST: [ROOM],
    }  # fmt: skip


async def test_the_ghosts_own_document_is_kept_with_the_ghosts_own_access(kept: Kept) -> None:
    await kept.store.manage(GHOST, ROOM, USER, DMState.ACTIVE)
    await kept.keep(GHOST)
    assert kept.document(GHOST) == {USER: [ROOM]}
    assert await kept.store.unsettled() == []
    await kept.keep(GHOST)
    assert kept.puts == 1


async def test_touches_at_the_same_moment_are_one_write(kept: Kept) -> None:
    await kept.manage(*(RoomId(f"!room{number}") for number in range(100)))
    for _ in range(1000):
        kept.keeper.touch(USER)
    await kept.settled()
    assert kept.exchange() == ["GET", "GET", "PUT", "GET"]


async def test_a_retired_room_loses_its_mark_and_is_forgotten(kept: Kept) -> None:
    kept.write({GHOST: [ROOM, "!other"]})
    await kept.store.manage(USER, ROOM, GHOST, DMState.RETIRED)
    await kept.keep()
    assert kept.document() == {GHOST: ["!other"]}
    assert await kept.store.managed(USER) == []
    assert not kept.keeper.keeps(USER)


async def test_a_chat_that_comes_back_is_as_the_user_had_decided(kept: Kept) -> None:
    await kept.manage(ROOM, SECOND)
    await kept.keep()
    kept.write({GHOST: [SECOND]})
    await kept.keep()
    for room in (ROOM, SECOND):
        await kept.store.set_state(room, DMState.RETIRED)
    await kept.keep()
    assert kept.document() == {}
    await kept.manage(ROOM, SECOND)
    await kept.keep()
    assert kept.document() == {GHOST: [SECOND]}
    assert await kept.opted_out() == {ROOM}


async def test_an_account_is_kept_while_something_is_managed_for_it(kept: Kept) -> None:
    assert not kept.keeper.keeps(USER)
    await kept.manage(ROOM)
    await kept.keep()
    assert kept.keeper.keeps(USER)
    await kept.store.forget(ROOM)
    await kept.keep()
    assert not kept.keeper.keeps(USER)
    await kept.manage(SECOND)
    await kept.keep()
    assert kept.keeper.keeps(USER)


# -- few writes


async def test_what_is_held_back_is_one_write_afterwards(kept: Kept) -> None:
    with kept.keeper.holding(USER):
        for room in (ROOM, SECOND, THIRD):
            await kept.manage(room)
            kept.keeper.touch(USER)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(30):
            await kept.keeper.settled(USER, within=60)  # nobody waits for what is held back
        assert kept.puts == 0
    await kept.settled()
    assert kept.puts == 1
    assert kept.document() == {GHOST: [ROOM, SECOND, THIRD]}


async def test_nothing_is_held_back_for_ever(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD", 0.02)
    with kept.keeper.holding(USER):
        await kept.manage(ROOM)
        kept.keeper.touch(USER)
        await kept.settled()
        assert kept.puts == 1


async def test_touches_that_keep_coming_are_a_handful_of_writes(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    began = asyncio.get_running_loop().time()
    for number in range(300):
        await kept.store.manage(USER, RoomId(f"!room{number}"), GHOST, DMState.ACTIVE)
        kept.keeper.touch(USER)
        await asyncio.sleep(0.005)
    await kept.settled()
    assert len(kept.document()[GHOST]) == 300
    took = asyncio.get_running_loop().time() - began
    assert kept.puts <= 3 + took / keeper_work.patience(1)


def test_a_thousand_chats_that_come_in_six_minutes_are_five_writes() -> None:
    at = writes = 0
    while at < 400:
        writes += 1
        at += int(keeper_work.patience(writes))
    assert writes <= 4, "and one more when the last has come"
    assert keeper_work.quiet(100) <= 4, "no first message waits for long"


async def test_whoever_asks_does_not_wait_for_touches_to_pause(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_work, "quiet", lambda writes: 30.0)
    await kept.manage(ROOM)
    await kept.keep()
    await kept.manage(SECOND)
    kept.keeper.touch(USER)
    await asyncio.sleep(0.05)
    assert kept.puts == 1
    kept.keeper.urge(USER)
    await kept.settled()
    assert kept.document() == {GHOST: [ROOM, SECOND]}


@pytest.mark.parametrize("already", [0.0, 0.05])
async def test_when_no_more_are_coming_the_last_write_does_not_wait(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, already: float
) -> None:
    monkeypatch.setattr(keeper_work, "quiet", lambda writes: 30.0)
    await kept.manage(ROOM)
    await kept.keep()
    await kept.manage(SECOND)
    kept.keeper.touch(USER)
    if already:
        await asyncio.sleep(already)
        assert kept.puts == 1
    kept.keeper.hasten(USER)
    await kept.settled()
    assert kept.document() == {GHOST: [ROOM, SECOND]}


async def test_after_several_writes_of_late_none_is_hastened(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_work, "quiet", lambda writes: 0.3 if writes == HASTY else 30.0)
    loop = asyncio.get_running_loop()
    waited = []
    for number in range(HASTY + 1):
        await kept.store.manage(USER, RoomId(f"!room{number}"), GHOST, DMState.ACTIVE)
        begin = loop.time()
        kept.keeper.touch(USER)
        kept.keeper.hasten(USER)
        await kept.settled()
        waited.append(loop.time() - begin)
    assert max(waited[:-1]) < 30.0
    assert waited[-1] >= 0.3
    monkeypatch.setattr(keeper_work, "quiet", lambda writes: 30.0)
    for number in range(MANY):
        await kept.store.manage(USER, RoomId(f"!more{number}"), GHOST, DMState.ACTIVE)
        kept.keeper.touch(USER)
    kept.keeper.hasten(USER)
    await kept.settled()
    assert len(kept.document()[GHOST]) == HASTY + 1 + MANY


async def test_an_account_at_rest_is_never_written_and_its_journal_does_not_move(
    kept: Kept,
) -> None:
    await kept.manage(ROOM)
    await kept.keep()
    before = await kept.journals.claim(USER)
    for n in range(50):
        kept.homeserver.documents[USER] = json.dumps({GHOST: [ROOM] * (n % 3 + 1)}).encode()
        kept.keeper.look(USER, Source.SWEEP)
        await kept.settled()
    assert kept.puts == 1
    after = await kept.journals.claim(USER)
    assert after.journal.versions == before.journal.versions
    assert (await kept.journals.seen(USER)).source == "sweep"


async def test_a_look_at_an_unchanged_document_changes_nothing_in_the_database(kept: Kept) -> None:
    await kept.manage(ROOM)
    await kept.keep()
    before = await kept.journals.claim(USER)
    kept.keeper.look(USER, Source.SWEEP)
    await kept.settled()
    assert (await kept.journals.claim(USER)).revision == before.revision


# -- reading before writing


async def test_every_write_follows_a_read_of_its_own(kept: Kept) -> None:
    await kept.manage(ROOM)
    intruder = iter([b'{"@x:y": ["!1"]}', b'{"@x:y": ["!2"]}'])

    async def write_in_between(method: str, user: UserId) -> None:
        if method == "GET" and "PUT" in kept.exchange():
            kept.homeserver.documents[USER] = next(intruder, kept.homeserver.documents[USER])

    kept.homeserver.before = write_in_between
    await kept.keep()
    assert kept.document()[GHOST] == [ROOM]
    exchange = kept.exchange()
    assert all(before == "GET" for before, after in itertools.pairwise(exchange) if after == "PUT")
    assert exchange[-1] == "GET"


async def test_what_is_written_while_we_decide_is_not_overwritten(kept: Kept) -> None:
    """A decision takes its time: it has to be recorded before it is carried out."""
    await kept.manage(ROOM)
    record = kept.journals.record

    async def slowly(*args: object, **kwargs: object) -> object:
        if not kept.puts:
            kept.write({"@friend:x": ["!meanwhile"]})
        return await record(*args, **kwargs)  # type: ignore[arg-type]

    kept.journals.record = slowly  # type: ignore[method-assign, assignment]
    await kept.keep()
    assert kept.document() == {"@friend:x": ["!meanwhile"], GHOST: [ROOM]}
    assert kept.puts == 1


async def test_what_was_only_going_to_be_written_is_no_version_that_anybody_edited(
    kept: Kept,
) -> None:
    """While it is decided that one mark goes and another comes, the user takes the first one away."""
    kept.write({"@friend:x": ["!theirs"]})
    await kept.manage(ROOM)
    await kept.keep()
    await kept.store.set_state(ROOM, DMState.RETIRED)
    await kept.manage(SECOND)
    record, meanwhile = kept.journals.record, kept.puts

    async def slowly(*args: object, **kwargs: object) -> object:
        if kept.puts == meanwhile:
            kept.write({"@friend:x": ["!theirs"]})
        return await record(*args, **kwargs)  # type: ignore[arg-type]

    kept.journals.record = slowly  # type: ignore[method-assign, assignment]
    await kept.keep()
    assert kept.document() == {"@friend:x": ["!theirs"], GHOST: [SECOND]}
    assert await kept.opted_out() == set()


@pytest.mark.parametrize(
    "error",
    [
        busy(),
        HomeserverError("no answer", certain=False, retry_after=1.0),
        HomeserverError("a proxy's HTML page", status=404),
        HomeserverError("no", status=403, errcode="M_FORBIDDEN"),
        HomeserverError("too large", status=413),
        HomeserverError("slower", status=429, errcode="M_LIMIT_EXCEEDED", retry_after=0.01),
    ],
    ids=["502", "timeout", "404 without M_NOT_FOUND", "403", "413", "429"],
)
async def test_nothing_is_written_after_a_read_that_failed(
    kept: Kept, error: HomeserverError
) -> None:
    error.retry_after = error.retry_after and 0.01
    await kept.manage(ROOM)
    kept.homeserver.refuses["GET"] = error
    kept.keeper.touch(USER)
    async with asyncio.timeout(60):
        while len(kept.exchange()) < 5:  # noqa: ASYNC110 - it keeps trying
            await asyncio.sleep(0.01)
    assert set(kept.exchange()) == {"GET"}
    assert await kept.store.unsettled() == [USER]
    assert (await kept.journals.seen(USER)).refused == str(error)
    del kept.homeserver.refuses["GET"]
    await kept.settled()
    assert kept.document() == {GHOST: [ROOM]}
    assert (await kept.journals.seen(USER)).refused == ""


async def test_nothing_is_written_when_the_second_read_fails(kept: Kept) -> None:
    await kept.manage(ROOM)
    reads = 0

    async def fail(method: str, user: UserId) -> None:
        nonlocal reads
        reads += method == "GET"
        if reads == 2 and method == "GET":
            assert kept.puts == 0
            raise busy()

    kept.homeserver.before = fail
    await kept.keep()
    assert kept.exchange() == ["GET", "GET", "GET", "PUT", "GET"]
    assert kept.document() == {GHOST: [ROOM]}
    assert (await strengths(kept)) == {}


# -- writes that fail


async def strengths(kept: Kept) -> dict[str, int]:
    journal = await kept.journals.read(USER)
    return {what: struggle.times for what, struggle in journal.struggles.items()}


async def fail_writes(kept: Kept, number: int, error: HomeserverError, *, accepted: bool) -> None:
    """Make the next writes fail, though they may have been ``accepted``."""
    failed = 0

    async def fail(method: str, user: UserId) -> None:
        nonlocal failed
        if method == "PUT" and failed < number:
            failed += 1
            raise error

    setattr(kept.homeserver, "after" if accepted else "before", fail)


async def test_a_write_that_failed_is_based_on_a_new_read_when_it_is_tried_again(
    kept: Kept,
) -> None:
    await kept.manage(ROOM)
    failed = False

    async def fail_first_write(method: str, user: UserId) -> None:
        nonlocal failed
        if method == "PUT" and not failed:
            failed = True
            kept.write({"@x:y": ["!meanwhile"]})
            raise busy()

    kept.homeserver.before = fail_first_write
    await kept.keep()
    assert kept.document() == {"@x:y": ["!meanwhile"], GHOST: [ROOM]}


@pytest.mark.parametrize("accepted", [True, False])
async def test_writes_whose_fate_is_unknown_are_neither_decisions_nor_struggles(
    kept: Kept, accepted: bool
) -> None:
    kept.write({"@friend:x": ["!theirs"]})
    await kept.manage(ROOM)
    await fail_writes(kept, 8, busy(), accepted=accepted)
    await kept.keep()
    assert kept.document() == {"@friend:x": ["!theirs"], GHOST: [ROOM]}
    assert await kept.opted_out() == set()
    assert await strengths(kept) == {}
    assert kept.puts == 1, "those that had no effect are not counted here"


async def test_a_write_that_takes_effect_late_is_neither_a_decision_nor_a_struggle(
    kept: Kept,
) -> None:
    """The answer was lost, a read showed the old version, and only then did the write take effect."""
    kept.write({"@friend:x": ["!theirs"]})
    await kept.manage(ROOM, SECOND)
    late: list[bytes] = []

    async def keep_back(method: str, user: UserId) -> None:
        if method == "PUT" and not late:
            late.append(json.dumps({"@friend:x": ["!theirs"], GHOST: [ROOM, SECOND]}).encode())
            raise busy()
        if method == "GET" and late and kept.puts == 0 and len(kept.exchange()) == 4:
            kept.homeserver.documents[USER] = late[0]

    kept.homeserver.before = keep_back
    await kept.keep()
    assert kept.document() == {"@friend:x": ["!theirs"], GHOST: [ROOM, SECOND]}
    assert await kept.opted_out() == set()
    assert await strengths(kept) == {}


@pytest.mark.parametrize(
    "error",
    [
        HomeserverError("refused", status=403, errcode="M_FORBIDDEN"),
        HomeserverError("slower", status=429, errcode="M_LIMIT_EXCEEDED", retry_after=0.0),
    ],
    ids=["403", "429"],
)
async def test_a_write_that_surely_failed_leaves_no_trace(
    kept: Kept, error: HomeserverError
) -> None:
    kept.write({"@friend:x": ["!theirs"]})
    await kept.manage(ROOM)
    await fail_writes(kept, 6, error, accepted=False)
    await kept.keep()
    assert kept.document() == {"@friend:x": ["!theirs"], GHOST: [ROOM]}
    journal = await kept.journals.read(USER)
    assert [version.source for version in journal.versions] == [Source.READ, Source.WRITTEN]
    assert (await strengths(kept), await kept.opted_out()) == ({}, set())


@pytest.mark.parametrize("another", [{}, {"@late:x": ["!late"]}], ids=["again", "and another"])
async def test_what_an_old_copy_lost_comes_back_though_the_first_write_surely_failed(
    kept: Kept, another: dict[str, list[str]]
) -> None:
    old = {"@friend:x": ["!theirs"]}
    kept.write(old)
    await kept.manage(ROOM)
    await kept.keep()
    kept.write({**kept.document(), "@other:x": ["!other"]})
    await kept.keep()
    stale = {**old, "@new:x": ["!new"]}
    kept.write(stale)
    failed = False

    async def fail(method: str, user: UserId) -> None:
        nonlocal failed
        if method == "PUT" and not failed:
            failed = True
            kept.write({**stale, **another})
            raise HomeserverError("slower", status=429, errcode="M_LIMIT_EXCEEDED", retry_after=0.0)

    kept.homeserver.before = fail
    await kept.keep()
    assert failed
    assert kept.document() == {**stale, **another, "@other:x": ["!other"], GHOST: [ROOM]}
    assert (await strengths(kept), await kept.opted_out()) == ({}, set())


async def test_a_document_too_large_to_write_is_told_and_not_tried_in_a_loop(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 300.0)
    kept.write({"@friend:x": ["!theirs"]})
    await kept.manage(ROOM)
    kept.homeserver.refuses["PUT"] = HomeserverError("too big", status=413, errcode="M_TOO_LARGE")
    kept.keeper.touch(USER)
    async with asyncio.timeout(60):
        while not (problem := (await kept.journals.seen(USER)).refused):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    assert kept.puts == 1
    assert "more than the homeserver accepts" in problem
    assert "admin" in problem
    assert kept.document() == {"@friend:x": ["!theirs"]}
    del kept.homeserver.refuses["PUT"]
    kept.keeper.urge(USER)
    await kept.settled()
    assert kept.document() == {"@friend:x": ["!theirs"], GHOST: [ROOM]}
    assert (await kept.journals.seen(USER)).refused == ""


async def test_a_homeserver_whose_reads_lag_behind_its_writes_makes_no_decision(
    kept: Kept,
) -> None:
    """With workers, a read may be answered by one that has not heard of the write yet."""
    await kept.manage(ROOM)
    lagging = 0

    async def lag(method: str, user: UserId) -> None:
        nonlocal lagging
        if method == "PUT" and not lagging:
            lagging = 1
        elif method == "GET" and lagging == 1:
            lagging = 2
            current = kept.homeserver.documents.pop(USER)
            asyncio.get_running_loop().call_later(
                0.01, kept.homeserver.documents.__setitem__, USER, current
            )

    kept.homeserver.before = lag
    await kept.keep()
    await asyncio.sleep(0.03)
    await kept.keep()
    assert kept.document() == {GHOST: [ROOM]}
    assert await kept.opted_out() == set()


@pytest.mark.parametrize("content", [b"[]", b"null", b'"x"', b'{"a": 1, "a": 2}', b'{"a": 1e999}'])
async def test_what_could_not_be_written_back_is_never_touched(kept: Kept, content: bytes) -> None:
    kept.homeserver.documents[USER] = content
    await kept.manage(ROOM)
    await kept.keep()
    assert kept.exchange() == ["GET"]
    assert kept.homeserver.documents[USER] == content
    assert await kept.store.unsettled() == [USER]
    assert "left as they are" in (await kept.journals.seen(USER)).refused
    kept.write({})
    await kept.keep()
    assert kept.document() == {GHOST: [ROOM]}
    assert (await kept.journals.seen(USER)).refused == ""


# -- other writers


async def test_a_stale_write_is_merged(kept: Kept) -> None:
    old = {"@friend:x": ["!a"]}
    kept.write(old)
    await kept.manage(ROOM)
    await kept.keep()
    kept.write({**kept.document(), "@friend:x": ["!a", "!b"]})
    await kept.keep()
    kept.write({**old, "@other:x": ["!c"]})
    await kept.keep()
    assert kept.document() == {"@friend:x": ["!a", "!b"], "@other:x": ["!c"], GHOST: [ROOM]}
    assert await kept.opted_out() == set()


async def test_a_room_that_others_keep_moving_is_given_up_and_stays_unsettled(kept: Kept) -> None:
    await kept.manage(ROOM)
    fights = 0

    async def move(method: str, user: UserId) -> None:
        nonlocal fights
        if method == "PUT":
            fights += 1
            kept.write({"@bot:example.org": [ROOM]})

    kept.homeserver.after = move
    await kept.keep()
    assert 3 <= fights <= 7
    assert (await strengths(kept))[ROOM] >= 5
    assert await kept.store.unsettled() == [USER]
    assert await kept.opted_out() == set()
    fought = kept.puts
    await kept.keep()
    assert kept.puts == fought
    other = Kept(kept.database, kept.homeserver)
    await other.keep()
    assert kept.puts == fought, "another process knows of it"
    kept.homeserver.after = None
    await kept.journals.at_peace(USER)
    await kept.keep()
    assert kept.document() == {GHOST: [ROOM]}
    assert await kept.store.unsettled() == []


async def test_a_retired_room_that_is_fought_over_is_not_forgotten_while_it_is_marked(
    kept: Kept,
) -> None:
    await kept.manage(ROOM)
    await kept.keep()
    await kept.store.set_state(ROOM, DMState.RETIRED)

    async def put_back(method: str, user: UserId) -> None:
        if method == "PUT":
            kept.write({GHOST: [ROOM]})

    kept.homeserver.after = put_back
    await kept.keep()
    assert kept.document() == {GHOST: [ROOM]}
    assert [dm.state for dm in await kept.store.managed(USER)] == [DMState.RETIRED]


# -- versions that come by themselves


@pytest_asyncio.fixture
async def known(kept: Kept) -> Kept:
    """Three rooms are marked, a friend's is there, and the journal knows some history."""
    kept.write({"@friend:x": ["!a"]})
    await kept.manage(ROOM, SECOND, THIRD)
    await kept.keep()
    kept.write({**kept.document(), "@friend:x": ["!a", "!b", "!c", "!d"]})
    await kept.keep()
    kept.homeserver.calls.clear()
    return kept


async def test_our_own_echo_costs_no_request(known: Kept) -> None:
    for _ in range(3):
        known.keeper.saw(USER, known.homeserver.documents[USER], Source.PUSHED)
    await known.settled()
    assert known.exchange() == []


async def test_a_version_that_came_by_itself_is_a_decision_of_the_user(known: Kept) -> None:
    content = known.document()
    known.keeper.saw(USER, known.write({**content, GHOST: [SECOND, THIRD]}), Source.PUSHED)
    await known.settled()
    assert known.exchange() == ["GET"]
    assert await known.opted_out() == {ROOM}
    assert Source.PUSHED in {v.source for v in (await known.journals.read(USER)).versions}


async def test_versions_that_came_by_themselves_are_judged_in_order(known: Kept) -> None:
    """A true edit, and a stale overwrite that undid it: only who saw both can put it back."""
    content = known.document()
    edit = known.write({**content, "@new:x": ["!new"]})
    overwrite = known.write({**content, GHOST: [SECOND, THIRD]})
    known.keeper.saw(USER, edit, Source.PUSHED)
    known.keeper.saw(USER, overwrite, Source.PUSHED)
    await known.settled()
    assert known.document() == {**content, "@new:x": ["!new"], GHOST: [SECOND, THIRD]}
    assert await known.opted_out() == {ROOM}


LATE: dict[str, Callable[[dict[str, list[str]]], object]] = {
    "a version of old": lambda content: {"@friend:x": ["!a"]},
    "one before our write": lambda content: {**content, "@friend:x": ["!a"]},
    "never seen, a chat missing": lambda content: {**content, GHOST: [SECOND, THIRD]},
    "never seen, much missing": lambda content: {GHOST: [ROOM]},
    "no document": lambda content: [],
}


@pytest.mark.parametrize("version", LATE.values(), ids=LATE)
async def test_a_version_that_comes_late_does_no_harm(
    known: Kept, version: Callable[[dict[str, list[str]]], object]
) -> None:
    content = known.document()
    before = await known.journals.read(USER)
    known.keeper.saw(USER, json.dumps(version(content)).encode(), Source.PUSHED)
    await known.settled()
    assert known.exchange() == ["GET"]
    assert known.document() == content
    assert await known.opted_out() == set()
    after = await known.journals.read(USER)
    assert after.versions == before.versions
    assert (await known.journals.seen(USER)).refused == ""


async def test_a_version_that_arrives_while_a_newer_one_is_read_does_no_harm(known: Kept) -> None:
    content = known.document()
    old = json.dumps({**content, GHOST: [ROOM], "@late:x": ["!late"]}).encode()
    newer = {**content, "@friend:x": ["!a", "!b", "!c", "!d", "!e"]}

    async def arrive(method: str, user: UserId) -> None:
        if method == "GET" and known.exchange() == ["GET"]:
            known.keeper.saw(USER, old, Source.PUSHED)
            known.keeper.saw(USER, known.homeserver.documents[USER], Source.PUSHED)

    known.homeserver.after = arrive
    known.write(newer)
    known.keeper.look(USER, Source.SWEEP)
    await known.settled()
    assert known.document() == newer
    assert await known.opted_out() == set()
    assert known.puts == 0


async def test_history_that_is_played_again_before_a_true_edit_does_no_harm(known: Kept) -> None:
    """Synapse answers a /sync that was asked before from a cache, for two minutes."""
    content = known.document()
    for version in ({"@friend:x": ["!a"]}, {**content, "@friend:x": ["!a"]}, content):
        known.keeper.saw(USER, json.dumps(version).encode(), Source.WATCHED)
    edited = {**content, GHOST: [SECOND, THIRD], "@new:x": ["!new"]}
    known.keeper.saw(USER, known.write(edited), Source.WATCHED)
    await known.settled()
    assert known.document() == edited
    assert await known.opted_out() == {ROOM}
    assert await strengths(known) == {}


async def test_versions_that_came_by_themselves_are_no_reads_of_ours(known: Kept) -> None:
    before = known.keeper.last_seen(USER)
    known.keeper.saw(USER, known.homeserver.documents[USER], Source.PUSHED)
    await known.settled()
    assert known.keeper.last_seen(USER) == before


async def test_versions_that_arrived_outlive_a_homeserver_that_is_away(known: Kept) -> None:
    content = known.document()
    edit = known.write({**content, "@new:x": ["!new"]})
    overwrite = known.write({**content, GHOST: [SECOND, THIRD]})
    known.homeserver.refuses["GET"] = busy()
    for version in (edit, overwrite):
        known.keeper.saw(USER, version, Source.PUSHED)
    async with asyncio.timeout(60):
        while len(known.exchange()) < 3:  # noqa: ASYNC110 - it keeps trying
            await asyncio.sleep(0.01)
    del known.homeserver.refuses["GET"]
    await known.settled()
    assert known.document() == {**content, "@new:x": ["!new"], GHOST: [SECOND, THIRD]}


async def test_what_comes_for_an_account_that_is_not_kept_is_not_even_looked_at(kept: Kept) -> None:
    kept.keeper.saw(USER, b"{}", Source.PUSHED)
    await kept.settled()
    assert kept.exchange() == []


# -- access


async def test_without_access_nothing_is_asked_and_the_work_waits_until_it_comes(
    kept: Kept,
) -> None:
    await kept.store.manage(OUTSIDER, ROOM, GHOST, DMState.ACTIVE)
    await kept.keep(OUTSIDER)
    assert kept.homeserver.calls == []
    assert await kept.store.unsettled() == [OUTSIDER]
    kept.allowed.add(OUTSIDER)
    await kept.keep(OUTSIDER)
    assert kept.document(OUTSIDER) == {GHOST: [ROOM]}
    assert await kept.store.unsettled() == []


async def test_what_an_earlier_run_left_is_taken_up(kept: Kept) -> None:
    await kept.manage(ROOM)
    await kept.store.manage(GHOST, ROOM, USER, DMState.ACTIVE)
    await kept.keeper.resume()
    await kept.settled(USER, GHOST)
    assert kept.document() == {GHOST: [ROOM]}
    assert kept.document(GHOST) == {USER: [ROOM]}


# -- tasks


async def test_one_account_in_trouble_delays_no_other(kept: Kept) -> None:
    await kept.manage(ROOM)
    await kept.store.manage(GHOST, ROOM, USER, DMState.ACTIVE)

    async def hang(method: str, user: UserId) -> None:
        if user == USER:
            await asyncio.Event().wait()

    kept.homeserver.before = hang
    kept.keeper.touch(USER)
    await kept.keep(GHOST)
    assert kept.document(GHOST) == {USER: [ROOM]}


async def test_a_touch_while_the_lease_is_given_back_is_dealt_with(kept: Kept) -> None:
    await kept.manage(ROOM)
    release = kept.journals.release
    touched = False

    async def touch_meanwhile(account: UserId) -> None:
        nonlocal touched
        if not touched:
            touched = True
            await kept.manage(SECOND)
            kept.keeper.touch(USER)
        await release(account)

    kept.journals.release = touch_meanwhile  # type: ignore[method-assign]
    await kept.keep()
    assert kept.document() == {GHOST: [ROOM, SECOND]}


async def test_stopping_leaves_no_task_behind_and_no_lease(kept: Kept) -> None:
    await kept.manage(ROOM)
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
    kept.homeserver.before = None
    other = Kept(kept.database, kept.homeserver)
    await other.keep()
    assert other.document() == {GHOST: [ROOM]}


# -- several processes, and their deaths


class Cut:
    """Lets a homeserver hang at the n-th request of a kind, before or after it took effect."""

    def __init__(self, kept: Kept, method: str, number: int, *, after: bool) -> None:
        self.reached = asyncio.Event()
        self._kept = kept
        self._what = (method, number)
        setattr(kept.homeserver, "after" if after else "before", self._hook)
        self._seen = 0

    async def _hook(self, method: str, user: UserId) -> None:
        if method == self._what[0] and user == USER:
            self._seen += 1
            if self._seen == self._what[1]:
                self.reached.set()
                await asyncio.Event().wait()


CUTS = {
    "before anything is recorded": ("GET", 1, True),
    "recorded, before the second read": ("GET", 2, False),
    "recorded, before the write": ("PUT", 1, False),
    "written, before the answer": ("PUT", 1, True),
    "answered, before it is read again": ("GET", 3, False),
    "read again": ("GET", 3, True),
}


async def nothing(kept: Kept) -> None: ...


async def user_unmarks_another(kept: Kept) -> None:
    content = kept.document()
    kept.write({**content, NURSE: [room for room in content[NURSE] if room != SECOND]})


async def friend_is_added(kept: Kept) -> None:
    kept.write({**kept.document(), "@new:x": ["!new"]})


async def stale_client_adds(kept: Kept) -> None:
    kept.write({"@friend:x": ["!theirs"], NURSE: [SECOND, THIRD], "@new:x": ["!new"]})


MEANWHILE: dict[str, Callable[[Kept], Awaitable[None]]] = {
    "nothing": nothing,
    "the user unmarks": user_unmarks_another,
    "a friend": friend_is_added,
    "a stale client": stale_client_adds,
}


@pytest.mark.parametrize("meanwhile", MEANWHILE.values(), ids=MEANWHILE)
@pytest.mark.parametrize(("method", "number", "after"), CUTS.values(), ids=CUTS)
async def test_a_bridge_that_dies_anywhere_loses_nothing_of_anybodys(
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    number: int,
    after: bool,
    meanwhile: Callable[[Kept], Awaitable[None]],
) -> None:
    monkeypatch.setattr(journals, "LEASE", 0.2)
    kept.write({"@friend:x": ["!theirs"]})
    await kept.manage(SECOND, THIRD, ghost=NURSE)
    await kept.keep()
    await kept.manage(ROOM)
    cut = Cut(kept, method, number, after=after)
    kept.keeper.touch(USER)
    async with asyncio.timeout(60):
        await cut.reached.wait()
    await kept.die()
    kept.homeserver.before = kept.homeserver.after = None
    await meanwhile(kept)
    after_death = Kept(kept.database, kept.homeserver)
    await after_death.keeper.resume()
    await after_death.keep()
    unmarked = meanwhile is user_unmarks_another
    expected = {
        "@friend:x": ["!theirs"],
        NURSE: [THIRD] if unmarked else [SECOND, THIRD],
        GHOST: [ROOM],
    }
    if meanwhile in (friend_is_added, stale_client_adds):
        expected["@new:x"] = ["!new"]
    found = {key: sorted(rooms) for key, rooms in after_death.document().items()}
    assert found == expected
    assert await after_death.opted_out() == ({SECOND} if unmarked else set())
    assert all(strength <= 2 for strength in (await strengths(after_death)).values())
    await after_death.keeper.stop()


async def test_what_the_user_unmarks_after_a_bridge_died_right_after_writing_it_stays_unmarked(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "LEASE", 0.2)
    kept.write({"@friend:x": ["!theirs"]})
    await kept.manage(ROOM)
    cut = Cut(kept, "GET", 3, after=False)
    kept.keeper.touch(USER)
    await cut.reached.wait()
    await kept.die()
    kept.homeserver.before = None
    assert kept.document() == {"@friend:x": ["!theirs"], GHOST: [ROOM]}
    kept.write({"@friend:x": ["!theirs"]})
    after_death = Kept(kept.database, kept.homeserver)
    await after_death.keep()
    assert after_death.document() == {"@friend:x": ["!theirs"]}
    assert await after_death.opted_out() == {ROOM}
    await after_death.keeper.stop()


async def test_deaths_again_and_again_between_record_and_write_are_no_struggle(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "LEASE", 0.05)
    await kept.manage(ROOM)
    for _ in range(7):
        mortal = Kept(kept.database, kept.homeserver)
        cut = Cut(mortal, "PUT", 1, after=False)
        mortal.keeper.touch(USER)
        async with asyncio.timeout(60):
            await cut.reached.wait()
        await mortal.die()
    kept.homeserver.before = None
    await kept.keep()
    assert kept.document() == {GHOST: [ROOM]}
    assert await strengths(kept) == {}


async def test_two_processes_never_write_from_the_same_version(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Kept(kept.database, Homeserver())
    other.homeserver.documents = kept.homeserver.documents
    asked: list[tuple[str, str]] = []

    def listen(name: str, homeserver: Homeserver) -> None:
        async def note(method: str, user: UserId) -> None:
            await asyncio.sleep(0.002)
            asked.append((name, method))

        homeserver.before = note

    listen("one", kept.homeserver)
    listen("two", other.homeserver)
    kept.write({"@friend:x": ["!theirs"]})
    rooms = [RoomId(f"!room{number}") for number in range(8)]
    for number in range(0, 8, 2):
        first, second = (kept, other) if number % 4 else (other, kept)
        await kept.manage(rooms[number])
        first.keeper.touch(USER)
        await asyncio.sleep(0.01)
        await kept.manage(rooms[number + 1])
        second.keeper.touch(USER)
        await asyncio.gather(kept.settled(), other.settled())
    found = kept.document()
    assert found == {"@friend:x": ["!theirs"], GHOST: found[GHOST]}
    assert sorted(found[GHOST]) == sorted(rooms)
    assert {name for name, method in asked if method == "PUT"} == {"one", "two"}
    for (name, _), (writer, method) in itertools.pairwise(asked):
        if method == "PUT":
            assert name == writer, "somebody else read between a read and its write"
    assert await kept.opted_out() == set()
    assert await strengths(kept) == {}
    await other.keeper.stop()


async def test_a_writer_that_died_is_followed_when_its_lease_has_run_out(
    kept: Kept,
) -> None:
    await kept.manage(ROOM)
    cut = Cut(kept, "PUT", 1, after=False)
    kept.keeper.touch(USER)
    await cut.reached.wait()
    await kept.die()
    kept.homeserver.before = None
    other = Kept(kept.database, kept.homeserver)
    other.keeper.touch(USER)
    await other.keeper.settled(USER, within=0.3)
    assert other.puts == 0
    await run_out(kept.database, USER)
    await other.settled()
    assert other.document() == {GHOST: [ROOM]}
    await other.keeper.stop()


# -- the journal


async def test_the_journal_is_bounded_and_still_tells_old_copies(kept: Kept) -> None:
    small = Kept(kept.database, kept.homeserver, Bounds(count=6))
    await small.manage(ROOM)
    await small.keep()
    for number in range(20):
        small.write({**small.document(), f"@friend{number}:x": ["!a"]})
        await small.keep()
    async with kept.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM direct_version") == 6
    fresh = Kept(kept.database, kept.homeserver, Bounds(count=6))
    content = fresh.document()
    stale = {key: value for key, value in content.items() if key not in ("@friend19:x", GHOST)}
    fresh.write({**stale, GHOST: [ROOM], "@new:x": ["!new"]})
    await fresh.keep()
    assert fresh.document() == {**content, "@new:x": ["!new"]}
    for one in (small, fresh):
        await one.keeper.stop()
