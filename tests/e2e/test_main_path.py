"""A private chat on a real XMPP server appears in Matrix as a DM, and both sides talk."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest

from dm_bridge.bridge.features import ROOM_FEATURES
from dm_bridge.testing.matrix_client import Seen
from dm_bridge.testing.stack import Stack
from dm_bridge.texts import phrase
from tests.e2e.pairs import PASSWORD, as_appservice, ghost_direct, ghost_of, invite_of, pair, unique


@pytest.mark.both_room_versions
async def test_a_message_from_a_contact_becomes_a_direct_room(stack: Stack) -> None:
    async with pair(stack) as p:
        before = await p.alice.m_direct() or {}
        room = await p.first_chat()
        assert invite_of(p.alice, room).content["is_direct"] is True
        assert invite_of(p.alice, room).sender == p.ghost
        create = await p.alice.state_content(room, "m.room.create")
        assert create is not None
        assert create["room_version"] == stack.synapse.domain[1:3]
        assert await p.alice.m_direct() == {**before, p.ghost: [room]}
        assert await ghost_direct(stack, p.ghost) == {p.alice.user_id: [room]}


async def test_the_room_is_marked_before_its_first_message_arrives(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        seen = p.alice.seen
        marked = next(
            n for n, s in enumerate(seen) if s.type == "m.direct" and p.ghost in s.content
        )
        message = next(n for n, s in enumerate(seen) if s.room_id == room and s.body == "hello")
        assert marked < message


async def test_the_room_says_what_it_bridges_and_the_ghost_has_a_name(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        state = await p.alice.request("GET", f"v3/rooms/{quote(room)}/members")
        members = {e["state_key"]: e["content"] for e in state["chunk"]}
        assert set(members) == {p.alice.user_id, p.ghost}
        assert members[p.ghost]["displayname"] == p.juliet.bare_jid
        events = await as_appservice(stack, p.ghost, f"v3/rooms/{quote(room)}/state")
        info = {e["type"]: e for e in events if e["type"] in ("m.bridge", "uk.half-shot.bridge")}
        assert len(info) == 2
        for event in info.values():
            assert event["content"]["protocol"]["id"] == "xmpp"
            assert event["content"]["channel"]["external_url"] == f"xmpp:{p.juliet.bare_jid}"
            assert event["content"]["bridgebot"] == stack.bot


async def test_the_room_says_what_can_be_done_in_it(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        said = await p.alice.wait_for(lambda s: s.room_id == room and s.type == ROOM_FEATURES)
        can = said.content
        assert (can["reply"], can["edit"], can["delete"], can["reaction"]) == (2, 2, 2, 2)
        assert can["file"]["m.image"]["max_size"] > 0


async def test_text_goes_both_ways_in_order(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark = p.alice.mark()
        for n in range(60):
            p.juliet.send(p.romeo, f"in {n}")
        await p.alice.wait_for_text("in 59", timeout=60, after=mark)
        bodies = [s.body for s in p.alice.seen[mark:] if s.room_id == room and s.body]
        assert bodies == [f"in {n}" for n in range(60)]
        for n in range(30):
            await p.alice.send_text(room, f"out {n}")
        await p.juliet.wait_for_text("out 29", timeout=60)
        assert [r.body for r in p.juliet.received] == [f"out {n}" for n in range(30)]
        assert all(r.sender.startswith(p.romeo + "/") for r in p.juliet.received)


async def test_formatting_and_emotes_cross_in_both_directions(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "this is *strong*, _emphasised_ and `code`")
        p.juliet.send(p.romeo, "/me waves")
        waved = await p.alice.wait_for_text("waves", after=mark)
        assert waved.content["msgtype"] == "m.emote"
        styled = next(s for s in p.alice.seen[mark:] if "strong" in (s.body or ""))
        html = styled.content["formatted_body"]
        for expected in ("<strong>", "<em>", "<code>"):
            assert expected in html
        p.juliet.send_xml(
            f"<message xmlns='jabber:client' type='chat' to='{p.romeo}' id='x'><body>green with envy</body>"
            "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>"
            "<span style='color:green'>green</span> with <a href='javascript:x'><strong>envy</strong></a>"
            "<script>x</script></body></html></message>"
        )
        coloured = await p.alice.wait_for_text("green with envy", after=mark)
        assert coloured.content["formatted_body"] == (
            '<span data-mx-color="#008000">green</span> with <a><strong>envy</strong></a>'
        )
        await p.alice.send_event(
            room,
            "m.room.message",
            {
                "msgtype": "m.text",
                "body": "a **b** <c>",
                "format": "org.matrix.custom.html",
                "formatted_body": "a <b>b</b> &lt;c&gt;<script>x</script>",
            },
        )
        await p.alice.send_event(room, "m.room.message", {"msgtype": "m.emote", "body": "bows"})
        await p.juliet.wait_for_text("/me bows")
        assert p.juliet.received[0].body == "a *b* <c>"


async def test_plain_text_arrives_unchanged(stack: Stack) -> None:
    texts = [
        "line one\nline two\n  indented",
        "<b>not bold</b> & so on",
        "emoji \N{PILE OF POO} \u202eبيدي\u202c",
        "x" * 20_000,
    ]
    async with pair(stack) as p:
        room = await p.first_chat()
        for text in texts:
            mark = p.alice.mark()
            p.juliet.send(p.romeo, text)
            await p.alice.wait_for_text(text, after=mark)
            await p.alice.send_text(room, text)
            await p.juliet.wait_for_text(text)


async def test_what_the_user_writes_with_another_client_appears_as_the_user(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        async with p.elsewhere() as phone:
            mark = p.alice.mark()
            phone.send(p.juliet.bare_jid, "from my phone")
            seen = await p.alice.wait_for_text("from my phone", after=mark)
            assert (seen.room_id, seen.sender) == (room, p.alice.user_id)
            await p.juliet.wait_for_text("from my phone")
            await p.alice.send_text(room, "from Matrix")
            await p.juliet.wait_for_text("from Matrix")
            await phone.wait_for_text("from Matrix")
            await p.alice.wait_for_text("from Matrix", after=mark)
        assert [r.body for r in p.juliet.received] == ["from my phone", "from Matrix"]
        own = [s.body for s in p.alice.seen if s.sender == p.alice.user_id and s.room_id == room]
        assert [body for body in own if body] == ["from my phone", "from Matrix"]


async def test_a_forwarded_copy_of_a_bridged_message_is_a_new_message(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        async with p.elsewhere() as phone:
            mark = p.alice.mark()
            phone.send(p.juliet.bare_jid, "once")
            seen = await p.alice.wait_for_text("once", after=mark)
        await p.alice.send_event(room, "m.room.message", seen.content)
        first = p.alice.seen[mark:]
        hello = next(s for s in p.alice.seen if s.sender == p.ghost and s.body == "hello")
        await p.alice.send_event(room, "m.room.message", hello.content)
        await p.juliet.wait_for_text("hello")
        assert [r.body for r in p.juliet.received] == ["once", "once", "hello"], first


async def test_a_chat_begun_on_another_client_appears_too(stack: Stack) -> None:
    async with pair(stack) as p, p.elsewhere() as phone:
        mark = p.alice.mark()
        phone.send(p.juliet.bare_jid, "I begin")
        seen = await p.alice.wait_for_text("I begin", after=mark)
        assert seen.sender == p.alice.user_id
        assert (await p.alice.m_direct() or {})[p.ghost] == [seen.room_id]


async def test_start_opens_the_chat_and_the_contact_answers_in_it(stack: Stack) -> None:
    async with pair(stack) as p:
        mark = p.alice.mark()
        await p.ask(f"start {p.juliet.bare_jid.upper()}", "your chat")
        room = (await p.alice.m_direct() or {})[p.ghost][0]
        assert invite_of(p.alice, room).content["is_direct"] is True
        await p.alice.send_text(room, "are you there?")
        await p.juliet.wait_for_text("are you there?")
        p.juliet.send(p.romeo, "yes")
        assert (await p.alice.wait_for_text("yes", after=mark)).room_id == room
        await p.ask(f"start {p.juliet.bare_jid}", "your chat")
        assert (await p.alice.m_direct() or {})[p.ghost] == [room]


@pytest.mark.both_room_versions
async def test_inviting_a_ghost_to_a_new_room_opens_the_chat(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.alice.create_room(invite=[p.ghost], is_direct=True)
        await p.alice.send_text(room, "written before she joined")
        await p.juliet.wait_for_text("written before she joined")
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "I am here")
        assert (await p.alice.wait_for_text("I am here", after=mark)).room_id == room
        assert (await p.alice.m_direct() or {})[p.ghost] == [room]
        assert await ghost_direct(stack, p.ghost) == {p.alice.user_id: [room]}
        assert [r.body for r in p.juliet.received] == ["written before she joined"]


@pytest.mark.both_room_versions
async def test_a_second_room_for_the_same_contact_is_declined_with_the_first_named(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        second = await p.alice.create_room(invite=[p.ghost], is_direct=True)

        def left(seen: Seen) -> bool:
            return seen.room_id == second and (
                seen.event.get("state_key") == p.ghost and seen.content.get("membership") == "leave"
            )

        await p.alice.wait_for(left)
        notice = next(
            s for s in p.alice.seen if s.room_id == second and s.sender == p.ghost and s.body
        )
        assert room in (notice.body or "")


async def test_a_ghost_leaves_a_room_of_more_than_two(stack: Stack) -> None:
    async with pair(stack) as p, stack.matrix_user(f"carol-{unique(stack)}") as carol:
        room = await p.alice.create_room(invite=[carol.user_id, p.ghost], is_direct=True)
        seen = await p.alice.wait_for(
            lambda s: (
                s.room_id == room
                and s.event.get("state_key") == p.ghost
                and s.content.get("membership") == "leave"
            )
        )
        assert "one-to-one" in seen.content["reason"]


@pytest.mark.both_room_versions
async def test_after_the_user_left_the_next_message_invites_them_again_directly(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await p.alice.leave(room)
        await p.told()
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "come back")
        seen = await p.alice.wait_for_text("come back", after=mark)
        assert seen.room_id == room
        invites = [
            s
            for s in p.alice.seen[mark:]
            if s.content.get("membership") == "invite"
            and s.event.get("state_key") == p.alice.user_id
        ]
        assert invites
        assert invites[-1].content["is_direct"] is True


@pytest.mark.both_room_versions
async def test_when_the_ghost_was_removed_the_next_message_makes_a_new_room(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.alice.create_room(invite=[p.ghost], is_direct=True, preset="private_chat")
        await p.alice.send_text(room, "hello")
        await p.juliet.wait_for_text("hello")
        await p.alice.request("POST", f"v3/rooms/{quote(room)}/kick", {"user_id": p.ghost})
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "again")
        seen = await p.alice.wait_for_text("again", after=mark)
        assert seen.room_id != room
        assert (await p.alice.m_direct() or {})[p.ghost] == [seen.room_id]


async def test_a_message_to_nobody_is_reported_in_the_chat(stack: Stack) -> None:
    async with pair(stack) as p:
        nobody = f"nobody-{unique(stack)}@{stack.prosody.domain}"
        await p.ask(f"start {nobody}", "your chat")
        room = (await p.alice.m_direct() or {})[ghost_of(stack, nobody)][0]
        sent = await p.alice.send_text(room, "hello?")
        seen = await p.alice.wait_for(lambda s: s.room_id == room and "⚠" in (s.body or ""))
        assert seen.content["m.relates_to"]["m.in_reply_to"]["event_id"] == sent
        assert "not delivered" in (seen.body or "")


async def test_what_the_other_server_sent_back_can_be_tried_again(stack: Stack) -> None:
    async with pair(stack) as p:
        nobody = f"late-{unique(stack)}@{stack.prosody.domain}"
        await p.ask(f"start {nobody}", "your chat")
        room = (await p.alice.m_direct() or {})[ghost_of(stack, nobody)][0]
        for round in (1, 2):  # once more, to nobody still
            mark = p.alice.mark()
            if round == 1:
                await p.alice.send_text(room, "are you there now?")
            else:
                await p.ask("retry all", "I try it again")
            told = await p.alice.wait_for(
                lambda s: s.room_id == room and (s.body or "").startswith("⚠"), after=mark
            )
            assert "`retry`" in (told.body or "")
        async with stack.xmpp_user(nobody.partition("@")[0]) as late:
            await p.ask("retry all", "I try it again")
            await late.wait_for_text("are you there now?")
            await p.alice.wait_for(
                lambda s: s.room_id == room and phrase("delivery-done") in (s.body or ""),
                after=mark,
            )
            assert "Nothing that you wrote" in await p.ask("retry", "Nothing")
            assert len(late.received) == 1


async def test_what_the_network_has_is_shown_as_read_by_the_contact(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        sent = await p.alice.send_text(room, "seen?")
        await p.alice.wait_for(
            lambda s: (
                s.room_id == room
                and s.type == "m.receipt"
                and p.ghost in s.content.get(sent, {}).get("m.read", {})
            )
        )


async def test_two_users_with_the_same_contact_have_a_room_each(stack: Stack) -> None:
    async with pair(stack) as p, stack.matrix_user(f"bob-{unique(stack)}") as bob:
        jid = await stack.prosody.add_user(f"bob-{unique(stack)}", PASSWORD)
        management = await stack.open_bot_chat(bob)
        await stack.log_in(bob, management, jid, PASSWORD)
        room = await p.first_chat()
        p.juliet.send(jid, "hello bob")
        seen = await bob.wait_for_text("hello bob")
        assert seen.room_id != room
        assert seen.sender == p.ghost
        direct = await ghost_direct(stack, p.ghost)
        assert direct == {p.alice.user_id: [room], bob.user_id: [seen.room_id]}


async def test_a_text_too_long_for_an_event_comes_in_parts(stack: Stack) -> None:
    text = "\n".join(f"line {n} " + "ö" * 60 for n in range(1500))
    async with pair(stack) as p:
        room = await p.first_chat()
        async with p.elsewhere() as phone:
            mark = p.alice.mark()
            p.juliet.send(p.romeo, text)
            await p.alice.wait_for(lambda s: (s.body or "").endswith(text[-30:]), after=mark)
            parts = [s.body or "" for s in p.alice.seen[mark:] if s.sender == p.ghost and s.body]
            assert len(parts) > 1
            assert "".join(parts) == text
            phone.send(p.juliet.bare_jid, text)
            await p.alice.wait_for(
                lambda s: s.sender == p.alice.user_id and (s.body or "").endswith(text[-30:])
            )
            await p.alice.send_text(room, "after that")
            await p.juliet.wait_for_text("after that")
        assert [r.body for r in p.juliet.received] == [text, "after that"]


async def test_a_stranger_cannot_open_a_chat_with_a_forged_failure(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await p.alice.send_text(room, "hi")
        to = (await p.juliet.wait_for_text("hi")).sender
        async with stack.xmpp_user(f"mallory-{unique(stack)}") as mallory:
            mark = p.alice.mark()
            for user in (mallory, p.juliet):
                user.send_xml(
                    f"<message type='error' id='forged' to='{to}'><body>x</body><error type='cancel'>"
                    "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
                )
            p.juliet.send(p.romeo, "last")
            await p.alice.wait_for_text("last", after=mark)
            await asyncio.sleep(1)
        assert not [s for s in p.alice.seen[mark:] if "⚠" in (s.body or "")]
        assert ghost_of(stack, mallory.bare_jid) not in (await p.alice.m_direct() or {})


async def test_a_chat_in_the_users_own_room_says_what_it_bridges_too(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.alice.create_room(invite=[p.ghost], is_direct=True, preset="private_chat")
        await p.alice.wait_for(lambda s: s.room_id == room and s.type == "uk.half-shot.bridge")


async def test_a_room_for_several_contacts_does_not_become_a_chat(stack: Stack) -> None:
    async with pair(stack) as p:
        other = ghost_of(stack, f"nurse-{unique(stack)}@{stack.prosody.domain}")
        room = await p.alice.create_room(invite=[p.ghost, other], is_direct=True)
        for ghost in (p.ghost, other):
            await p.alice.wait_for(
                lambda s, ghost=ghost: (  # type: ignore[misc]
                    s.room_id == room
                    and s.event.get("state_key") == ghost
                    and s.content.get("membership") == "leave"
                )
            )
        marked = await p.alice.m_direct() or {}
        assert room not in [r for rooms in marked.values() for r in rooms]
