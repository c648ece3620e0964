"""What people do to messages: answers, edits, retractions, reactions; each where it is declared, both ways.

The rule that must never break: which message is meant is compared by its reference, and never guessed from a text.
"""

from __future__ import annotations

import contextlib
import copy
import time
from dataclasses import replace

from dm_bridge.errors import NetworkError
from dm_bridge.ids import RemoteId
from dm_bridge.network.abilities import (
    OutgoingEdit,
    OutgoingRetraction,
    Reference,
)
from dm_bridge.network.events import (
    RemoteEdit,
    RemoteReactions,
    RemoteRetraction,
    SessionStatus,
    Text,
    Written,
)
from dm_bridge.testing.conformance.adapter import Deed, NotOffered
from dm_bridge.testing.conformance.case import Case, require
from dm_bridge.testing.conformance.deeds import (
    METHODS,
    act,
    as_shown,
    declared_of,
    declaring,
    events_of,
    is_from,
    is_taken_or_refused,
    next_of,
    own_deed,
    reactions_now,
    reference,
    sees,
    standing,
    talk,
)
from dm_bridge.testing.conformance.incoming import crash

SETS = (("👍",), ("👍", "❤️"), ("❤️",), ())
"""Reactions, one after the other: another one, one less, none any more."""
HOSTILE_IDS = (
    "nobody said this",
    "a;b=c\\d:e %s",
    "'/><message to='{bystander}'><body>injected</body></message><x id='",
    "before\r\nPRIVMSG {bystander} :injected\r\nafter",
    "before\0after",
    "before\ud800after",
    "👋🏽",
    "x" * 10_000,
)


async def answers_are_carried(case: Case) -> None:
    """Where `Capabilities.replies` is declared: `reply_to` is the reference, both ways; a text has no quote."""
    live, person = await declaring(case, "replies")
    theirs, ours = await talk(live, person)
    for about in (theirs, ours):
        text = f"an answer to {about.text}"
        await case.adapter.reply(person, live.account.address, about.text, text)
        await live.arrives(text)
        answer = live.inbox.messages[-1]
        require(
            answer.reply_to == about.id,
            f"The contact answers {about.text!r}, whose reference is {about.id!r}; `reply_to` is"
            f" {answer.reply_to!r}.",
        )
    for about in (theirs, ours):
        text = f"our answer to {about.text}"
        await live.send(replace(live.message(person, text), reply_to=about))
        await sees(case, live, person, Deed("", "reply", about.text, text))


async def edits_are_carried(case: Case) -> None:
    """Where `Capabilities.edits` is declared: `RemoteEdit` with an id of its own, the target, and all the text."""
    live, person = await declaring(case, "edits")
    theirs, ours = await talk(live, person)
    targets, ids = {theirs.id}, {theirs.id}
    for number, text in enumerate(("changed once", "changed *twice*, & <more>")):
        await case.adapter.edit(person, live.account.address, theirs.text, text)
        edit = await next_of(live, RemoteEdit, number + 1)
        is_from(case, live, person, edit)
        require(
            edit.target in targets,
            f"`RemoteEdit.target` is {edit.target!r}, and the message's reference is {theirs.id!r}.",
        )
        require(edit.id not in ids, "An edit has an id of its own; else it is dropped as a copy.")
        said = edit.content.html if text not in edit.content.body else edit.content.body
        require(
            said and "changed" in said,
            f"The text is {text!r} now; the edit says {edit.content!r}.",
        )
        targets.add(edit.reference or edit.id)
        ids.add(edit.id)
    require(
        not [text for text in live.inbox.texts() if "changed" in text],
        f"What is delivered as an edit is no message besides: {live.inbox.texts()!r}.",
    )
    for text in ("ours, changed once", "ours, changed twice"):
        sent = await live.send(OutgoingEdit(live.chat(person), live.new_id(), ours, Text(text)))
        require(sent != ours.id, "`Session.edit` returns the id of the edit, not of the message.")
        await sees(case, live, person, Deed("", "edit", ours.text, text))


async def retractions_are_carried(case: Case) -> None:
    """Where `Capabilities.retractions` is declared: `RemoteRetraction` names the message, and is none itself."""
    live, person = await declaring(case, "retractions")
    theirs, ours = await talk(live, person)
    before = live.inbox.texts()
    await case.adapter.retract(person, live.account.address, theirs.text)
    retraction = await next_of(live, RemoteRetraction)
    is_from(case, live, person, retraction)
    require(
        retraction.target == theirs.id,
        f"`RemoteRetraction.target` is {retraction.target!r}, and the message's reference is {theirs.id!r}.",
    )
    require(
        live.inbox.texts() == before,
        f"What is said to clients that know no retractions is no message: {live.inbox.texts()!r}.",
    )
    await live.send(OutgoingRetraction(live.chat(person), live.new_id(), ours))
    await sees(case, live, person, Deed("", "retraction", ours.text))


async def reactions_are_carried(case: Case) -> None:
    """Where `Capabilities.reactions` is declared: several to a message, of whichever author; they come and go."""
    live, person = await declaring(case, "reactions")
    for about in await talk(live, person):
        for emojis in SETS:
            await case.adapter.react(person, live.account.address, about.text, emojis)
            await case.until(
                lambda about=about, emojis=emojis: standing(live, about.id) == set(emojis),  # type: ignore[misc]
                f"The contact reacts to {about.text!r}, whose reference is {about.id!r}, with {emojis!r} and"
                f" nothing else; by the events it is otherwise: {events_of(live, RemoteReactions)!r}.",
            )
        for reaction in events_of(live, RemoteReactions):
            is_from(case, live, person, reaction)
        had: tuple[str, ...] = ()
        for emojis in SETS:
            await live.send(reactions_now(live, person, about, emojis, had))
            await sees(case, live, person, Deed("", "reactions", about.text, emojis=emojis))
            had = emojis


async def what_is_done_to_messages_meanwhile_is_delivered(case: Case) -> None:
    """Where `Capabilities.catches_up` is declared: once, in order; copies from the record keep their ids."""
    live, person = await case.meet()
    live.needs("catches_up")
    declared = declared_of(case, live)
    address = live.account.address
    await person.say(address, "theirs")
    await live.arrives("theirs")
    place = copy.deepcopy(live.inbox.position)
    await live.close()
    await person.say(address, "also theirs")
    for capability in declared:
        await act(case, person, address, capability, "theirs", "also theirs")
    after = case.again(live.account, live.inbox)
    await after.connect()
    await person.say(address, "the end")
    await after.arrives("the end")
    expected = len(declared) + 3
    done = [event for event in after.inbox.events if isinstance(event, Written)]
    require(
        len(done) == expected and done[-1] == after.inbox.messages[-1],
        f"This was done while nobody was connected, in order: a message, {', '.join(declared)}; delivered was"
        f" {done[1:]!r}."[:3000],
    )
    last = await crash(case, after)
    await last.close()
    last.inbox.position = place
    again = case.again(last.account, last.inbox)
    await again.connect()
    await person.say(address, "after the end")
    await again.arrives("after the end")
    doubled = again.inbox.events[len(after.inbox.events) - 1 : -1]
    seen = [event for event in again.inbox.events if isinstance(event, Written)]
    require(
        len(seen) == expected + 1,
        f"A session that begins at an earlier position brings copies, with the same ids; new were {doubled!r}."[
            :3000
        ],
    )


async def what_the_bridge_does_to_messages_does_not_come_back(case: Case) -> None:
    """Do not deliver what the session itself did to a message, not live, and not from a record."""
    live, person = await case.meet()
    declared = declared_of(case, live)
    theirs, ours = await talk(live, person)
    for capability in declared:
        await live.send(own_deed(live, person, capability, theirs, ours))
    await person.say(live.account.address, "answer")
    await live.arrives("answer")
    after = await crash(case, live)
    await person.say(live.account.address, "again")
    await after.arrives("again")
    mine = [event for event in after.inbox.events if isinstance(event, Written) and event.from_self]
    others = [event for event in after.inbox.events if not isinstance(event, Written)]
    require(not mine and not others, f"The bridge did this itself: {mine + others!r}.")
    require(
        after.inbox.texts() == [theirs.text, "answer", "again"],
        f"Nobody wrote this to the user: {after.inbox.texts()!r}.",
    )


async def what_is_done_to_messages_is_done_once(case: Case) -> None:
    """With `attempted`, ask the network first where `sends_once` is declared; else raise, or do no harm."""
    live, person = await case.meet()
    declared = declared_of(case, live)
    theirs, ours = await talk(live, person)
    begun = time.time()
    done = [own_deed(live, person, capability, theirs, ours) for capability in declared]
    ids = [await live.send(what) for what in done]
    expected = [as_shown(what) for what in done]
    for deed in expected:
        await sees(case, live, person, deed)
    after = await crash(case, live)
    for what, sent in zip(done, ids, strict=True):
        try:
            again = await after.send(replace(what, attempted=begun))
        except NetworkError as error:
            require(
                not error.certain and error.retry_after is None,
                "Where it cannot be known whether something was done, raise with `certain=False`, and without"
                f" `retry_after`; not like this: {error}",
            )
            require(
                not live.capabilities.sends_once,
                f"`Capabilities.sends_once` is declared, and this was not found: {error}",
            )
        else:
            require(
                again == sent or not live.capabilities.sends_once,
                f"The same thing had the ids {sent!r} and {again!r}.",
            )
    await after.send(after.message(person, "the end"))
    await after.hears(person, "the end")
    if live.capabilities.sends_once:
        seen = [replace(deed, sender="") for deed in case.adapter.deeds(person)]
        doubled = [deed for deed in expected if seen.count(deed) > 1]
        require(not doubled, f"The contact's client was told twice of {doubled!r}.")


async def what_the_user_does_elsewhere_to_messages_is_theirs(case: Case) -> None:
    """Where `Capabilities.own_messages` is declared: with `from_self`, in the contact's chat."""
    live, person = await case.meet()
    live.needs("own_messages")
    declared = declared_of(case, live)
    device = await case.device(live.account)
    await person.say(live.account.address, "theirs")
    await live.arrives("theirs")
    await live.hears(device, "theirs")
    for text in ("mine", "also mine"):
        await device.say(person.address, text)
        await live.arrives(text)
    targets = {reference(live, text) for text in ("theirs", "mine", "also mine")}
    before = len(live.inbox.events)
    for capability in declared:
        await act(case, device, person.address, capability, "mine", "also mine")
    await device.say(person.address, "the end")
    await live.arrives("the end")
    done = [event for event in live.inbox.events[before:-1] if isinstance(event, Written)]
    require(
        len(done) == len(declared),
        f"The user has done, with another device: {', '.join(declared)}; delivered was {done!r}."[
            :3000
        ],
    )
    for event in done:
        require(
            event.from_self and event.sender == live.login.remote,
            "What the user does has `from_self`, and `Login.remote` as its sender; not like this:"
            f" {event!r}.",
        )
        require(
            event.chat == live.chat(person),
            f"The user did this in the chat {live.chat(person)!r}: {event!r}.",
        )
        target = getattr(event, "target", None) or getattr(event, "reply_to", None)
        require(
            target in targets, f"None of the messages ({targets!r}) has this target: {event!r}."
        )


async def who_is_not_the_author_is_not_taken_for_them(case: Case) -> None:
    """An edit or a retraction by somebody else says so: `sender` and `from_self` are of who sent it."""
    live, person = await case.meet()
    declared = [each for each in declared_of(case, live) if each in ("edits", "retractions")]
    if not declared:
        raise NotOffered("neither edits nor retractions are declared")
    _, ours = await talk(live, person)
    before = len(live.inbox.events)
    for capability in declared:
        await act(case, person, live.account.address, capability, ours.text, ours.text)
    await person.say(live.account.address, "the end")
    await live.arrives("the end")
    for event in live.inbox.events[before:]:
        require(isinstance(event, Written), f"Nothing else happened than: {event!r}")
        assert isinstance(event, Written)
        is_from(case, live, person, event)


async def hostile_references_do_no_harm(case: Case) -> None:
    """Encode references and emojis: none ends a line or a stanza. What cannot be sent is refused for good."""
    live, person, bystander = *await case.meet(), await case.person()
    declared = declared_of(case, live)
    theirs, _ = await talk(live, person)
    for number, hostile in enumerate((*HOSTILE_IDS, *case.adapter.hostile)):
        hostile = hostile.replace("{bystander}", bystander.address)
        for capability in declared:
            bad = Reference(RemoteId(hostile), True, hostile)
            await is_taken_or_refused(live, own_deed(live, person, capability, bad, bad))
            if capability == "reactions":
                await is_taken_or_refused(live, reactions_now(live, person, theirs, (hostile,)))
            with contextlib.suppress(NotOffered):
                await act(case, person, live.account.address, capability, hostile, hostile)
        await live.send(live.message(person, f"out {number}"))
        await live.hears(person, f"out {number}")
        await person.say(live.account.address, f"in {number}")
        await live.arrives(f"in {number}")
    require(
        not [heard for heard in bystander.heard if heard.sender != person.address],
        f"A reference became a message to somebody else: {bystander.heard!r}",
    )
    require(
        live.sink.status is SessionStatus.CONNECTED and len(live.sink.states) <= 2,
        f"A reference broke the connection: {[state.status.name for state in live.sink.states]}",
    )


async def what_is_not_declared_does_no_harm(case: Case) -> None:
    """Without a capability: `reply_to` is passed over; what contacts do arrives as a text, or not at all."""
    live, person = await case.meet()
    able = live.capabilities
    unknown = [each for each in METHODS if not getattr(able, each)]
    if not unknown:
        raise NotOffered("replies, edits, retractions and reactions are all declared")
    theirs, _ = await talk(live, person)
    if "replies" in unknown:
        await live.send(replace(live.message(person, "an answer"), reply_to=theirs))
        await live.hears(person, "an answer")
    before = len(live.inbox.events)
    for capability in unknown:
        with contextlib.suppress(NotOffered):
            await act(case, person, live.account.address, capability, theirs.text, theirs.text)
    await person.say(live.account.address, "the end")
    await live.arrives("the end")
    for event in live.inbox.events[before:]:
        require(isinstance(event, Written), f"Nothing else happened than: {event!r}")
        assert isinstance(event, Written)
        is_from(case, live, person, event)
        target = getattr(event, "target", theirs.id)
        require(target == theirs.id, f"No message has this target: {event!r}.")
        content = getattr(event, "content", None)
        require(content is None or content.body.strip(), f"This says nothing: {event!r}.")


CHECKS = (
    answers_are_carried,
    edits_are_carried,
    retractions_are_carried,
    reactions_are_carried,
    what_is_done_to_messages_meanwhile_is_delivered,
    what_the_bridge_does_to_messages_does_not_come_back,
    what_is_done_to_messages_is_done_once,
    what_the_user_does_elsewhere_to_messages_is_theirs,
    who_is_not_the_author_is_not_taken_for_them,
    hostile_references_do_no_harm,
    what_is_not_declared_does_no_harm,
)
