"""The bot, as a person meets it in a client."""

from __future__ import annotations

import asyncio

import pytest

from dm_bridge.testing.stack import Stack
from tests.e2e.pairs import PASSWORD, ask, pair, unique


async def test_the_login_asks_for_address_and_password_and_hides_the_password(stack: Stack) -> None:
    name = unique(stack)
    jid = await stack.prosody.add_user(f"romeo-{name}", PASSWORD)
    async with stack.matrix_user(f"alice-{name}") as alice:
        room = await stack.open_bot_chat(alice)
        assert "XMPP address" in await ask(alice, stack.bot, room, "login xmpp", "Please send")
        assert "password" in await ask(alice, stack.bot, room, jid, "Please send")
        mark = alice.mark()
        event = await alice.send_text(room, PASSWORD)
        await alice.wait_for(lambda s: "You are logged in" in (s.body or ""), after=mark)
        await alice.wait_for(lambda s: s.type == "m.room.redaction", after=mark)
        events = await alice.messages(room)
        hidden = next(e for e in events if e["event_id"] == event)
        assert hidden["content"] == {}
        assert PASSWORD not in str(events)
        assert jid in await ask(alice, stack.bot, room, "logins", "connected")
        assert PASSWORD not in stack.bridge.log.read_text()


@pytest.mark.both_room_versions
async def test_the_password_is_removed_where_the_bot_has_no_power(stack: Stack) -> None:
    name = unique(stack)
    jid = await stack.prosody.add_user(f"romeo-{name}", PASSWORD)
    async with stack.matrix_user(f"alice-{name}") as alice:
        room = await alice.create_room(invite=[stack.bot], is_direct=True, preset="private_chat")
        await alice.wait_for(lambda s: s.room_id == room and "Hello" in (s.body or ""))
        await ask(alice, stack.bot, room, f"login xmpp {jid} {PASSWORD}", "You are logged in")
        assert PASSWORD not in str(await alice.messages(room))


async def test_a_command_sent_right_with_the_invite_is_answered(stack: Stack) -> None:
    async with stack.matrix_user(f"alice-{unique(stack)}") as alice:
        room = await alice.create_room(invite=[stack.bot], is_direct=True)
        await alice.send_text(room, "help")
        await alice.wait_for(lambda s: s.room_id == room and "login NETWORK" in (s.body or ""))


async def test_a_wrong_password_is_explained_and_can_be_tried_again(stack: Stack) -> None:
    name = unique(stack)
    jid = await stack.prosody.add_user(f"romeo-{name}", PASSWORD)
    async with stack.matrix_user(f"alice-{name}") as alice:
        room = await stack.open_bot_chat(alice)
        answer = await ask(alice, stack.bot, room, f"login xmpp {jid} wrong", "⚠")
        assert "does not accept this password" in answer
        await ask(alice, stack.bot, room, f"login xmpp {jid} {PASSWORD}", "You are logged in")


async def test_logging_out_stops_messages_and_logging_in_again_finds_the_same_room(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await p.ask("logout", "logged out")
        await p.ask("logins", "no logins")
        await p.alice.send_text(room, "does this arrive?")
        seen = await p.alice.wait_for(lambda s: s.room_id == room and "⚠" in (s.body or ""))
        assert "logged out" in (seen.body or "")
        await p.ask(f"login xmpp {p.romeo} {PASSWORD}", "You are logged in")
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "welcome back")
        assert (await p.alice.wait_for_text("welcome back", after=mark)).room_id == room
        assert p.juliet.received == []


async def test_a_password_changed_elsewhere_is_told_and_the_login_rests(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        localpart = p.romeo.partition("@")[0]
        mark = p.alice.mark()
        await stack.prosody.change_password(localpart, "another")
        await stack.prosody.disconnect_user(localpart)
        await p.alice.wait_for(
            lambda s: s.room_id == p.management and "log in again" in (s.body or ""), after=mark
        )
        await p.alice.send_text(room, "hello?")
        await p.alice.wait_for(lambda s: s.room_id == room and "⚠" in (s.body or ""), after=mark)
        await p.ask(f"login xmpp {p.romeo} another", "You are logged in")
        await p.alice.send_text(room, "hello again")
        await p.juliet.wait_for_text("hello again")


async def test_the_bot_leaves_a_room_of_more_than_two(stack: Stack) -> None:
    name = unique(stack)
    async with stack.matrix_user(f"alice-{name}") as alice, stack.matrix_user(f"b-{name}") as bob:
        room = await alice.create_room(invite=[bob.user_id, stack.bot])
        await alice.wait_for(
            lambda s: (
                s.room_id == room
                and s.event.get("state_key") == stack.bot
                and s.content.get("membership") == "leave"
            )
        )


async def test_commands_are_answered_without_quoting_what_was_typed(stack: Stack) -> None:
    async with stack.matrix_user(f"alice-{unique(stack)}") as alice:
        room = await stack.open_bot_chat(alice)
        answer = await ask(alice, stack.bot, room, "hunter2 [x](https://evil)", "do not know")
        assert "hunter2" not in answer


@pytest.mark.both_room_versions
async def test_the_bot_in_a_chat_is_a_functional_member(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await p.alice.invite(room, stack.bot)
        await p.alice.wait_for(
            lambda s: s.room_id == room and s.type == "io.element.functional_members"
        )
        content = await p.alice.state_content(room, "io.element.functional_members")
        assert content == {"service_members": [stack.bot]}
        await p.alice.send_text(room, "help")
        await p.juliet.wait_for_text("help")
        await asyncio.sleep(0.5)
        assert not [
            s for s in p.alice.seen if s.room_id == room and s.sender == stack.bot and s.body
        ]


async def test_a_misspelt_login_is_removed_all_the_same(stack: Stack) -> None:
    async with stack.matrix_user(f"alice-{unique(stack)}") as alice:
        room = await stack.open_bot_chat(alice)
        for line in (f"log in xmpp a@b.example {PASSWORD}", f"a@b.example {PASSWORD}"):
            mark = alice.mark()
            await ask(alice, stack.bot, room, line, "do not know")
            await alice.wait_for(lambda s: s.type == "m.room.redaction", after=mark)
        assert PASSWORD not in str(await alice.messages(room))


async def test_a_malformed_address_is_refused_before_the_password_is_asked_for(
    stack: Stack,
) -> None:
    async with stack.matrix_user(f"alice-{unique(stack)}") as alice:
        room = await stack.open_bot_chat(alice)
        await ask(alice, stack.bot, room, "login xmpp", "XMPP address")
        answer = await ask(alice, stack.bot, room, "nonsense", "⚠")
        assert "XMPP address" in answer
        assert "nonsense" not in answer
        await ask(alice, stack.bot, room, "a@b.example", "password")
        await ask(alice, stack.bot, room, "cancel", "Stopped")
