"""What was written before a login, read backwards from the network's own record.

The rule that must never break: nothing is taken for missing that the network may not have recorded yet.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dm_bridge.ids import ChatId
from dm_bridge.network.events import RemoteMessage
from dm_bridge.network.history import HISTORY_SECONDS, History, HistoryPage, RecordEntry
from dm_bridge.testing.conformance.adapter import Account, Person
from dm_bridge.testing.conformance.case import Case, Failed, Live, require

WRITTEN = 7
PAGE = 3
MOST_PARTS = 50
MOST_PLACE = 10_000


async def what_was_written_before_can_be_read(case: Case) -> None:
    """Where `Capabilities.history` is declared: `record` gives what was written, part by part, each the oldest
    first, and `older` what is before a place, page by page."""
    past = await _past(case)
    chat = past.live.chat(past.person)
    entries = await _record(past.live, past.until)
    read = [entry for entry in entries if entry.event.chat == chat]
    said = [each.event.content.body for each in read if isinstance(each.event, RemoteMessage)]
    require(said == past.texts, f"The messages are {past.texts}; in the record: {said}.")
    texts, place = said[-1:], read[-1].before
    for _ in range(MOST_PARTS):
        page = await _older(past.live, chat, place)
        texts[:0] = _texts(page)
        if page.older is None:
            break
        require(page.older != place, "`HistoryPage.older` is the place before the page.")
        place = page.older
    require(texts == past.texts, f"The messages are {past.texts}; read page by page: {texts}.")


async def what_came_after_the_login_is_no_history(case: Case) -> None:
    """Where `Capabilities.history` is declared: what came after `LoginDone.position` is delivered, and must not
    come between what is older: `record` ends before it."""
    past = await _past(case)
    for text in ("after one", "after two"):
        await past.person.say(past.account.address, text)
        await past.live.arrives(text)
    entries = await _record(past.live, past.until)
    said = [each.event.content.body for each in entries if isinstance(each.event, RemoteMessage)]
    require(said == past.texts, f"Before the login came {past.texts}; in the record: {said}.")


async def history_is_known_by_its_ids(case: Case) -> None:
    """Where `Capabilities.history` is declared: a message has the same `RemoteMessage.id` there as when it was
    delivered, or has that one as ``other_id``; else it is shown twice."""
    past = await _past(case)
    chat = past.live.chat(past.person)
    delivered = {message.id for message in past.delivered}
    page = await _older(past.live, chat, None)
    for event in page.events:
        if isinstance(event, RemoteMessage):
            require(
                event.id in delivered or event.other_id in delivered,
                f"{event.content.body!r} has the id {event.id} in the record, and was delivered as another one.",
            )
            require(event.chat == chat, "All events of a page are of its chat.")
    require(_texts(page) == past.texts[-PAGE:], "Without a place, `older` begins at the newest.")


@dataclass
class _Past:
    """Messages to an account before a login. ``delivered``: how an earlier login got them."""

    account: Account
    person: Person
    texts: list[str]
    delivered: list[RemoteMessage]
    live: Live
    until: str | None


async def _past(case: Case) -> _Past:
    """Somebody writes; then the account's owner logs in anew."""
    live, person = await case.meet()
    live.needs("history")
    require(isinstance(live.session, History), "The session has no methods of `History`.")
    texts = [f"past {number}" for number in range(WRITTEN)]
    for text in texts:
        await person.say(live.account.address, text)
        await live.arrives(text)
    await live.close()
    anew = await case.opened(live.account)
    until = anew.login.position
    await anew.connect()
    delivered = [each for each in live.inbox.messages if each.content.body in texts]
    return _Past(live.account, person, texts, delivered, anew, until)


async def _record(live: Live, until: str | None) -> list[RecordEntry]:
    """All parts of the record, the oldest entry first."""
    session, further = _history(live), None
    entries: list[RecordEntry] = []
    for _ in range(MOST_PARTS):
        try:
            async with asyncio.timeout(HISTORY_SECONDS):
                part = await session.record(until, further)
        except TimeoutError:
            raise Failed("`record` has a deadline.") from None
        entries[:0] = part.entries
        for entry in part.entries:
            require(len(entry.before) <= MOST_PLACE, "A place is a text of some 10,000 characters.")
        require(
            part.further is None or part.further != further,
            "`further` is where the next part begins.",
        )
        further = part.further
        if further is None:
            break
    return entries


async def _older(live: Live, chat: ChatId, place: str | None) -> HistoryPage:
    try:
        async with asyncio.timeout(HISTORY_SECONDS):
            page = await _history(live).older(chat, place, PAGE)
    except TimeoutError:
        raise Failed("`older` has a deadline.") from None
    require(
        len(_texts(page)) <= PAGE, f"{PAGE} messages were asked for, and {len(_texts(page))} came."
    )
    return page


def _history(live: Live) -> History:
    assert isinstance(live.session, History)
    return live.session


def _texts(page: HistoryPage) -> list[str]:
    return [event.content.body for event in page.events if isinstance(event, RemoteMessage)]


CHECKS = (
    what_was_written_before_can_be_read,
    what_came_after_the_login_is_no_history,
    history_is_known_by_its_ids,
)
