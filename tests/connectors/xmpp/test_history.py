"""Reading an archive backwards: where a login's history ends, and page by page what is before."""

from __future__ import annotations

import pytest
import structlog

from dm_bridge.connectors.xmpp.archive import Entry, Page
from dm_bridge.connectors.xmpp.catch_up import Position
from dm_bridge.connectors.xmpp.failures import rejected
from dm_bridge.connectors.xmpp.history import HistoryReader
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.events import RemoteRead
from dm_bridge.network.history import RecordPart

from .test_archive import ME, result

JULIET, NURSE = ChatId("juliet@example.com"), ChatId("nurse@example.com")
STAMP = 1714979289.0


def entry(name: str, chat: str = JULIET, inner: str = "") -> Entry:
    stanza = result(name, f"{chat}/pc", f"id='{name}'", inner)[0]
    if inner:  # a marker has no text
        for body in stanza.findall(".//{jabber:client}body"):
            next(iter(stanza.findall("{jabber:client}message"))).remove(body)
    return Entry(name, stanza, STAMP)


class FakeArchive:
    """``entries``: chat and entry, the oldest first. ``asked``: how it was asked. ``gives``: at most at once."""

    def __init__(self, *entries: tuple[str, Entry], gives: int = 100) -> None:
        self.entries = list(entries)
        self.gives = gives
        self.asked: list[tuple[str, str | None, str | None]] = []

    def _of(self, chat: str | None) -> list[Entry]:
        return [each for whose, each in self.entries if chat in (None, whose)]

    def _place(self, found: list[Entry], name: str) -> int:
        names = [each.id for each in found]
        if name not in names:
            raise rejected("example.org", "it", "item-not-found")
        return names.index(name)

    async def page(
        self, after: str, start: float | None = None, chat: str | None = None, entries: int = 100
    ) -> Page:
        self.asked.append(("after", after, chat))
        found = self._of(chat)
        begin = self._place(found, after) + 1
        return Page(tuple(found[begin : begin + entries]), None)

    async def before(self, end: str | None, chat: str | None = None, entries: int = 100) -> Page:
        self.asked.append(("before", end, chat))
        found = self._of(chat)
        found = found if end is None else found[: self._place(found, end)]
        some = found[-min(entries, self.gives) :]
        return Page(tuple(some), some[0].id if len(some) < len(found) else None)


def reader(archive: FakeArchive, displayed: str = "") -> HistoryReader:
    read = {JULIET: RemoteId(displayed)} if displayed else {}
    return HistoryReader(archive, ME, read, structlog.get_logger())  # type: ignore[arg-type]


def chats(*names: str) -> FakeArchive:
    """Messages of juliet (j…) and the nurse (n…)."""
    whose = {"j": JULIET, "n": NURSE}
    return FakeArchive(*((whose[name[0]], entry(name, whose[name[0]])) for name in names))


def until(name: str) -> str:
    return Position(name, STAMP).text()


def names(part: RecordPart) -> list[tuple[str, str]]:
    return [(entry.event.id, entry.before) for entry in part.entries]


async def test_the_record_goes_up_to_where_the_login_was_made() -> None:
    archive = chats("j1", "n1", "j2", "j3", "n2")
    part = await reader(archive).record(until("j2"), None)
    assert names(part) == [("sid:j1", "j1"), ("sid:n1", "n1"), ("sid:j2", "j2")]
    assert [entry.event.chat for entry in part.entries] == [JULIET, NURSE, JULIET]
    assert (part.further, part.looked_at) == (None, 3)


async def test_a_position_that_is_far_back_is_found_by_the_entry_after_it() -> None:
    archive = chats("j1", "n1", "j2", "j3", "j4", "j5")
    archive.gives = 2
    part = await reader(archive).record(until("n1"), None)
    assert [name for name, _ in names(part)] == ["sid:j1", "sid:n1"]
    assert ("after", "n1", None) in archive.asked


async def test_the_record_goes_on_before_the_oldest_entry() -> None:
    archive = chats("n1", "j1", "j2", "j3")
    archive.gives = 2
    part = await reader(archive).record(until("j3"), None)
    assert ([name for name, _ in names(part)], part.further) == (["sid:j2", "sid:j3"], "j2")
    part = await reader(archive).record(until("j3"), part.further)
    assert ([name for name, _ in names(part)], part.further) == (["sid:n1", "sid:j1"], None)


async def test_an_account_that_had_no_archive_has_no_history() -> None:
    archive = chats("j1")
    part = await reader(archive).record(Position("", STAMP).text(), None)
    assert (part.entries, part.further, archive.asked) == ((), None, [])


async def test_a_position_that_the_server_forgot_counts_by_its_time() -> None:
    archive = chats("j1")
    archive.entries.append((NURSE, Entry("n9", entry("n9", NURSE).forwarded, STAMP + 1)))
    part = await reader(archive).record(until("gone"), None)
    assert [name for name, _ in names(part)] == ["sid:j1"]


async def test_a_chat_is_read_back_page_by_page() -> None:
    archive = chats("j1", "j2", "n1", "j3", "j4", "j5")
    page = await reader(archive).older(JULIET, "j5", 2)
    assert ([each.id for each in page.events], page.older) == (["sid:j3", "sid:j4"], "j3")
    page = await reader(archive).older(JULIET, page.older, 5)
    assert ([each.id for each in page.events], page.older) == (["sid:j1", "sid:j2"], None)
    page = await reader(archive).older(JULIET, None, 1)
    assert ([each.id for each in page.events], page.older) == (["sid:j5"], "j5")


async def test_what_is_no_message_does_not_count_as_one() -> None:
    marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='{}'/>"
    archive = FakeArchive(
        (JULIET, entry("j1")),
        (JULIET, entry("j2")),
        *((JULIET, entry(f"m{n}", inner=marker.format(f"x{n}"))) for n in range(30)),
        gives=10,
    )
    page = await reader(archive).older(JULIET, None, 2)
    assert [each.id for each in page.events if not isinstance(each, RemoteRead)] == [
        "sid:j1",
        "sid:j2",
    ]
    reads = [each for each in page.events if isinstance(each, RemoteRead)]
    assert [read.target for read in reads] == ["x29"]  # the last one says it all


async def test_what_the_user_has_read_is_told_of_the_chats_in_a_part() -> None:
    assert (await reader(chats("j1"), "sid:j1").record(until("j1"), None)).displayed == {
        JULIET: "sid:j1"
    }
    assert (await reader(chats("n1"), "sid:j1").record(until("n1"), None)).displayed == {}


@pytest.mark.parametrize(
    ("condition", "again"), [("not-allowed", False), ("resource-constraint", True)]
)
async def test_a_refusal_says_whether_it_may_pass(condition: str, again: bool) -> None:
    archive = chats("j1")

    async def refuse(*_: object) -> Page:
        raise rejected("example.org", "it", condition)

    archive.before = refuse  # type: ignore[assignment, method-assign]
    with pytest.raises(NetworkError) as caught:
        await reader(archive).older(JULIET, None, 2)
    assert (caught.value.retry_after is not None) is again
