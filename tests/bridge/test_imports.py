"""What was written before a login: brought over once, in order, before what is new, wherever it is cut short."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import Any

import pytest
import pytest_asyncio

from dm_bridge.bridge import import_search, importing
from dm_bridge.bridge import imports as module
from dm_bridge.bridge.import_asking import ImportSettings
from dm_bridge.bridge.import_state import Door
from dm_bridge.bridge.importing import Importer, summary
from dm_bridge.bridge.imports import Imports
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, ContactId, EventId, LoginId, PortalKey, RemoteId, UserId
from dm_bridge.network.api import Capabilities
from dm_bridge.network.events import (
    RemoteMessage,
    RemoteReactions,
    RemoteRead,
    SessionState,
    SessionStatus,
    Text,
)
from dm_bridge.network.history import HistoryPage, RecordEntry, RecordPart
from dm_bridge.store.database import Database
from dm_bridge.store.history import HistoryStore, Imported
from dm_bridge.store.inbox import InboxOutcome, InboxStore
from dm_bridge.store.logins import LoginRow, LoginStore
from tests.store.stored import OWNER, a_login

from .fakes import until

EACH = 3
PART = 2


def said(chat: str, name: object, *, own: bool = False) -> RemoteMessage:
    return RemoteMessage(
        ChatId(chat), RemoteId(f"{chat} {name}"), ContactId(chat), own, Text(str(name))
    )


def liked(chat: str) -> RemoteReactions:
    return RemoteReactions(
        ChatId(chat), RemoteId(f"{chat} liked"), RemoteId("0"), ContactId(chat), False, ("x",)
    )


class FakeSession:
    """``record_of``: messages by chat, the oldest first. ``before``: run before each answer."""

    capabilities = Capabilities(history=True)

    def __init__(self, *chats: str, messages: int = 5) -> None:
        self.record_of: dict[ChatId, list[RemoteMessage | RemoteReactions]] = {
            ChatId(chat): [said(chat, n, own=n == 1) for n in range(messages)] for chat in chats
        }
        self.read: dict[ChatId, RemoteId] = {}
        self.before: Callable[[str], None] = lambda what: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.untils: list[str | None] = []
        self.asked: list[str] = []

    async def record(self, until: str | None, further: str | None) -> RecordPart:
        """Two messages at a time: the newest of each chat, then the ones before, by turns."""
        await self.gate.wait()
        self.before("record")
        self.untils.append(until)
        most = max(map(len, self.record_of.values()), default=0)
        turns = [
            (chat, said[-n], n)
            for n in range(1, most + 1)
            for chat, said in self.record_of.items()
            if n <= len(said)
        ]
        begin = int(further or 0)
        some = turns[begin : begin + PART]
        entries = tuple(RecordEntry(event, str(n)) for _, event, n in reversed(some))
        more = str(begin + PART) if begin + PART < len(turns) else None
        return RecordPart(entries, more, len(some), self.read)

    async def older(self, chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        await self.gate.wait()
        self.before(chat)
        self.asked.append(chat)
        said = self.record_of[chat]
        found = said[: len(said) - int(place or 0)][-messages:]
        return HistoryPage(tuple(found), str(int(place or 0) + len(found)) if found else None)


class Silent:
    """Logs for a ``world`` when there is silence."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def begin(self, user: UserId) -> None:
        self._world.log.append("silence")

    async def end(self, user: UserId) -> None:
        self._world.log.append("sound")


class World:
    """A bridge whose lanes show what waits at once, into ``shown``; ``rooms``: chats in the order of their rooms.

    ``step``: called whenever something happens; it may raise. ``may_make``: awaited before a room is made.
    """

    def __init__(self, database: Database, session: FakeSession) -> None:
        self.inbox, self.store = InboxStore(database), HistoryStore(database)
        self.database = database
        self.fake = session
        self.login: LoginRow
        self.status = SessionStatus.CONNECTED
        self.told: dict[str, str] = {}
        self.shown: list[str] = []
        self.rooms: list[str] = []
        self.log: list[str] = []
        self.step: Callable[[], None] = lambda: None
        self.may_make: Callable[[str], Awaitable[None]] = lambda chat: asyncio.sleep(0)
        self.lanes: set[asyncio.Task[None]] = set()
        self.turns: dict[PortalKey, asyncio.Lock] = {}
        self.settings = ImportSettings(4, EACH)
        self.imports = self.start_over()

    def start_over(self) -> Imports:
        logins = lambda: self  # noqa: E731
        silence = Silent(self)
        self.importer = Importer(
            self.store,
            logins,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            silence,  # type: ignore[arg-type]
            self.tell,
            self.wake,
            self.settings,
        )
        self.imports = Imports(
            self.importer,
            self.store,
            logins,  # type: ignore[arg-type]
            silence,  # type: ignore[arg-type]
            self.tell,
            self.wake,
        )
        return self.imports

    async def begin(self) -> None:
        login = await a_login(self.database)
        logins = LoginStore(self.database)
        await logins.activate(login, b"sealed", "at first", imports=True)
        row = await logins.get(login)
        assert row is not None
        self.login = row
        await self.imports.logged_in(row)

    async def ended(self) -> None:
        async with asyncio.timeout(20):
            while await self.store.of(self.login.id) is not None:  # noqa: ASYNC110 - of the database
                await asyncio.sleep(0.005)

    async def kill(self) -> None:
        await self.imports.stop()
        for task in list(self.lanes):
            task.cancel()
        await asyncio.gather(*self.lanes, return_exceptions=True)

    def key(self, chat: str) -> PortalKey:
        return PortalKey(self.login.id, ChatId(chat))

    async def news(self, chat: str, name: str) -> None:
        await self.inbox.add([(self.login.id, said(chat, name))])
        self.wake([self.key(chat)])

    # -- the logins and the keeper

    async def row(self, login: LoginId) -> LoginRow:
        return self.login

    def session(self, login: LoginId) -> FakeSession | None:
        return self.fake

    def state(self, login: LoginId) -> SessionState:
        return SessionState(self.status)

    @contextlib.contextmanager
    def holding(self, account: UserId) -> Iterator[None]:
        self.log.append("hold")
        try:
            yield
        finally:
            self.log.append("let go")

    async def tell(self, user: UserId, text: str, about: str) -> None:
        assert user == OWNER
        self.told.setdefault(about.removeprefix(self.login.id).strip(), text)

    # -- the lanes

    def wake(self, chats: Collection[PortalKey]) -> None:
        for key in chats:
            task = asyncio.create_task(self.turn(key))
            self.lanes.add(task)
            task.add_done_callback(self.lanes.discard)

    async def turn(self, key: PortalKey) -> None:
        async with self.turns.setdefault(key, asyncio.Lock()):
            await self.drain(key)

    async def drain(self, key: PortalKey) -> None:
        self.step()
        match self.imports.door(key):
            case Door.SHUT:
                rows = await self.inbox.waiting(key, 100)
                if any(isinstance(row.event, RemoteMessage) and not row.older for row in rows):
                    self.imports.waits(key)
                self.imports.left(key)
                return
            case Door.AJAR:
                await self.may_make(key.chat)
                if key.chat not in self.rooms:
                    self.rooms.append(key.chat)
                self.imports.made(key)
                return
            case Door.OPEN:
                pass
        while rows := await self.inbox.waiting(key, 1):
            if rows[0].older and self.imports.door(key) is not Door.OPEN:
                self.imports.left(key)
                return
            await self.inbox.finish(key, [InboxOutcome(rows[0].id, "delivered", EventId("$"))])
            if isinstance(rows[0].event, RemoteMessage):
                self.shown.append(rows[0].id)
            self.step()
        self.imports.shown(key)

    def of(self, chat: str) -> list[str]:
        return [each.removeprefix(f"{chat} ") for each in self.shown if each.startswith(chat)]


@pytest_asyncio.fixture
async def make(database: Database) -> AsyncIterator[Callable[..., World]]:
    worlds: list[World] = []

    def made(*chats: str, **record: int) -> World:
        world = World(database, FakeSession(*chats, **record))
        worlds.append(world)
        return world

    yield made
    for world in worlds:
        await world.kill()


def connect(world: World) -> None:
    world.imports.connected(world.login.id)


Make = Callable[..., World]


async def test_the_last_chats_come_with_their_last_messages(make: Make) -> None:
    world = make("a", "b", "c", "d", "e")
    await world.begin()
    connect(world)
    await world.ended()
    for chat in "abcd":
        assert world.of(chat) == ["2", "3", "4"]
    assert world.of("e") == []
    assert set(world.fake.untils) == {"at first"}
    assert sorted(world.rooms) == list("abcd")
    assert world.log == ["silence", "hold", "let go", "sound"]
    assert "up to 4, with up to 3 messages each" in world.told["begin"]
    assert "4 chats" in world.told["end"]
    assert "12 messages" in world.told["end"]
    await world.news("a", "new")
    await until(lambda: world.of("a") == ["2", "3", "4", "new"])


async def test_all_rooms_come_before_the_first_message(make: Make) -> None:
    world = make("a", "b", "c", "d")
    rooms: list[int] = []
    world.step = lambda: rooms.append(len(world.rooms)) if world.shown else None
    await world.begin()
    connect(world)
    await world.ended()
    assert set(rooms) == {4}


async def test_the_next_rooms_are_made_while_messages_are_shown(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "TOGETHER", 2)
    monkeypatch.setitem(globals(), "PART", 100)
    world = make("a", "b", "c", "d")

    async def may_make(chat: str) -> None:
        if chat in "cd":
            await until(lambda: bool(world.shown))

    world.may_make = may_make
    await world.begin()
    connect(world)
    await world.ended()
    assert world.log == ["silence", *["hold", "let go"] * 2, "sound"]
    assert [world.of(chat) for chat in "abcd"] == [["2", "3", "4"]] * 4


async def test_rooms_are_made_while_the_search_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make("a", "b", "c", "d")
    searched: list[int] = []

    def before(what: str) -> None:
        if what == "record":
            searched.append(len(world.rooms))

    world.fake.before = before
    asked = world.fake.record

    async def slowly(until_: str | None, further: str | None) -> RecordPart:
        if further is not None:
            known = min(int(further), 4)
            await until(lambda: len(world.rooms) == known)
        return await asked(until_, further)

    monkeypatch.setattr(world.fake, "record", slowly)
    await world.begin()
    connect(world)
    await world.ended()
    assert searched == [0, 2]  # then asking for each chat is as good
    assert [world.of(chat) for chat in "abcd"] == [["2", "3", "4"]] * 4
    assert world.log == ["silence", "hold", "let go", "sound"]


async def test_rooms_do_not_run_far_ahead_of_messages(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "TOGETHER", 2)
    chats = "abcdefgh"
    monkeypatch.setitem(globals(), "PART", len(chats))  # the search is over before the first room
    world = make(*chats)
    world.settings = ImportSettings(len(chats), EACH)
    world.start_over()
    asked = world.fake.older

    async def slowly(chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        await asyncio.sleep(0.05)
        return await asked(chat, place, messages)

    world.fake.older = slowly  # type: ignore[method-assign]
    ahead: list[int] = []

    def step() -> None:
        done = sum(world.of(chat) == ["2", "3", "4"] for chat in chats)
        ahead.append(len(world.rooms) - done)

    world.step = step
    await world.begin()
    connect(world)
    await world.ended()
    assert [world.of(chat) for chat in chats] == [["2", "3", "4"]] * len(chats)
    assert max(ahead) <= 4  # one batch with its rooms, and the next one


@pytest.mark.parametrize("only_liked", [False, True], ids=["some found", "no message found yet"])
async def test_only_some_chats_are_asked_for_at_once(
    make: Make, monkeypatch: pytest.MonkeyPatch, only_liked: bool
) -> None:
    chats = "abcdefgh"
    world = make(*chats)
    if only_liked:
        monkeypatch.setitem(globals(), "PART", len(chats))
        for chat in chats:
            world.fake.record_of[ChatId(chat)].append(liked(chat))
    world.settings = ImportSettings(len(chats), EACH)
    world.start_over()
    asked, under_way, most = world.fake.older, 0, 0

    async def slowly(chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return await asked(chat, place, messages)

    world.fake.older = slowly  # type: ignore[method-assign]
    await world.begin()
    connect(world)
    await world.ended()
    assert [world.of(chat) for chat in chats] == [["2", "3", "4"]] * len(chats)
    assert most == importing.ASKED_AT_ONCE


async def test_what_is_found_is_not_kept_waiting_by_a_long_search(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_search, "UNEVENTFUL", 3)
    world = make("a", messages=40)
    asked = world.fake.record

    async def slowly(until_: str | None, further: str | None) -> RecordPart:
        if further is not None and int(further) > 20:
            await until(lambda: world.of("a") == ["37", "38", "39"])
        return await asked(until_, further)

    monkeypatch.setattr(world.fake, "record", slowly)
    await world.begin()
    connect(world)
    await world.ended()
    assert len(world.fake.untils) == 40 // PART
    assert world.log == ["silence", *["hold", "let go"] * 2, "sound"]


async def test_the_search_leaves_no_gap_in_a_chat_whose_messages_could_not_be_asked_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(import_search, "UNEVENTFUL", 1)
    world = make("a", messages=40)
    world.settings = ImportSettings(4, 8)
    world.start_over()
    record, older = world.fake.record, world.fake.older
    asking, passed = asyncio.Event(), asyncio.Event()

    async def slowly(until_: str | None, further: str | None) -> RecordPart:
        if further == "4":  # the chat is settled by then
            await asking.wait()
        if further == "6":
            passed.set()
            await asyncio.sleep(0.05)
        return await record(until_, further)

    async def fail(chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        if asking.is_set():
            return await older(chat, place, messages)
        asking.set()
        await passed.wait()
        raise NetworkError("It is busy.", retry_after=0.001)

    monkeypatch.setattr(world.fake, "record", slowly)
    monkeypatch.setattr(world.fake, "older", fail)
    await world.begin()
    connect(world)
    await world.ended()
    assert passed.is_set()
    assert world.of("a") == [str(n) for n in range(32, 40)]


async def test_rooms_do_not_wait_for_a_chat_that_is_passed_over(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "TOGETHER", 1)
    monkeypatch.setitem(globals(), "PART", 100)
    world = make("a", "b")
    take = world.store.take

    async def pass_over(key: PortalKey, *rest: Any) -> bool:
        if key.chat == "a":
            await world.store.give_up(key)  # as when its user has written there
        return await take(key, *rest)

    monkeypatch.setattr(world.store, "take", pass_over)
    await world.begin()
    connect(world)
    await world.ended()
    assert (world.of("a"), world.of("b")) == ([], ["2", "3", "4"])


async def test_what_comes_while_a_room_is_made_waits_for_no_batch(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make("a")
    world.fake.record_of[ChatId("a")] += [liked("a"), liked("a")]
    record = world.fake.record
    ending = asyncio.Event()

    async def slowly(until_: str | None, further: str | None) -> RecordPart:
        if further is not None:
            await ending.wait()
        return await record(until_, further)

    async def older(chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        return HistoryPage(tuple(said(chat, n) for n in (2, 3, 4)), None)

    async def may_make(chat: str) -> None:
        if not world.rooms:
            await world.inbox.add([(world.login.id, said("a", "new"))])

    monkeypatch.setattr(world.fake, "record", slowly)
    monkeypatch.setattr(world.fake, "older", older)
    world.may_make = may_make
    await world.begin()
    connect(world)
    async with asyncio.timeout(60):
        while "new" not in world.of("a"):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.005)
    assert world.of("a") == ["2", "3", "4", "new"]
    ending.set()
    await world.ended()


async def test_nothing_older_slips_out_while_it_is_given_up(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    world = make("a", "b")
    give_up = world.store.give_up

    async def slowly(key: PortalKey, reason: str = "") -> None:
        world.wake([key])
        await until(lambda: not world.lanes)
        await give_up(key, reason)

    record = world.fake.record

    async def slow_record(until_: str | None, further: str | None) -> RecordPart:
        if further is not None:
            await until(lambda: "new" in world.of("a"))
        return await record(until_, further)

    async def never(chat: ChatId, place: str | None, messages: int) -> HistoryPage:
        await until(lambda: "new" in world.of("a"))
        return HistoryPage((), None)

    monkeypatch.setattr(world.store, "give_up", slowly)
    monkeypatch.setattr(world.fake, "record", slow_record)
    monkeypatch.setattr(world.fake, "older", never)
    await world.begin()
    connect(world)
    await until(lambda: len(world.rooms) == 2)
    await world.news("a", "new")
    await world.ended()
    assert world.of("a") == ["new"]


async def test_nothing_slips_out_while_another_process_takes_over(make: Make) -> None:
    world = make("a", "b")
    world.fake.record_of[ChatId("b")] = []
    await world.begin()
    await world.news("a", "new")
    await world.imports.give([OWNER])
    world.wake([world.key("a")])
    await until(lambda: not world.lanes)
    assert world.shown == []
    await world.imports.started([OWNER])
    connect(world)
    await world.ended()
    await until(lambda: "new" in world.of("a"))
    assert world.of("a") == ["2", "3", "4", "new"]


async def test_it_ends_also_where_being_told_so_is_swallowed(make: Make) -> None:
    world = make("a")
    swallowed: list[str] = []
    asked = asyncio.Event()
    record = world.fake.record

    async def deaf(until_: str | None, further: str | None) -> RecordPart:
        asked.set()
        while not swallowed:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed.append("once")
        await asyncio.sleep(60)
        return await record(until_, further)

    world.fake.record = deaf  # type: ignore[method-assign, assignment]
    await world.begin()
    connect(world)
    await asked.wait()
    async with asyncio.timeout(30):
        await world.imports.stop()
    assert swallowed


async def test_a_smaller_limit_ends_the_search_as_well(make: Make) -> None:
    world = make(*"abcd", messages=20)
    world.settings = ImportSettings(4, EACH)
    world.start_over()

    def stop(what: str) -> None:
        if world.fake.untils:
            raise asyncio.CancelledError

    world.fake.before = stop
    await world.begin()
    connect(world)
    await until(lambda: len(world.rooms) == PART)
    await world.kill()
    world.fake.before = lambda what: None
    world.settings = ImportSettings(1, EACH)
    await world.start_over().started(None)
    connect(world)
    await world.ended()
    assert len(world.fake.untils) == 2
    assert world.of("a") == world.of("b") == ["17", "18", "19"]


@pytest.mark.parametrize("chat", ["c", "stranger"])
async def test_what_is_new_comes_after_what_is_older_of_its_chat(make: Make, chat: str) -> None:
    world = make("a", "b", "c", "d")
    world.fake.gate.clear()
    await world.begin()
    connect(world)
    await world.news(chat, "new")
    await asyncio.sleep(0.05)
    assert world.shown == []
    world.fake.gate.set()
    await world.ended()
    await until(lambda: "new" in world.of(chat))
    assert world.of(chat) == (["2", "3", "4", "new"] if chat == "c" else ["new"])


async def test_a_chat_in_which_something_is_new_goes_first(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "AT_ONCE", 1)
    world = make("a", "b", "c", "d")
    world.fake.gate.clear()
    await world.begin()
    world.importer._slots = asyncio.Semaphore(1)
    connect(world)
    await world.news("d", "new")
    await until(lambda: not world.lanes)
    world.fake.gate.set()
    await world.ended()
    assert world.shown[:4] == ["d 2", "d 3", "d 4", "d new"]


async def test_what_only_says_that_something_was_read_waits_and_presses_nobody(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    world = make("a", "b")
    world.fake.gate.clear()
    await world.begin()
    connect(world)
    keys = [world.key(chat) for chat in ("b", "stranger")]
    reads = [RemoteRead(key.chat, RemoteId("r"), RemoteId("x"), from_self=True) for key in keys]
    await world.inbox.add([(world.login.id, read) for read in reads])
    world.wake(keys)
    await asyncio.sleep(0.1)
    world.fake.gate.set()
    await world.ended()
    assert world.of("b") == ["2", "3", "4"]
    async with asyncio.timeout(30):
        while await world.inbox.chats_waiting():  # noqa: ASYNC110 - of the database
            await asyncio.sleep(0.005)


async def test_what_is_new_does_not_wait_for_ever(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    world = make("a", "b")
    world.fake.gate.clear()
    await world.begin()
    connect(world)
    await world.news("b", "new")
    await until(lambda: world.of("b") == ["new"])
    world.fake.gate.set()
    await world.ended()
    assert (world.of("a"), world.of("b")) == (["2", "3", "4"], ["new"])
    assert "one chat" in world.told["end"]


async def test_wherever_it_is_killed_it_goes_on_without_doubling(make: Make) -> None:
    world = make("a", "b", "c", messages=4)
    await world.begin()
    steps = life = 0

    def count() -> None:
        nonlocal steps
        steps += 1
        if steps > life:
            dead.set()
            raise asyncio.CancelledError

    dead = asyncio.Event()
    world.step = count
    world.fake.before = lambda what: None if what == "record" else count()
    await world.news("b", "new")
    for number in range(1, 60):
        steps, life = 0, number
        connect(world)
        waiting = asyncio.create_task(dead.wait())
        ended = asyncio.create_task(world.ended())
        await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if ended.done():
            break
        ended.cancel()
        await world.kill()
        dead.clear()
        world.start_over()
        await world.imports.started(None)
        world.wake(await world.inbox.chats_waiting())
    else:
        raise AssertionError("it never ended")
    assert life > 5  # it was killed often enough
    world.step = lambda: None
    world.wake(await world.inbox.chats_waiting())
    expected = {chat: [f"{chat} {n}" for n in (1, 2, 3)] for chat in "abc"}
    expected["b"].append("b new")
    async with asyncio.timeout(20):
        while await world.inbox.chats_waiting():  # noqa: ASYNC110 - of the database
            await asyncio.sleep(0.005)
    for chat, names in expected.items():
        for name in names:
            done = await world.inbox.delivered(world.key(chat), RemoteId(name))
            assert done is not None
            assert done.event is not None
        shown = [each for each in world.shown if each.startswith(chat)]
        assert shown == sorted(set(shown), key=names.index)  # a kill may hide that one was shown


async def test_a_chat_that_cannot_be_read_is_said_at_the_end(make: Make) -> None:
    world = make("a", "b")

    def refuse(what: str) -> None:
        if what == "a":
            raise NetworkError("The server has lost it.")

    world.fake.before = refuse
    world.settings = ImportSettings(2, EACH)
    world.start_over()
    await world.begin()
    connect(world)
    await world.ended()
    assert world.of("b") == ["2", "3", "4"]
    assert world.of("a") == []
    assert world.fake.asked == ["b"]  # the search brings less than asking does
    assert "One chat could not be read. The server has lost it" in world.told["end"]
    assert "`history`" in world.told["end"]
    await world.news("a", "new")
    await until(lambda: world.of("a") == ["new"])


async def test_what_may_pass_is_tried_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.01)
    world = make("a", "b")
    failures = iter(range(3))

    def fail(what: str) -> None:
        for _ in failures:
            raise NetworkError("It is busy.", retry_after=0.001)

    world.fake.before = fail
    await world.begin()
    connect(world)
    await world.ended()
    assert world.of("a") == world.of("b") == ["2", "3", "4"]


async def test_a_network_that_refuses_altogether_is_told_with_what_to_do(make: Make) -> None:
    world = make("a")

    def refuse(what: str) -> None:
        raise NetworkError("The server gives nothing out.")

    world.fake.before = refuse
    await world.begin()
    connect(world)
    await world.ended()
    assert "The server gives nothing out" in world.told["failed"]
    assert "`history`" in world.told["failed"]
    await world.news("a", "new")
    await until(lambda: world.of("a") == ["new"])


async def test_where_there_is_no_record_nothing_is_held_back(make: Make) -> None:
    world = make("a")
    world.fake.capabilities = Capabilities()
    await world.begin()
    await world.news("a", "new")
    connect(world)
    await world.ended()
    await until(lambda: world.of("a") == ["new"])
    assert world.told == {}


async def test_it_waits_for_the_connection(make: Make) -> None:
    world = make("a")
    world.status = SessionStatus.CONNECTING
    await world.begin()
    connect(world)
    await asyncio.sleep(0.02)
    assert world.fake.untils == []
    world.status = SessionStatus.CONNECTED
    connect(world)
    await world.ended()
    assert world.of("a") == ["2", "3", "4"]


async def test_a_logout_ends_it(make: Make) -> None:
    world = make("a")
    world.fake.gate.clear()
    await world.begin()
    connect(world)
    await world.news("a", "new")
    await world.imports.logged_out(world.login)
    await world.ended()
    assert world.log[-1] == "sound"
    assert world.imports.door(world.key("a")) is Door.OPEN


@pytest.mark.parametrize("fails", [False, True])
async def test_nothing_old_is_shown_aloud_when_it_is_broken_off(
    make: Make, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    world = make("a", "b", "c", "d", messages=12)
    world.settings = ImportSettings(4, 12)
    world.start_over()
    del world.fake.record_of[ChatId("a")][:-1]  # so it is done first
    await world.begin()
    ends: list[asyncio.Task[None]] = []
    aloud: set[int] = set()

    def step() -> None:
        if world.shown and not ends and not fails:
            ends.append(asyncio.create_task(world.imports.logged_out(world.login)))
        if "sound" in world.log:
            aloud.add(len(world.shown))

    async def fail(one: object) -> None:
        raise RuntimeError("odd")

    world.step = step
    if fails:
        monkeypatch.setattr(world.importer, "_say_how_far", fail)
    connect(world)
    await world.ended()
    await asyncio.gather(*ends)
    await until(lambda: world.log[-1] == "sound")
    shown = list(world.shown)
    assert 0 < len(shown) < 1 + 3 * 12
    for chat in "abcd":
        await world.news(chat, "new")
        await until(lambda chat=chat: world.of(chat)[-1:] == ["new"])  # type: ignore[misc]
    assert sorted(world.shown) == sorted([*shown, *(f"{chat} new" for chat in "abcd")])
    assert min(aloud) == len(shown)
    for known in await world.store.chats(world.login.id):
        assert known.state == "shown" or (known.state, known.place) == ("passed", None)


async def test_what_was_begun_is_broken_off_where_nothing_is_brought_over_any_more(
    make: Make,
) -> None:
    world = make("a", "b")

    def stop() -> None:
        if world.rooms:
            raise RuntimeError("killed")

    world.step = stop
    await world.begin()
    connect(world)
    await until(lambda: bool(world.rooms))
    await world.kill()
    world.step = lambda: None
    world.fake.capabilities = Capabilities()
    await world.start_over().started(None)
    connect(world)
    await world.ended()
    await until(lambda: world.log[-1:] == ["sound"])
    assert world.shown == []
    assert "failed" in world.told


async def test_users_without_earlier_chats_hear_nothing(make: Make) -> None:
    world = make()
    await world.begin()
    connect(world)
    await world.ended()
    assert (world.told, world.log) == ({}, [])


async def test_a_chat_without_messages_gets_no_room(make: Make) -> None:
    world = make("a", "b")
    world.fake.record_of[ChatId("a")] = []
    await world.begin()
    connect(world)
    await world.ended()
    assert world.rooms == ["b"]


async def test_a_long_record_of_one_chat_is_not_read_to_its_end(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_search, "BARREN", 10)
    world = make("a", messages=100)
    await world.begin()
    connect(world)
    await world.ended()
    assert world.of("a") == ["97", "98", "99"]
    assert len(world.fake.untils) == 2 + 10 // PART


async def test_users_hear_how_far_it_is(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "PROGRESS", 0.0)
    world = make("a", "b", "c")
    await world.begin()
    connect(world)
    await world.ended()
    assert "1 of 3 chats" in world.told["1"]
    assert "3" not in world.told


def test_the_end_reads_well() -> None:
    assert summary(Imported(1, 1, 0, ()), "x@y").startswith(
        "I have brought over one chat of `x@y`, with one message. "
    )
    assert "1,000 chats of `x@y`, with 20,000 messages." in summary(
        Imported(1000, 20_000, 0, ()), "x@y"
    )
