"""The connector in the whole bridge: what its promises are for.

The rule that must never break: between the network and the homeserver in memory is the bridge's own code.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from dm_bridge.testing.conformance.adapter import Account
from dm_bridge.testing.conformance.case import Case, Failed, require
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


CHECKS = (a_chat_is_a_direct_message, a_user_begins_a_chat, a_killed_bridge_goes_on)
