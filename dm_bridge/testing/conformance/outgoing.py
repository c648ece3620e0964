"""What is sent: in order, once, with an end that is told; and what becomes of it when the connection breaks.

The rule that must never break: a message is sent again as the bridge does it, with the same id, and with
`OutgoingMessage.attempted` as soon as its fate is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace

from dm_bridge.errors import NetworkError
from dm_bridge.network.api import OutgoingMessage
from dm_bridge.network.events import SessionStatus
from dm_bridge.testing.conformance.adapter import NotOffered, Person
from dm_bridge.testing.conformance.case import Case, Failed, Live, require
from dm_bridge.testing.conformance.incoming import crash

QUESTION_SECONDS = 2.0
"""For how long a message is waited for that may be held back by a question to the network."""


async def many_messages_are_sent_in_order(case: Case) -> None:
    """Send what is sent one after the other in that order, each once."""
    live, person = await case.meet()
    expected = [f"number {number}" for number in range(case.adapter.load)]
    for text in expected:
        await live.send(live.message(person, text))
    await hears_exactly(case, person, expected)


async def chats_do_not_wait_for_each_other(case: Case) -> None:
    """Let several chats send at the same time, each in its own order."""
    live = await case.connected()
    people = [await case.person() for _ in range(3)]

    async def talk(person: Person) -> None:
        for number in range(4):
            await live.send(live.message(person, f"to {person.address}: {number}"))

    await asyncio.gather(*(talk(person) for person in people))
    for person in people:
        await hears_exactly(case, person, [f"to {person.address}: {n}" for n in range(4)])


async def sending_waits_for_the_network(case: Case) -> None:
    """While there is no connection, `send` raises in time, with `retry_after` and `certain`; later it succeeds."""
    live, person = await case.meet()
    await case.line.refuse()
    await case.until(
        lambda: live.sink.status is not SessionStatus.CONNECTED,
        "A session whose connection is lost reports it.",
    )
    message = live.message(person, "waits")
    await _waits(live, message)
    await _waits(live, message)
    await case.line.mend()
    await live.send_until_taken(message)
    await hears_exactly(case, person, ["waits"])


async def before_it_connects_a_session_sends_nothing(case: Case) -> None:
    """Before `connect`, `send` raises with `retry_after`, and does not keep the message to send it later."""
    live, person = await case.opened(await case.account()), await case.person()
    await _waits(live, live.message(person, "too early"))
    await live.connect()
    await live.send(live.message(person, "in time"))
    await hears_exactly(case, person, ["in time"])


async def a_cut_while_sending_is_said_honestly(case: Case) -> None:
    """Raise with `certain=False` when a message may have been sent; return only when the network has it."""
    live, person = await case.meet()
    texts = [f"number {number}" for number in range(16)]
    cuts = {2: 0.0, 5: 0.001, 8: 0.003, 11: 0.01, 14: 0.03}
    taken = []
    for number, text in enumerate(texts):
        message = live.message(person, text)
        sending = asyncio.create_task(live.send_until_taken(message))
        if number in cuts:
            await asyncio.sleep(cuts[number])
            await case.line.cut()
        if await sending is not None:
            taken.append(text)
    await case.until(
        lambda: set(taken) <= {one.text for one in person.heard},
        f"`send` returned for {taken!r}, and the contact got {[h.text for h in person.heard]!r}.",
    )
    heard = [one.text for one in person.heard]
    once = list(dict.fromkeys(heard))
    require(once == [text for text in texts if text in once], f"Out of order: {once!r}")
    if live.capabilities.sends_once:
        require(
            heard == once, f"`Capabilities.sends_once` is declared, and some came twice: {heard!r}"
        )


async def a_message_is_looked_for_before_it_is_sent_again(case: Case) -> None:
    """Where `Capabilities.sends_once` is declared: with `attempted`, ask the network first; return the same id."""
    live, person = await case.meet()
    live.needs("sends_once")
    message = live.message(person, "once")
    attempted = time.time()
    first = await live.send(message)
    await live.hears(person, "once")
    after = await crash(case, live)
    second = await after.send(replace(message, attempted=attempted))
    require(first == second, f"The same message had the ids {first!r} and {second!r}.")
    never = replace(after.message(person, "never sent before"), attempted=attempted)
    await after.send(never)
    await hears_exactly(case, person, ["once", "never sent before"])


async def a_message_that_may_have_been_sent_is_not_sent_blindly(case: Case) -> None:
    """Where it is not: send again with the same id, or raise with `certain=False` and without `retry_after`."""
    live, person = await case.meet()
    if live.capabilities.sends_once:
        raise NotOffered("`Capabilities.sends_once` is declared, which is more")
    message = live.message(person, "perhaps twice")
    attempted = time.time()
    await live.send(message)
    await live.hears(person, "perhaps twice")
    after = await crash(case, live)
    try:
        await after.send(replace(message, attempted=attempted))
    except NetworkError as error:
        require(
            not error.certain and error.retry_after is None,
            "Where it cannot be known whether a message arrived, raise with `certain=False`, and without"
            " `retry_after`: trying again does not help.",
        )
    await after.send(after.message(person, "later"))
    await after.hears(person, "later")


async def a_lost_answer_proves_nothing(case: Case) -> None:
    """When the answer is lost, the message may have arrived: `certain=False`; and it is looked for if declared."""
    live, person = await case.meet()
    message = live.message(person, "arrives")
    attempted = time.time()
    await case.line.mute()
    sending = asyncio.create_task(live.send(message))
    with contextlib.suppress(Failed):  # some ask the network for something before they send
        await case.until(lambda: person.heard or sending.done(), "", seconds=QUESTION_SECONDS)
    await case.line.cut()
    await case.line.mend()
    try:
        await sending
    except NetworkError as error:
        require(
            not (error.certain and person.heard),
            f"The contact has the message, and `certain` says that they surely have not: {error}",
        )
        if error.retry_after is not None:
            await live.send_until_taken(replace(message, attempted=attempted))
    await live.send_until_taken(live.message(person, "the next"))
    await live.hears(person, "the next")
    if live.capabilities.sends_once:
        await hears_exactly(case, person, ["arrives", "the next"])


async def sending_while_the_server_sleeps_ends(case: Case) -> None:
    """When the server says nothing any more, `send` raises in time; `certain=False` if the message may arrive."""
    live, person = await case.meet()
    await case.line.hang()
    message = live.message(person, "into the void")
    try:
        await live.send(message)
    except NetworkError as error:
        if not error.certain:
            message = replace(message, attempted=time.time())
    else:
        raise NotOffered("the network tells nobody whether it took a message")
    await case.line.mend()
    taken = await live.send_until_taken(message)
    if taken is not None:
        await live.hears(person, "into the void")
        if live.capabilities.sends_once:
            await hears_exactly(case, person, ["into the void"])


async def a_send_that_is_given_up_harms_no_other(case: Case) -> None:
    """When the task that sends is cancelled, the session goes on, and the same message can be sent again."""
    live, person = await case.meet()
    await case.line.hang()
    message = live.message(person, "given up")
    sending = asyncio.create_task(live.session.send(message))
    await asyncio.sleep(0.05)
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError, NetworkError):
        async with asyncio.timeout(case.adapter.patience):
            await sending
    await case.line.mend()
    taken = await live.send_until_taken(replace(message, attempted=time.time()))
    await live.send_until_taken(live.message(person, "the next"))
    await live.hears(person, "the next")
    if taken is not None and live.capabilities.sends_once:
        await hears_exactly(case, person, ["given up", "the next"])


async def what_cannot_be_delivered_is_told(case: Case) -> None:
    """Tell that an address takes no messages: raise without `retry_after`, or deliver a `RemoteFailure` later."""
    if case.adapter.nobody is None:
        raise NotOffered("the adapter knows no address that takes no messages")
    live, person = await case.meet()
    contact = case.network.parse_contact(case.adapter.nobody)
    message = replace(live.message(person, "hello?"), chat=live.session.chat_with(contact))
    try:
        sent = await live.send(message)
    except NetworkError as error:
        require(error.retry_after is None, f"This is tried again, and never succeeds: {error}")
    else:
        live.needs("late_failures")
        await case.until(
            lambda: live.inbox.failures,
            "A `RemoteFailure` should have said that nobody got the message.",
        )
        failure = live.inbox.failures[0]
        require(
            (failure.chat, failure.message) == (message.chat, sent),
            f"The failure is about {failure.message!r} in {failure.chat!r}; what `send` returned is {sent!r},"
            f" in {message.chat!r}.",
        )
    await live.send(live.message(person, "still here"))
    await live.hears(person, "still here")


async def _waits(live: Live, message: OutgoingMessage) -> None:
    try:
        await live.send(message)
    except NetworkError as error:
        require(
            error.retry_after is not None and error.certain,
            "What was not sent, because there is no connection, can be sent later: raise with `retry_after`, and"
            f" with `certain`, not like this: {error}",
        )
    else:
        require(False, "`Session.send` returned, although there is no connection.")


async def hears_exactly(case: Case, person: Person, expected: list[str]) -> None:
    """Wait until somebody has heard all of this; then nothing else, in this order."""
    await case.until(
        lambda: set(expected) <= {one.text for one in person.heard},
        f"The contact should have got {expected[-5:]!r}; they got {[h.text for h in person.heard][-5:]!r}.",
    )
    heard = [one.text for one in person.heard]
    doubled = sorted({text for text in heard if heard.count(text) > 1})
    require(not doubled, f"The contact got twice: {doubled!r}.")
    require(heard == expected, f"The contact got {heard!r} instead of {expected!r}.")


CHECKS = (
    many_messages_are_sent_in_order,
    chats_do_not_wait_for_each_other,
    sending_waits_for_the_network,
    before_it_connects_a_session_sends_nothing,
    a_cut_while_sending_is_said_honestly,
    a_message_is_looked_for_before_it_is_sent_again,
    a_message_that_may_have_been_sent_is_not_sent_blindly,
    a_lost_answer_proves_nothing,
    sending_while_the_server_sleeps_ends,
    a_send_that_is_given_up_harms_no_other,
    what_cannot_be_delivered_is_told,
)
