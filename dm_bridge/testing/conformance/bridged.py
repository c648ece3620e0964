"""The connector in the whole bridge: what its promises are for.

The rule that must never break: between the network and the homeserver in memory is the bridge's own code.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from dm_bridge.testing.conformance.adapter import Account, Deed, Person
from dm_bridge.testing.conformance.case import Case, Failed, require
from dm_bridge.testing.conformance.deeds import act, declared_of
from dm_bridge.testing.whole_bridge import MatrixUser, WholeBridge


@contextlib.asynccontextmanager
async def bridged(case: Case, account: Account) -> AsyncIterator[tuple[WholeBridge, MatrixUser]]:
    """A bridge, and a user who has logged in with the bot."""
    try:
        async with WholeBridge(case.network, started=True) as bridge:
            user = bridge.user(f"user{case.number()}")
            await user.log_in(*account.answers)
            await bridge.connected()
            yield bridge, user
    except TimeoutError as error:
        raise Failed(str(error)) from error


async def a_chat_is_a_direct_message(case: Case) -> None:
    """A contact who writes gets a room in `m.direct`, and the user's answer; once each, in order, with ghosts."""
    account, person = await case.account(), await case.person()
    contact = case.contact(person)
    async with bridged(case, account) as (bridge, user):
        await person.say(account.address, "question 0")
        room = await user.chat_with(contact)
        ghost = bridge.ghost(contact)
        for number in range(5):
            await bridge.until(
                lambda n=number: (ghost, f"question {n}") in user.sees(room),  # type: ignore[misc]
                f"question {number} is in the room",
            )
            user.say(room, f"answer {number}")
            await bridge.until(
                lambda n=number: f"answer {n}" in [heard.text for heard in person.heard],  # type: ignore[misc]
                f"the contact gets answer {number}",
            )
            await person.say(account.address, f"question {number + 1}")
        await bridge.until(lambda: (ghost, "question 5") in user.sees(room), "the last question")
        require(user.direct == {ghost: [room]}, f"`m.direct` is {user.direct!r}.")
        expected = [
            one for n in range(5) for one in ((ghost, f"question {n}"), (user.id, f"answer {n}"))
        ]
        require(
            user.sees(room) == [*expected, (ghost, "question 5")],
            f"The room should have each message once: {user.sees(room)!r}.",
        )


async def a_user_begins_a_chat(case: Case) -> None:
    """A user who invites the ghost of a contact can write to them; what they answer is in the same room."""
    account, person = await case.account(), await case.person()
    contact = case.contact(person)
    async with bridged(case, account) as (bridge, user):
        room = user.invite(contact)
        require(await user.chat_with(contact) == room, "The chat should be in the user's own room.")
        user.say(room, "Is anybody there?")
        await bridge.until(
            lambda: "Is anybody there?" in [heard.text for heard in person.heard],
            "the contact gets what the user wrote",
        )
        await person.say(account.address, "I am.")
        await bridge.until(
            lambda: (bridge.ghost(contact), "I am.") in user.sees(room),
            "the answer is in the room where the question is: `chat_with` and what arrives name one chat",
        )


async def a_killed_bridge_goes_on(case: Case) -> None:
    """Where `Capabilities.catches_up` is declared: a bridge that is killed now and then loses and doubles none."""
    probe = await case.connected()
    probe.needs("catches_up")
    await probe.close()
    account, person = await case.account(), await case.person()
    contact = case.contact(person)
    expected = [f"number {number}" for number in range(8)]
    async with bridged(case, account) as (bridge, user):
        for number, text in enumerate(expected):
            await person.say(account.address, text)
            if number % 2:
                await bridge.kill()
        room = await user.chat_with(contact)
        await bridge.until(
            lambda: set(expected) <= {text for _, text in user.sees(room)},
            f"all of {expected} are in the room",
        )
        texts = [text for _, text in user.sees(room)]
        require(texts == expected, f"The room has {texts!r} instead of {expected!r}.")
        require(user.direct == {bridge.ghost(contact): [room]}, f"`m.direct` is {user.direct!r}.")


async def what_is_done_to_messages_is_seen_on_both_sides(case: Case) -> None:
    """What is declared of answers, edits, retractions, reactions: a client shows it, and only of its author."""
    probe = await case.connected()
    declared = declared_of(case, probe)
    await probe.close()
    account, person = await case.account(), await case.person()
    contact = case.contact(person)
    async with bridged(case, account) as (bridge, user):
        ghost = bridge.ghost(contact)
        await person.say(account.address, "theirs")
        room = await user.chat_with(contact)
        for text in ("also theirs", "the rest"):
            await person.say(account.address, text)
        user.say(room, "ours")
        await _until_heard(bridge, person, "ours")
        await bridge.until(lambda: len(user.shown(room)) == 4, "four messages are in the room")
        ids = {one.text: one.id for one in user.shown(room)}
        for capability in declared:
            about = "theirs" if capability == "edits" else "ours"
            await act(case, person, account.address, capability, about, "also theirs")
        expected = {
            "replies": (ghost, "an answer", ids["ours"]),
            "edits": (ghost, "changed", None),
        }

        def seen() -> bool:
            there = {(one.sender, one.text, one.answers) for one in user.shown(room)}
            texts = [one.text for one in user.shown(room)]
            reactions = {
                each for one in user.shown(room) if one.text == "ours" for each in one.reactions
            }
            return (
                all(one in there for key, one in expected.items() if key in declared)
                and ("also theirs" not in texts or "retractions" not in declared)
                and ((ghost, "👍\ufe0f") in reactions or "reactions" not in declared)
            )

        await bridge.until(seen, f"the room shows what the contact did: {declared}")
        for capability in declared:
            if capability in ("edits", "retractions"):
                await act(case, person, account.address, capability, "ours", "ours")
        await person.say(account.address, "the end")
        await bridge.until(
            lambda: "the end" in [one.text for one in user.shown(room)], "a message after all that"
        )
        require(
            (user.id, "ours") in [(one.sender, one.text) for one in user.shown(room)],
            "A contact changed what the user wrote, or took it back: an edit or a retraction says who did it.",
        )
        works: dict[str, tuple[Callable[[], object], Deed]] = {
            "replies": (
                lambda: user.reply(room, ids["the rest"], "our answer"),
                Deed(account.address, "reply", "the rest", "our answer"),
            ),
            "reactions": (
                lambda: user.react(room, ids["the rest"], "👍"),
                Deed(account.address, "reactions", "the rest", emojis=("👍",)),
            ),
            "edits": (
                lambda: user.edit(room, ids["ours"], "ours, changed"),
                Deed(account.address, "edit", "ours", "ours, changed"),
            ),
            "retractions": (
                lambda: user.redact(room, ids["ours"]),
                Deed(account.address, "retraction", "ours"),
            ),
        }
        for capability, (work, deed) in works.items():
            if capability in declared:
                work()
                await bridge.until(
                    lambda deed=deed: deed in case.adapter.deeds(person),  # type: ignore[misc]
                    f"the contact's client shows {deed!r}, and not {list(case.adapter.deeds(person))[-3:]!r}",
                )


async def _until_heard(bridge: WholeBridge, person: Person, text: str) -> None:
    await bridge.until(
        lambda: text in [heard.text for heard in person.heard], f"the contact gets {text!r}"
    )


CHECKS = (
    a_chat_is_a_direct_message,
    a_user_begins_a_chat,
    a_killed_bridge_goes_on,
    what_is_done_to_messages_is_seen_on_both_sides,
)
