"""Reading what was missed: from where, to where, and what happens when that is not known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from xml.etree.ElementTree import Element, SubElement

import pytest
import pytest_asyncio
import structlog

from dm_bridge.connectors.xmpp import catch_up as module
from dm_bridge.connectors.xmpp.acks import Ledger
from dm_bridge.connectors.xmpp.archive import CLOCK_SKEW, Entry, Page
from dm_bridge.connectors.xmpp.catch_up import MAX_ID, CatchUp, Position
from dm_bridge.connectors.xmpp.failures import rejected, timed_out
from dm_bridge.connectors.xmpp.intake import CAPACITY, Intake
from dm_bridge.connectors.xmpp.stanzas import Account
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, ContactId, RemoteId
from dm_bridge.network.events import RemoteFailure, RemoteMessage, Text

from .support import Sink, until
from .test_archive import ME, result

JULIET = "juliet@example.com/x"
STAMP = 1714979289.0
PAGE = 10


class FakeArchive:
    """``ids``: what it holds, the oldest first. ``asked``: (after, start) of every page."""

    def __init__(self, *ids: str, sender: str = JULIET) -> None:
        self.ids = list(ids)
        self.sender = sender
        self.asked: list[tuple[str | None, float | None]] = []
        self.trouble: NetworkError | None = None
        self.before: Callable[[], None] = lambda: None

    async def newest(self) -> str | None:
        self.before()
        return self.ids[-1] if self.ids else None

    async def page(self, after: str | None = None, start: float | None = None) -> Page:
        self.asked.append((after, start))
        self.before()
        if self.trouble is not None:
            raise self.trouble
        if after is not None and after not in self.ids:
            raise rejected("example.org", "it", "item-not-found")
        begin = 0 if after is None else self.ids.index(after) + 1
        found = self.ids[begin : begin + PAGE]
        entries = tuple(
            Entry(name, result(name, self.sender, f"id='{name}'")[0], STAMP) for name in found
        )
        more = begin + PAGE < len(self.ids)
        return Page(entries, found[-1] if more else None)


class World:
    """A session's catch-up, and what it leads to."""

    def __init__(self, position: Position | None) -> None:
        self.sink = Sink()
        self.sink.position = None if position is None else position.text()
        self.intake = Intake(self.sink, "login", lambda _: None)
        self.ledger = Ledger()
        self.sent_back: list[RemoteId] = []
        self.catch_up = CatchUp(
            self.intake, self.sink.position, structlog.get_logger(), self.sent_back.append
        )
        self.task = asyncio.create_task(self.intake.run())

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.sink.events if isinstance(event, RemoteMessage)]

    @property
    def position(self) -> Position | None:
        return Position.parse(self.sink.position)

    def live(self, archive_id: str) -> None:
        event = RemoteMessage(
            ChatId("c"), RemoteId(f"sid:{archive_id}"), ContactId("c"), False, Text("live")
        )
        self.ledger.receive()
        self.intake.put(event, self.ledger, self.catch_up.live(archive_id))

    async def connect(self, archive: FakeArchive, account: Account = ME) -> None:
        self.catch_up.begin()
        await self.catch_up.run(archive, account)  # type: ignore[arg-type]
        await self.intake.drained()


@pytest_asyncio.fixture
async def make() -> AsyncIterator[Callable[[Position | None], World]]:
    worlds: list[World] = []

    def made(position: Position | None) -> World:
        worlds.append(World(position))
        return worlds[-1]

    yield made
    for world in worlds:
        world.task.cancel()
    await asyncio.gather(*(world.task for world in worlds), return_exceptions=True)


Make = Callable[[Position | None], World]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLING_SECONDS", [0.0 for _ in module.SETTLING_SECONDS])


@pytest.mark.parametrize(
    "text", [None, "", "x", "[]", "{}", '{"id": "a"}', '{"id": "a", "at": "b"}', "7"]
)
def test_what_we_did_not_write_is_no_position(text: str | None) -> None:
    assert Position.parse(text) is None


def test_a_position_is_short_text() -> None:
    position = Position("é" * MAX_ID, time.time())
    assert Position.parse(position.text()) == position
    assert len(position.text()) < 500


async def test_all_pages_after_the_position_are_read_in_order(make: Make) -> None:
    world = make(Position("n3", STAMP))
    archive = FakeArchive(*(f"n{number}" for number in range(35)))
    await world.connect(archive)
    assert world.ids == [f"sid:n{number}" for number in range(4, 35)]
    assert world.position == Position("n34", STAMP)
    assert archive.asked == [("n3", None), ("n13", None), ("n23", None), ("n33", None)]
    assert world.catch_up.done


async def test_our_own_messages_move_the_position_and_no_more(make: Make) -> None:
    world = make(Position("a", STAMP))
    await world.connect(FakeArchive("a", "b", sender=ME.full))
    assert (world.ids, world.position) == ([], Position("b", STAMP))


async def test_live_messages_wait_and_then_move_the_position(make: Make) -> None:
    world = make(Position("a", STAMP))
    archive = FakeArchive("a", "b")
    archive.before = lambda: world.live("c") if world.ledger.received == 0 else None
    await world.connect(archive)
    assert (world.ids, world.position) == (["sid:b", "sid:c"], Position("b", STAMP))
    world.live("d")
    await world.intake.drained()
    assert world.position is not None
    assert world.position.id == "d"
    assert abs(world.position.at - time.time()) < 60
    world.live("x" * (MAX_ID + 1))
    await world.intake.drained()
    assert world.position.id == "d"


async def test_a_login_without_a_position_begins_at_the_end(make: Make) -> None:
    world = make(None)
    archive = FakeArchive("a", "b")
    archive.before = lambda: world.live("b")
    await world.connect(archive)
    assert world.ids == ["sid:b"]
    assert world.position is not None
    assert world.position.id == "b"
    assert archive.asked == []


async def test_an_archive_that_was_empty_is_read_from_its_begin(make: Make) -> None:
    world = make(None)
    await world.connect(FakeArchive())
    assert world.position is not None
    assert world.position.id == ""
    at = world.position.at
    later = FakeArchive("a")
    await world.connect(later)
    assert (world.ids, world.position) == (["sid:a"], Position("a", STAMP))
    assert later.asked == [(None, at - CLOCK_SKEW)]


async def test_a_position_that_is_gone_is_replaced_by_its_time(make: Make) -> None:
    world = make(Position("gone", STAMP))
    archive = FakeArchive(*(f"n{number}" for number in range(15)))
    await world.connect(archive)
    assert world.ids == [f"sid:n{number}" for number in range(15)]
    assert world.position == Position("n14", STAMP)
    start = STAMP - CLOCK_SKEW
    assert archive.asked == [("gone", None), (None, start), ("n9", start)]


async def test_a_refused_archive_does_not_stop_what_is_live_nor_move_the_position(
    make: Make,
) -> None:
    world = make(Position("a", STAMP))
    archive = FakeArchive("a", "b")
    archive.trouble = rejected("example.org", "it", "internal-server-error")
    archive.before = lambda: world.live("c")
    await world.connect(archive)
    world.live("d")
    await world.intake.drained()
    assert (world.ids, world.position) == (["sid:c", "sid:d"], Position("a", STAMP))
    archive.trouble, archive.before = None, lambda: None
    await world.connect(archive)
    assert world.ids == ["sid:c", "sid:d", "sid:b"]


async def test_after_a_cut_it_goes_on_where_it_was(make: Make) -> None:
    world = make(Position("n0", STAMP))
    archive = FakeArchive(*(f"n{number}" for number in range(25)))

    def cut_at_the_second_page() -> None:
        if len(archive.asked) == 2:
            world.live("live")
            archive.trouble = timed_out("example.org")

    archive.before = cut_at_the_second_page
    with pytest.raises(NetworkError):
        await world.connect(archive)
    assert not world.catch_up.done
    assert world.position == Position("n10", STAMP)
    archive.trouble = None
    await world.catch_up.run(archive, ME)  # type: ignore[arg-type]  # the stream was resumed
    await world.intake.drained()
    assert world.ids == [f"sid:n{number}" for number in range(1, 25)] + ["sid:live"]


async def test_the_position_never_passes_what_is_not_committed(make: Make) -> None:
    world = make(Position("n0", STAMP))
    archive = FakeArchive(*(f"n{number}" for number in range(25)))
    world.sink.broken = True
    task = asyncio.create_task(world.connect(archive))
    await until(lambda: world.sink.refused > 1)
    assert world.position == Position("n0", STAMP)
    assert len(archive.asked) == 1
    world.sink.broken = False
    await task
    assert world.position == Position("n24", STAMP)


async def test_what_was_too_much_to_hold_is_read_too(make: Make) -> None:
    world = make(Position("n0", STAMP))
    archive = FakeArchive("n0", "n1")

    def flood() -> None:
        archive.before = lambda: None
        for number in range(CAPACITY + 5):
            world.live(f"m{number}")

    def grow() -> None:
        archive.ids += [f"m{number}" for number in range(CAPACITY + 5)]

    archive.before = flood
    page = archive.page

    async def then_grow(after: str | None = None, start: float | None = None) -> Page:
        answer = await page(after, start)
        if len(archive.asked) == 1:
            grow()
        return answer

    archive.page = then_grow  # type: ignore[method-assign]
    await world.connect(archive)
    expected = ["sid:n1", *(f"sid:m{number}" for number in range(CAPACITY + 5))]
    assert list(dict.fromkeys(world.ids)) == expected
    assert world.ledger.safe == CAPACITY + 5


async def test_what_is_archived_late_still_comes_in_its_place(make: Make) -> None:
    """As on ejabberd, for what a session hands on that is being replaced."""
    world = make(Position("a", STAMP))
    archive = FakeArchive("a", "b", "d")

    def grow() -> None:
        if len(archive.asked) == 1:
            world.live("d")
            world.live("c")
        elif len(archive.asked) == 3:
            archive.ids.insert(2, "c")

    archive.before = grow
    await world.connect(archive)
    assert list(dict.fromkeys(world.ids)) == ["sid:b", "sid:c", "sid:d"]
    assert world.position == Position("d", STAMP)
    assert archive.asked == [("a", None)] * 3


async def test_what_comes_twice_is_not_waited_for(make: Make) -> None:
    world = make(Position("n0", STAMP))
    archive = FakeArchive(*(f"n{number}" for number in range(25)))
    archive.before = lambda: world.live(f"n{len(archive.asked)}")
    await world.connect(archive)
    assert archive.asked == [("n0", None), ("n10", None), ("n20", None)]


async def test_what_is_never_archived_is_not_waited_for_without_end(make: Make) -> None:
    world = make(Position("a", STAMP))
    archive = FakeArchive("a", "b")
    archive.before = lambda: world.live("kept nowhere") if world.ledger.received == 0 else None
    await world.connect(archive)
    assert world.ids == ["sid:b", "sid:kept nowhere"]
    assert archive.asked == [("a", None)] * (1 + len(module.SETTLING_SECONDS))


async def test_without_an_archive_nothing_is_held_and_no_position_moves(make: Make) -> None:
    world = make(Position("a", STAMP))
    world.catch_up.begin()
    world.live("b")
    world.catch_up.without_archive()
    world.live("c")
    await world.intake.drained()
    assert (world.ids, world.position) == (["sid:b", "sid:c"], Position("a", STAMP))
    assert world.catch_up.done


async def test_a_failure_in_the_archive_lets_the_message_be_sent_again(make: Make) -> None:
    world, archive = make(Position("a", STAMP)), FakeArchive("a")
    forwarded = Element("{urn:xmpp:forward:0}forwarded")
    attributes = {"type": "error", "id": "lost", "from": JULIET, "to": ME.full}
    error = SubElement(forwarded, "{jabber:client}message", attributes)
    SubElement(error, "{jabber:client}error")

    async def page(after: str | None = None, start: float | None = None) -> Page:
        return Page((Entry("b", forwarded, STAMP),), None)

    archive.page = page  # type: ignore[method-assign]
    await world.connect(archive)
    assert world.sent_back == ["lost"]
    assert [type(event) for event in world.sink.events] == [RemoteFailure]
