"""What arrives: in order, once, and never lost, whatever becomes of the store, the session and the connection.

The rule that must never break: a crash is played as a crash, so that the session cannot say goodbye.
"""

from __future__ import annotations

import asyncio
import copy

from dm_bridge.network.events import SessionStatus
from dm_bridge.testing.conformance.adapter import NotOffered
from dm_bridge.testing.conformance.case import Case, Failed, Live, require
from dm_bridge.testing.conformance.sinks import Inbox


async def many_messages_arrive_in_order(case: Case) -> None:
    """Deliver the messages of a chat in the order in which they were written, one delivery at a time."""
    live, person = await case.meet()
    live.sink.slow = 0.01
    expected = [f"number {number}" for number in range(case.adapter.load)]
    for text in expected:
        await person.say(live.account.address, text)
    await exactly(case, live.inbox, expected)


async def what_cannot_be_stored_is_delivered_again(case: Case) -> None:
    """When `EventSink.deliver` raises `StorageError`, keep the events, and deliver them again, in order."""
    live, person = await case.meet()
    live.sink.refuse = 3
    expected = [f"number {number}" for number in range(6)]
    for text in expected[:3]:
        await person.say(live.account.address, text)
    await case.until(lambda: live.sink.refused, "Something should have been delivered.")
    for text in expected[3:]:
        await person.say(live.account.address, text)
    await exactly(case, live.inbox, expected)


async def a_crash_before_the_commit_loses_nothing(case: Case) -> None:
    """Where `Capabilities.catches_up` is declared: acknowledge, and move the position, only after the commit."""
    live, person = await case.meet()
    live.needs("catches_up")
    await person.say(live.account.address, "committed")
    await live.arrives("committed")
    live.sink.hang_before = True
    for text in ("one", "two"):
        await person.say(live.account.address, text)
    await hangs(case, live)
    after = await crash(case, live)
    await person.say(live.account.address, "three")
    await exactly(case, after.inbox, ["committed", "one", "two", "three"])


async def a_crash_after_the_commit_doubles_nothing(case: Case) -> None:
    """Give a message that the network delivers again the same `RemoteMessage.id`, so that it is known."""
    live, person = await case.meet()
    live.sink.hang_after = True
    await person.say(live.account.address, "committed")
    await hangs(case, live)
    after = await crash(case, live)
    await person.say(live.account.address, "later")
    await exactly(case, after.inbox, ["committed", "later"])


async def what_was_written_meanwhile_is_delivered(case: Case) -> None:
    """Where `Capabilities.catches_up` is declared: begin at `Login.position`, before what is live."""
    live, person = await case.meet()
    live.needs("catches_up")
    await person.say(live.account.address, "before")
    await live.arrives("before")
    await live.close()
    expected = ["before", *(f"meanwhile {number}" for number in range(12)), "live"]
    for text in expected[1:-1]:
        await person.say(live.account.address, text)
    after = case.again(live.account, live.inbox)
    await after.connect()
    await person.say(live.account.address, "live")
    await exactly(case, after.inbox, expected)


async def a_login_begins_where_it_was_made(case: Case) -> None:
    """Where `Capabilities.catches_up` is declared: nothing is lost between the login and the first connection."""
    person, account = await case.person(), await case.account()
    live = await case.opened(account)
    await person.say(account.address, "between")
    await live.connect()
    live.needs("catches_up")
    await person.say(account.address, "after")
    await exactly(case, live.inbox, ["between", "after"])


async def a_position_leads_back_to_itself(case: Case) -> None:
    """A session that begins at an earlier position delivers all that came after it, as after a restored backup."""
    live, person = await case.meet()
    live.needs("catches_up")
    places: list[Inbox] = []
    expected = [f"number {number}" for number in range(4)]
    for text in expected:
        await person.say(live.account.address, text)
        await live.arrives(text)
        places.append(copy.deepcopy(live.inbox))
    await live.close()
    if len({place.position for place in places}) < len(places):
        raise NotOffered("positions do not name every message")
    ids = {one for each in live.inbox.messages for one in (each.id, each.other_id)} - {None}
    for place in places[:2]:
        after = case.again(live.account, place)
        await after.connect()
        await exactly(case, after.inbox, expected)
        anew = [each for each in after.inbox.messages if not {each.id, each.other_id} & ids]
        require(not anew, f"Another session gave these messages other ids: {anew!r}.")
        await after.close()


async def a_cut_while_receiving_loses_and_doubles_nothing(case: Case) -> None:
    """Reconnect by yourself, and keep the order; where `Capabilities.catches_up` is declared, lose nothing."""
    live, person = await case.meet()
    expected = [f"number {number}" for number in range(20)]
    for number, text in enumerate(expected):
        if number in (5, 12):
            if not live.capabilities.catches_up:
                await live.arrives(expected[number - 1])
            reports = len(live.sink.states)
            await case.line.cut()
            if not live.capabilities.catches_up:
                await live.reach(SessionStatus.CONNECTED, reports)
        await person.say(live.account.address, text)
    await exactly(case, live.inbox, expected)


async def a_cut_while_the_store_is_down_loses_nothing(case: Case) -> None:
    """Where `Capabilities.catches_up` is declared: keep what is not committed, also over a lost connection."""
    live, person = await case.meet()
    live.needs("catches_up")
    live.sink.refuse = 1_000_000
    await person.say(live.account.address, "one")
    await case.until(lambda: live.sink.refused, "Something should have been delivered.")
    await case.line.cut()
    await person.say(live.account.address, "two")
    await asyncio.sleep(0.2)
    live.sink.refuse = 0
    await exactly(case, live.inbox, ["one", "two"])


async def what_the_bridge_sent_does_not_come_back(case: Case) -> None:
    """Do not deliver what `Session.send` sent, also not when the network echoes it or its record has it."""
    live, person = await case.meet()
    for number in range(3):
        await live.send(live.message(person, f"sent {number}"))
    await person.say(live.account.address, "answer")
    await exactly(case, live.inbox, ["answer"])
    after = await crash(case, live)
    await person.say(live.account.address, "again")
    await exactly(case, after.inbox, ["answer", "again"])


async def what_the_user_writes_elsewhere_is_theirs(case: Case) -> None:
    """Where `Capabilities.own_messages` is declared: deliver it once, with `from_self`, in the contact's chat."""
    live, person = await case.meet()
    live.needs("own_messages")
    device = await case.device(live.account)
    await device.say(person.address, "from my phone")
    await live.arrives("from my phone")
    await person.say(live.account.address, "answer")
    await exactly(case, live.inbox, ["from my phone", "answer"])
    first, second = live.inbox.messages
    require(first.from_self and not second.from_self, "`from_self` says that the user wrote it.")
    require(first.sender == live.login.remote, "The sender of an own message is `Login.remote`.")
    require(first.chat == second.chat == live.chat(person), "Both are in the contact's chat.")


async def hangs(case: Case, live: Live) -> None:
    """Wait until a delivery hangs."""
    await case.until(lambda: live.sink.hanging, "Something should have been delivered.")


async def crash(case: Case, live: Live) -> Live:
    """The process dies, and another one connects. The session cannot tell the server."""
    await case.line.refuse()
    await live.close()
    await case.line.mend()
    after = case.again(live.account, live.inbox)
    await after.connect()
    return after


async def exactly(case: Case, inbox: Inbox, expected: list[str]) -> None:
    """Wait until all expected texts are there; nothing else may be, and their order counts."""
    try:
        await case.until(lambda: set(expected) <= set(inbox.texts()), "")
    except Failed:
        missing = [text for text in expected if text not in inbox.texts()]
        raise Failed(f"Lost: {missing[:10]!r}; delivered: {inbox.texts()[-10:]!r}.") from None
    texts = inbox.texts()
    doubled = sorted({text for text in texts if texts.count(text) > 1})
    require(not doubled, f"Doubled, because the ids were not the same: {doubled[:10]!r}.")
    unknown = [text for text in texts if text not in expected]
    require(not unknown, f"Nobody wrote this to the user: {unknown[:10]!r}.")
    require(texts == expected, f"Out of order: {texts!r} instead of {expected!r}.")


CHECKS = (
    many_messages_arrive_in_order,
    what_cannot_be_stored_is_delivered_again,
    a_crash_before_the_commit_loses_nothing,
    a_crash_after_the_commit_doubles_nothing,
    what_was_written_meanwhile_is_delivered,
    a_login_begins_where_it_was_made,
    a_position_leads_back_to_itself,
    a_cut_while_receiving_loses_and_doubles_nothing,
    a_cut_while_the_store_is_down_loses_nothing,
    what_the_bridge_sent_does_not_come_back,
    what_the_user_writes_elsewhere_is_theirs,
)
