"""Texts both ways: every character, every length, formatting; and that a text can be nothing but a text.

The rule that must never break: a text is compared whole; only where a network has no long texts, or no lines,
may it be in parts.
"""

from __future__ import annotations

import time

from dm_bridge.errors import NetworkError
from dm_bridge.network.events import SessionStatus, Text
from dm_bridge.testing.conformance.adapter import NotOffered, Person
from dm_bridge.testing.conformance.case import Case, Live, require

SHORT = (
    "hello",
    "Grüße, 日本語, Ελληνικά, עברית",
    "👋🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇺🇳",
    "a <b>tag</b> & an &amp; entity, 'quotes' \"and\" more",
    ": a colon, / a slash, ! a mark, \\ a backslash, % a percent sign",
    "zero\u200bwidth, bidi \u202eoverride\u202c, no\u00a0break, \ufffd",
)
LINES = "first line\nsecond line\n\nafter an empty line\n    indented"
HOSTILE = (
    "before\0after",
    "before\x01\x02\x03\x1b[31m\x7fafter",
    "before\r\nafter",
    "before\rafter",
    "before\x85after",
    "before\u2028after\u2029",
    "before\ud800after",
    "before\uffff\U0010ffffafter",
    "before</body></message><message><body>after",
    "before]]><!DOCTYPE x [<!ENTITY y 'z'>]>after",
)
EMPTY = ("", " ", "\n", "\t\r\n ")
LONG = 20_000


def joined(texts: list[str]) -> str:
    """Texts without their blanks, which may be lost where a text is split."""
    return "".join("".join(texts).split())


async def what_a_contact_writes_is_delivered_as_it_is(case: Case) -> None:
    """Deliver each text of a contact unchanged, in their chat, with them as the sender and `from_self` False."""
    live, person = await case.meet()
    for text in SHORT:
        await person.say(live.account.address, text)
        await live.arrives(text)
    for message in live.inbox.messages:
        require(
            message.chat == live.chat(person),
            f"`RemoteMessage.chat` is {message.chat!r}, and `Session.chat_with` says {live.chat(person)!r}.",
        )
        require(
            message.sender == case.contact(person),
            f"`RemoteMessage.sender` is {message.sender!r}, and `Network.parse_contact` makes"
            f" {case.contact(person)!r} of their address: one contact has one id.",
        )
        require(not message.from_self, "`from_self` is for what the user wrote, not a contact.")
        require(
            message.sent_at is None or abs(message.sent_at - time.time()) < 300,
            "`sent_at` is in seconds since the epoch, or None.",
        )
    require(
        case.network.contact_of(live.chat(person)) == case.contact(person),
        "`Network.contact_of` is the reverse of `Session.chat_with`.",
    )


async def what_is_sent_reaches_the_contact_as_it_is(case: Case) -> None:
    """Send each text unchanged, once, as the user of the login."""
    live, person = await case.meet()
    for text in SHORT:
        await live.send(live.message(person, text))
        await live.hears(person, text)
    heard = [one.text for one in person.heard]
    require(heard == list(SHORT), f"The contact should have got each text once: {heard!r}")
    senders = {one.sender for one in person.heard}
    require(senders == {live.account.address}, f"The contact sees {senders} as the sender.")


async def lines_stay_lines(case: Case) -> None:
    """Carry a text of several lines: as one message where `Capabilities.lines` is declared, else as several."""
    live, person = await case.meet()
    await live.send(live.message(person, LINES))
    await person.say(live.account.address, LINES)
    if live.capabilities.lines:
        await live.hears(person, LINES)
        await live.arrives(LINES)
        return
    await in_parts(case, person, LINES)
    await case.until(
        lambda: joined(live.inbox.texts()) == joined([LINES]),
        f"All lines should have been delivered, in order; what was is {live.inbox.texts()!r}.",
    )
    require(
        not any("\n" in one.text or "\r" in one.text for one in person.heard),
        "On a network without lines, a text goes out line by line.",
    )


async def a_long_text_arrives_whole(case: Case) -> None:
    """Carry a text up to `Capabilities.largest_text`; split, or refuse with a sentence, what is longer."""
    live, person = await case.meet()
    word = "long ünïcödé 👋🏽 "
    if live.capabilities.lines:
        most = min(live.capabilities.largest_text or LONG, LONG)
        text = (
            (word * (most // len(word.encode()) + 1))
            .encode()[:most]
            .decode(errors="ignore")
            .strip()
        )
        await live.send(live.message(person, text))
        await live.hears(person, text)
        await person.say(live.account.address, text)
        await live.arrives(text)
    most = 3 * (live.capabilities.largest_text or 500)
    text = (word * (most // len(word.encode()))).strip()
    before = len(person.heard)
    try:
        await live.send(live.message(person, text))
    except NetworkError as error:
        require(
            error.retry_after is None and error.certain,
            "A text that is too long stays so: raise without `retry_after`, and with `certain`.",
        )
    else:
        await in_parts(case, person, text, before)


async def in_parts(case: Case, person: Person, text: str, before: int = 0) -> None:
    """Wait until somebody has got a text, in as many parts as it takes."""
    await case.until(
        lambda: joined([one.text for one in person.heard[before:]]) == joined([text]),
        f"The contact should have got the whole of a text of {len(text)} characters, in order, and no character"
        f" broken; they got {[one.text for one in person.heard[before:]]!r}"[:2000],
    )


async def a_hostile_text_stays_a_text(case: Case) -> None:
    """Encode what you send: no text ends the message, the connection, or becomes a command of the protocol."""
    live, person, bystander = await case.connected(), await case.person(), await case.person()
    for number, text in enumerate((*HOSTILE, *case.adapter.hostile)):
        text = text.replace("{bystander}", bystander.address)
        before = len(person.heard)
        taken = await _is_taken(live, person, text)
        await _is_alive(live, person, f"plain {number}")
        got = [one.text for one in person.heard[before:-1]]
        if taken:
            words = [word for word in ("before", "after") if word in text]
            require(
                all(word in "\n".join(got) for word in words),
                f"Of {text!r} the harmless parts should have arrived; what did is {got!r}.",
            )
    require(not bystander.heard, f"A text became a message to somebody else: {bystander.heard!r}")
    require(
        live.sink.status is SessionStatus.CONNECTED and len(live.sink.states) <= 2,
        f"A text broke the connection: {[state.status.name for state in live.sink.states]}",
    )


async def an_empty_text_does_no_harm(case: Case) -> None:
    """Send an empty text, or refuse it with a `NetworkError` without `retry_after`; go on with the next."""
    live, person = await case.meet()
    for number, text in enumerate(EMPTY):
        await _is_taken(live, person, text)
        await _is_alive(live, person, f"plain {number}")
    require(len(live.sink.states) <= 2, "An empty text broke the connection.")


async def formatting_is_carried(case: Case) -> None:
    """Where `Capabilities.formatting` is declared: bold is `<strong>` or `<b>` in `Text.html`, both ways."""
    live, person = await case.meet()
    live.needs("formatting")
    bold = case.adapter.bold("brave")
    if bold is None:
        raise NotOffered("the adapter knows no bold text")
    text = Text("the brave knight", "the <strong>brave</strong> knight")
    await live.send(live.message(person, text))
    await live.hears(person, f"the {bold} knight")
    await person.say(live.account.address, f"a {bold} squire")
    await case.until(lambda: live.inbox.messages, "A text with formatting should be delivered.")
    content = live.inbox.messages[0].content
    require(
        content.html is not None
        and any(f"<{tag}>brave</{tag}>" in content.html for tag in ("b", "strong")),
        f"`Text.html` should show bold; it is {content.html!r}.",
    )
    require("<" not in content.body, "`Text.body` is plain text.")


async def emotes_are_carried(case: Case) -> None:
    """Where the network has them: `Text.emote` is a /me message, both ways, without the `/me` in the body."""
    wire = case.adapter.emote("waves")
    if wire is None:
        raise NotOffered("the adapter knows no emotes")
    live, person = await case.meet()
    await live.send(live.message(person, Text("waves", emote=True)))
    await live.hears(person, wire)
    await person.say(live.account.address, wire)
    await live.arrives("waves")
    require(live.inbox.messages[0].content.emote, "`Text.emote` should be set.")


async def _is_taken(live: Live, person: Person, text: str) -> bool:
    try:
        await live.send(live.message(person, text))
    except NetworkError as error:
        require(
            error.retry_after is None and error.certain,
            f"{text!r} can never be sent: raise without `retry_after`, and with `certain`.",
        )
        return False
    return True


async def _is_alive(live: Live, person: Person, text: str) -> None:
    """A text after a strange one arrives in both directions."""
    await live.send(live.message(person, text))
    await live.hears(person, text)
    await person.say(live.account.address, text)
    await live.arrives(text)


CHECKS = (
    what_a_contact_writes_is_delivered_as_it_is,
    what_is_sent_reaches_the_contact_as_it_is,
    lines_stay_lines,
    a_long_text_arrives_whole,
    a_hostile_text_stays_a_text,
    an_empty_text_does_no_harm,
    formatting_is_carried,
    emotes_are_carried,
)
