"""What becomes of the rooms of chats, on real servers: upgrades, departures, third people, logouts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from dm_bridge.errors import HomeserverError
from dm_bridge.testing.matrix_client import MatrixUser
from dm_bridge.testing.prosody import Prosody
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace
from tests.e2e.pairs import PASSWORD, Pair, ask, ghost_direct, ghost_of, invite_of, pair, unique
from tests.e2e.test_less_access import invited_to, unknown_accounts

FUNCTIONAL_MEMBERS = "io.element.functional_members"


async def eventually(
    condition: Callable[[], Awaitable[object]], what: str, timeout: float = 60.0
) -> None:
    """Return once ``condition`` holds."""
    try:
        async with asyncio.timeout(timeout):
            while not await condition():  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"in vain: {what}") from None


async def marked(user: MatrixUser, ghost: str) -> list[str]:
    """The rooms under ``ghost`` in the user's m.direct."""
    return list((await user.m_direct() or {}).get(ghost, []))


async def until_marked(
    p: Pair, *rooms: str, ghost: str | None = None, timeout: float = 60.0
) -> None:
    """Wait until exactly ``rooms`` are marked, for alice and in the ghost's own document."""
    ghost = ghost or p.ghost

    seen: list[list[str]] = []

    async def both() -> bool:
        theirs = (await ghost_direct(p.stack, ghost)).get(p.alice.user_id, [])
        seen[:] = [sorted(await marked(p.alice, ghost)), sorted(theirs)]
        return seen == [sorted(rooms)] * 2

    try:
        await eventually(both, "the marks", timeout)
    except AssertionError:
        raise AssertionError(f"{ghost} should have {rooms}, and not {seen}") from None


async def until_gone(user: MatrixUser, room: str, other: str) -> None:
    """Wait until ``other`` is not in the room, nor invited."""

    async def gone() -> bool:
        return (await members(user, room)).get(other) not in ("join", "invite")

    await eventually(gone, f"{other} leaves")


async def members(user: MatrixUser, room: str) -> dict[str, str]:
    """Who is in ``room``, or was: user id to membership."""
    return {
        event["state_key"]: event["content"]["membership"]
        for event in await user.state(room)
        if event["type"] == "m.room.member"
    }


async def upgrade(user: MatrixUser, room: str) -> str:
    """Upgrade a room to the version that it has; the new room."""
    create = await user.state_content(room, "m.room.create") or {}
    version = create["room_version"]
    answer = await user.request("POST", f"v3/rooms/{quote(room)}/upgrade", {"new_version": version})
    return str(answer["replacement_room"])


async def in_the_room(user: MatrixUser, room: str, other: str) -> None:
    """Wait until ``other`` has joined."""

    async def there() -> bool:
        return (await members(user, room)).get(other) == "join"

    await eventually(there, f"{other} joins")


async def bodies(user: MatrixUser, room: str, sender: str) -> list[str]:
    """What ``sender`` wrote in ``room``, without notices."""
    return [
        event["content"]["body"]
        for event in await user.messages(room)
        if event["sender"] == sender and event["content"].get("msgtype") == "m.text"
    ]


async def says(p: Pair, text: str) -> str:
    """Juliet writes; the room in which alice reads it."""
    mark = p.alice.mark()
    p.juliet.send(p.romeo, text)
    return (await p.alice.wait_for_text(text, after=mark)).room_id


async def kick(user: MatrixUser, room: str, other: str, how: str = "kick") -> None:
    await user.request("POST", f"v3/rooms/{quote(room)}/{how}", {"user_id": other})


# -- upgrades


@pytest.mark.both_room_versions
async def test_an_upgraded_chat_goes_on_in_the_new_room_and_is_marked_there_alone(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        old = await p.first_chat()
        await until_marked(p, old)
        new = await upgrade(p.alice, old)
        await in_the_room(p.alice, new, p.ghost)
        await until_marked(p, new)
        assert await says(p, "in the new one") == new
        await p.alice.send_text(new, "and back")
        await p.juliet.wait_for_text("and back")
        info = [e for e in await p.alice.state(new) if e["type"] == "m.bridge"]
        assert [e["content"]["channel"]["id"] for e in info] == [p.juliet.bare_jid]
        invite = invite_of_ghost(await p.alice.messages(new), p.ghost)
        assert invite["is_direct"] is True


def invite_of_ghost(events: list[dict[str, Any]], ghost: str) -> dict[str, Any]:
    return next(
        dict(e["content"])
        for e in events
        if e.get("state_key") == ghost and e["content"]["membership"] == "invite"
    )


async def test_a_client_that_invites_the_contact_itself_after_an_upgrade_is_no_trouble(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        old = await p.first_chat()
        new = await upgrade(p.alice, old)
        with contextlib.suppress(HomeserverError):  # the bridge may have been first
            await p.alice.invite(new, p.ghost)
        await in_the_room(p.alice, new, p.ghost)
        await until_marked(p, new)
        assert await says(p, "here") == new


@pytest.mark.both_room_versions
async def test_what_is_written_in_either_room_during_an_upgrade_arrives_exactly_once(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        old = await p.first_chat()
        for n in range(10):
            p.juliet.send(p.romeo, f"in {n}")
        new = await upgrade(p.alice, old)
        for n in range(5):
            await p.alice.send_text(new, f"out {n}")
            await p.alice.send_text(old, f"late {n}")
        for n in range(10, 20):
            p.juliet.send(p.romeo, f"in {n}")
        await p.alice.wait_for_text("in 19")
        await p.juliet.wait_for_text("out 4")
        await p.juliet.wait_for_text("late 4")
        await asyncio.sleep(1)
        sent = [r.body for r in p.juliet.received]
        assert sorted(sent) == sorted([f"{w} {n}" for w in ("out", "late") for n in range(5)])
        assert [body for body in sent if body.startswith("late")] == [f"late {n}" for n in range(5)]
        assert [body for body in sent if body.startswith("out")] == [f"out {n}" for n in range(5)]
        came = await bodies(p.alice, old, p.ghost) + await bodies(p.alice, new, p.ghost)
        assert came == ["hello", *(f"in {n}" for n in range(20))]
        assert await says(p, "at last") == new


async def test_an_upgrade_while_the_bridge_is_down_is_followed_when_it_is_back(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        old = await p.first_chat()
        await until_marked(p, old)
        await stack.bridge.kill()
        try:
            new = await upgrade(p.alice, old)
            await p.alice.send_text(new, "are you there?")
            p.juliet.send(p.romeo, "I was away")
        finally:
            await stack.bridge.run()
        await p.alice.wait_for_text("I was away", timeout=60)
        await in_the_room(p.alice, new, p.ghost)
        await p.juliet.wait_for_text("are you there?", timeout=60)
        await until_marked(
            p, new, timeout=90
        )  # the killed process still holds the account for a while
        assert await says(p, "here") == new
        assert [r.body for r in p.juliet.received] == ["are you there?"]


async def test_a_room_upgraded_twice_in_a_row_is_followed_to_its_end(stack: Stack) -> None:
    async with pair(stack) as p:
        first = await p.first_chat()
        second = await upgrade(p.alice, first)
        third = await upgrade(p.alice, second)
        await in_the_room(p.alice, third, p.ghost)
        await until_marked(p, third)
        assert await says(p, "here") == third


async def test_a_user_who_does_not_want_a_chat_direct_is_heeded_after_an_upgrade(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        old = await p.first_chat()
        await until_marked(p, old)
        document = await p.alice.m_direct() or {}
        document.pop(p.ghost)
        await p.alice.set_m_direct(document)
        await asyncio.sleep(1)
        new = await upgrade(p.alice, old)
        assert await says(p, "here") == new
        await asyncio.sleep(2)
        assert await marked(p.alice, p.ghost) == []


@pytest.mark.both_room_versions
async def test_a_tombstone_of_somebody_else_moves_nothing(stack: Stack) -> None:
    async with pair(stack) as p, stack.matrix_user(f"mallory-{unique(stack)}") as mallory:
        old = await p.first_chat()
        await let_in(p, old, mallory, power=True)
        trap = await mallory.create_room(
            invite=[p.ghost, p.alice.user_id],
            creation_content={"predecessor": {"room_id": old}},
        )
        mark = p.alice.mark()
        await mallory.send_state(
            old, "m.room.tombstone", {"body": "come", "replacement_room": trap}
        )
        await p.alice.wait_for(
            lambda s: s.room_id == old and "stays here" in (s.body or ""), after=mark
        )
        assert await says(p, "still here") == old
        await p.alice.send_text(old, "me too")
        await p.juliet.wait_for_text("me too")
        await until_gone(mallory, trap, p.ghost)


async def test_a_tombstone_that_leads_to_a_room_of_somebody_else_moves_nothing(
    stack: Stack,
) -> None:
    """The user is made to name a room that an attacker prepared."""
    async with pair(stack) as p, stack.matrix_user(f"mallory-{unique(stack)}") as mallory:
        old = await p.first_chat()
        trap = await mallory.create_room(
            invite=[p.ghost, p.alice.user_id],
            creation_content={"predecessor": {"room_id": old}},
        )
        await p.alice.join(trap)
        mark = p.alice.mark()
        await p.alice.send_state(
            old, "m.room.tombstone", {"body": "come", "replacement_room": trap}
        )
        await p.alice.wait_for(
            lambda s: s.room_id == old and "stays here" in (s.body or ""), after=mark
        )
        assert await says(p, "still here") == old
        await until_gone(mallory, trap, p.ghost)


async def test_a_room_that_does_not_name_the_old_one_takes_over_nothing(stack: Stack) -> None:
    async with pair(stack) as p:
        old = await p.first_chat()
        other = await p.alice.create_room(name="something else")
        mark = p.alice.mark()
        await p.alice.send_state(
            old, "m.room.tombstone", {"body": "come", "replacement_room": other}
        )
        await p.alice.wait_for(
            lambda s: s.room_id == old and "stays here" in (s.body or ""), after=mark
        )
        assert await says(p, "still here") == old
        await until_gone(p.alice, other, p.ghost)


@pytest.mark.both_room_versions
async def test_a_room_that_the_user_made_and_upgraded_is_followed_though_the_contact_is_silenced(
    stack: Stack,
) -> None:
    """An upgrade lets only moderators write in the old room."""
    async with pair(stack) as p:
        old = await p.alice.create_room(invite=[p.ghost], is_direct=True, preset="private_chat")
        await in_the_room(p.alice, old, p.ghost)
        await until_marked(p, old)
        for n in range(10):
            p.juliet.send(p.romeo, f"in {n}")
        new = await upgrade(p.alice, old)
        for n in range(10, 20):
            p.juliet.send(p.romeo, f"in {n}")
        await p.alice.wait_for_text("in 19", timeout=40)
        came = await bodies(p.alice, old, p.ghost) + await bodies(p.alice, new, p.ghost)
        assert came == [f"in {n}" for n in range(20)]
        await until_marked(p, new)


@pytest_asyncio.fixture(scope="module")
async def unhelped(prosody: Prosody, workplace: Workplace) -> AsyncIterator[Stack]:
    """A bridge that cannot act for its users."""
    stack = await Stack.start(
        workplace("unhelped"),
        prosody=prosody,
        domain="unhelped.localhost",
        synapse_config=unknown_accounts,
    )
    yield stack
    await stack.stop()


async def test_without_access_an_upgraded_chat_follows_when_its_user_invites_the_contact(
    unhelped: Stack,
) -> None:
    async with pair(unhelped) as p:
        old = await invited_to(p)
        await p.alice.join(old)
        new = await upgrade(p.alice, old)
        await p.alice.send_text(new, "too early")
        await asyncio.sleep(1)
        p.juliet.send(p.romeo, "waiting")
        await asyncio.sleep(1)
        await p.alice.invite(new, p.ghost)
        await p.juliet.wait_for_text("too early")
        assert (await p.alice.wait_for_text("waiting", timeout=40)).room_id == new
        assert await says(p, "here") == new


async def test_without_access_and_invite_the_next_message_opens_one_room_and_no_second(
    unhelped: Stack,
) -> None:
    async with pair(unhelped) as p:
        old = await invited_to(p)
        await p.alice.join(old)
        upgraded = await upgrade(p.alice, old)
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "are you there?")
        seen = await p.alice.wait_for(
            lambda s: s.kind == "invite" and s.event.get("state_key") == p.alice.user_id,
            timeout=60,
            after=mark,
        )
        new = seen.room_id
        assert new not in (old, upgraded)
        await p.alice.join(new)
        await p.alice.wait_for_text("are you there?", after=mark)
        await p.alice.send_text(old, "in the old one")
        await p.juliet.wait_for_text("in the old one")
        mark = p.alice.mark()
        await p.alice.invite(upgraded, p.ghost)
        await p.alice.wait_for(
            lambda s: s.room_id == upgraded and new in str(s.content), after=mark
        )
        assert await says(p, "still here") == new


# -- coming and going


async def test_who_leaves_and_forgets_a_chat_finds_it_marked_and_is_invited_directly(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await until_marked(p, room)
        await p.alice.leave(room)
        await p.alice.request("POST", f"v3/rooms/{quote(room)}/forget", {})
        await p.told()
        await asyncio.sleep(1)
        assert await marked(p.alice, p.ghost) == [room]
        assert await says(p, "come back") == room
        assert invite_of(p.alice, room).content["is_direct"] is True
        await until_marked(p, room)


@pytest.mark.both_room_versions
async def test_who_kicks_the_contact_out_of_their_own_room_gets_a_new_room(stack: Stack) -> None:
    async with pair(stack) as p:
        old = await p.alice.create_room(invite=[p.ghost], is_direct=True, preset="private_chat")
        await in_the_room(p.alice, old, p.ghost)
        await until_marked(p, old)
        await kick(p.alice, old, p.ghost, "ban")
        await until_marked(p)
        new = await says(p, "where are you?")
        assert new != old
        await until_marked(p, new)


@pytest.mark.both_room_versions
async def test_who_leaves_a_room_into_which_the_contact_may_invite_nobody_gets_a_new_room(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        old = await p.alice.create_room(invite=[p.ghost], is_direct=True, preset="private_chat")
        await in_the_room(p.alice, old, p.ghost)
        await until_marked(p, old)  # the bridge has nothing else to do there when she leaves
        levels = await p.alice.state_content(old, "m.room.power_levels") or {}
        await p.alice.send_state(old, "m.room.power_levels", {**levels, "invite": 100})
        await p.alice.leave(old)
        await p.told()
        new = await says(p, "where are you?")
        assert new != old
        await until_marked(p, new)


@pytest.mark.both_room_versions
async def test_a_contact_who_is_silenced_writes_in_a_new_room(stack: Stack) -> None:
    async with pair(stack) as p:
        old = await p.alice.create_room(invite=[p.ghost], is_direct=True, preset="private_chat")
        await in_the_room(p.alice, old, p.ghost)
        levels = await p.alice.state_content(old, "m.room.power_levels") or {}
        await p.alice.send_state(old, "m.room.power_levels", {**levels, "events_default": 50})
        new = await says(p, "can you hear me?")
        assert new != old
        await until_marked(p, new)
        await p.alice.send_text(old, "I wrote in the old one")
        await p.juliet.wait_for_text("I wrote in the old one")


async def let_in(p: Pair, room: str, user: MatrixUser, *, power: bool = False) -> None:
    """Alice invites a third person, and makes them an admin."""
    await p.alice.invite(room, user.user_id)
    await user.join(room)
    if power:
        levels = await p.alice.state_content(room, "m.room.power_levels") or {}
        levels["users"] = {**levels.get("users", {}), user.user_id: 99}
        levels["events"] = {**levels.get("events", {}), "m.room.tombstone": 50}
        await p.alice.send_state(room, "m.room.power_levels", levels)


async def test_a_chat_of_three_is_not_direct_until_the_third_has_left(stack: Stack) -> None:
    async with pair(stack) as p, stack.matrix_user(f"nurse-{unique(stack)}") as nurse:
        room = await p.first_chat()
        await until_marked(p, room)
        await p.alice.invite(room, nurse.user_id)
        await asyncio.sleep(1)
        assert await marked(p.alice, p.ghost) == [room]  # invited is not yet there
        mark = p.alice.mark()
        await nurse.join(room)
        await p.alice.wait_for(lambda s: "Somebody else" in (s.body or ""), after=mark)
        await until_marked(p)
        await nurse.send_text(room, "not for juliet")
        await p.alice.send_text(room, "for juliet")
        await p.juliet.wait_for_text("for juliet")
        assert await says(p, "for alice") == room
        assert [r.body for r in p.juliet.received] == ["for juliet"]
        await nurse.leave(room)
        await until_marked(p, room)
        notices = [e for e in await p.alice.messages(room) if "Somebody else" in str(e["content"])]
        assert len(notices) == 1


async def test_a_crowd_is_remembered_across_restarts(stack: Stack) -> None:
    async with pair(stack) as p, stack.matrix_user(f"nurse-{unique(stack)}") as nurse:
        room = await p.first_chat()
        await until_marked(p, room)
        await let_in(p, room, nurse)
        await until_marked(p)
        await stack.bridge.stop()
        try:
            await nurse.leave(room)
        finally:
            await stack.bridge.run()
        await until_marked(p, room)


# -- logins


async def test_after_a_logout_only_our_marks_are_gone_and_a_login_brings_them_back(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await until_marked(p, room)
        document = await p.alice.m_direct() or {}
        await p.alice.set_m_direct({**document, "@friend:elsewhere.example": ["!theirs:x"]})
        await p.ask("logout", "logged out")
        assert await marked(p.alice, p.ghost) == []
        await until_marked(p)
        left = await p.alice.m_direct() or {}
        assert left["@friend:elsewhere.example"] == ["!theirs:x"]
        assert left[stack.bot] == document[stack.bot]
        assert room in await p.alice.joined_rooms()
        await stack.log_in(p.alice, p.management, p.romeo, PASSWORD)
        await until_marked(p, room)
        assert await says(p, "again") == room


async def test_two_logins_with_one_contact_are_two_rooms_under_one_key(stack: Stack) -> None:
    async with pair(stack) as p:
        first = await p.first_chat()
        other = await stack.prosody.add_user(f"benvolio-{unique(stack)}", PASSWORD)
        await stack.log_in(p.alice, p.management, other, PASSWORD)
        mark = p.alice.mark()
        p.juliet.send(other, "and you")
        second = (await p.alice.wait_for_text("and you", after=mark)).room_id
        assert second != first
        await until_marked(p, first, second)
        await p.ask("logins", other)
        await p.ask(f"logout {other}", "logged out")
        await until_marked(p, first)


async def test_a_chat_with_oneself_is_one_room_marked_once_under_the_own_ghost(
    stack: Stack,
) -> None:
    async with pair(stack) as p, p.elsewhere() as phone:
        answer = await p.ask(f"start {p.romeo}", "Here you are")
        room = answer.partition("/#/")[2].partition(")")[0].split()[0]
        own = ghost_of(stack, p.romeo)
        await until_marked(p, room, ghost=own)
        await p.alice.send_text(room, "note to self")
        await phone.wait_for_text("note to self")
        mark = p.alice.mark()
        phone.send(p.romeo, "from the phone")
        assert (await p.alice.wait_for_text("from the phone", after=mark)).room_id == room
        await asyncio.sleep(2)
        said = [e["content"].get("body") for e in await p.alice.messages(room)]
        assert (said.count("note to self"), said.count("from the phone")) == (1, 1)
        await until_marked(p, room, ghost=own)


# -- the bot's commands


@pytest.mark.both_room_versions
async def test_a_deleted_chat_is_unmarked_left_and_opens_anew(stack: Stack) -> None:
    async with pair(stack) as p:
        old = await p.first_chat()
        await until_marked(p, old)
        answer = await p.ask(f"delete-chat https://matrix.to/#/{old}", "no longer bridged")
        assert p.juliet.bare_jid in answer
        await until_marked(p)
        assert (await members(p.alice, old))[p.ghost] == "leave"
        new = await says(p, "hello again")
        assert new != old
        await until_marked(p, new)
        await p.ask(f"delete-chat {p.juliet.bare_jid}", "no longer bridged")
        await p.ask(f"delete-chat {p.juliet.bare_jid}", "None of your bridged chats")


async def test_nobody_deletes_the_chat_of_somebody_else(stack: Stack) -> None:
    async with pair(stack) as p, stack.matrix_user(f"mallory-{unique(stack)}") as mallory:
        room = await p.first_chat()
        management = await stack.open_bot_chat(mallory)
        await ask(mallory, stack.bot, management, f"delete-chat {room}", "None of your bridged")
        assert await says(p, "still here") == room


async def test_a_contact_with_a_new_address_keeps_their_room(stack: Stack) -> None:
    async with pair(stack) as p, stack.xmpp_user(f"capulet-{unique(stack)}") as capulet:
        room = await p.first_chat()
        await until_marked(p, room)
        new_ghost = ghost_of(stack, capulet.bare_jid)
        await p.ask(f"moved {p.juliet.bare_jid} {capulet.bare_jid}", "same room")
        await until_marked(p, room, ghost=new_ghost)
        await until_marked(p)
        found = await members(p.alice, room)
        assert (found[new_ghost], found[p.ghost]) == ("join", "leave")
        mark = p.alice.mark()
        capulet.send(p.romeo, "it is me")
        seen = await p.alice.wait_for_text("it is me", after=mark)
        assert (seen.room_id, seen.sender) == (room, new_ghost)
        await p.alice.send_text(room, "so it is")
        await capulet.wait_for_text("so it is")
        assert p.juliet.received == []
        await p.alice.leave(room)  # the new ghost has the power to ask her back
        await p.told()
        mark = p.alice.mark()
        capulet.send(p.romeo, "come back")
        assert (await p.alice.wait_for_text("come back", after=mark)).room_id == room
        elsewhere = await says(p, "who am I?")  # the old address is somebody else's now
        assert elsewhere != room


async def test_two_chats_are_never_made_one(stack: Stack) -> None:
    async with pair(stack) as p, stack.xmpp_user(f"capulet-{unique(stack)}") as capulet:
        room = await p.first_chat()
        mark = p.alice.mark()
        capulet.send(p.romeo, "hi")
        other = (await p.alice.wait_for_text("hi", after=mark)).room_id
        await p.ask(f"moved {p.juliet.bare_jid} {capulet.bare_jid}", "already")
        assert await says(p, "still here") == room
        await until_marked(p, room)
        await until_marked(p, other, ghost=ghost_of(stack, capulet.bare_jid))


# -- the bot, and strangers' invites


@pytest.mark.both_room_versions
async def test_functional_members_are_repaired_and_those_of_others_kept(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await p.alice.invite(room, stack.bot)
        await in_the_room(p.alice, room, stack.bot)

        async def listed() -> list[str]:
            content = await p.alice.state_content(room, FUNCTIONAL_MEMBERS) or {}
            return list(content.get("service_members", []))

        async def as_wanted() -> bool:
            return await listed() == wanted

        wanted = [stack.bot]
        await eventually(as_wanted, "the bot is listed")
        content = {"service_members": ["@scribe:elsewhere.example"], "org.example": 1}
        await p.alice.send_state(room, FUNCTIONAL_MEMBERS, content)
        wanted = ["@scribe:elsewhere.example", stack.bot]
        await eventually(as_wanted, "the bot is listed again, and the other one too")
        full = await p.alice.state_content(room, FUNCTIONAL_MEMBERS) or {}
        assert full["org.example"] == 1
        await until_marked(p, room)
        await kick(p.alice, room, stack.bot)
        wanted = ["@scribe:elsewhere.example"]
        await eventually(as_wanted, "the bot is not listed any more")


async def test_the_room_with_the_bot_is_no_chat_even_when_a_contact_is_invited(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        await p.alice.invite(p.management, p.ghost)

        await until_gone(p.alice, p.management, p.ghost)
        before = await p.alice.m_direct() or {}
        assert p.ghost not in before
        assert await p.first_chat() != p.management
        assert p.management in (await p.alice.m_direct() or {})[stack.bot]
        await p.ask("ping", "Pong")


@pytest.mark.parametrize("local", ["_dm_xmpp_no-address", "_dm_nothing_x", "_dm_xmpp_"])
async def test_an_invite_of_a_ghost_that_stands_for_nobody_does_not_hang(
    stack: Stack, local: str
) -> None:
    async with pair(stack) as p:
        ghost = f"@{local}:{stack.synapse.domain}"
        room = await p.alice.create_room(invite=[ghost], is_direct=True)

        await until_gone(p.alice, room, ghost)
