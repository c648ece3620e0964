"""Names, pictures and requests of contacts, between XMPP clients and a Matrix client."""

from __future__ import annotations

import struct
import zlib
from urllib.parse import quote

from dm_bridge.testing.stack import Stack
from tests.e2e.pairs import Pair, as_appservice, ghost_of, pair, unique, within

"""None of it depends on the version of a room."""
NICK = "http://jabber.org/protocol/nick"


def picture(shade: int) -> bytes:
    """A PNG of one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixel = zlib.compress(bytes([0, shade]))
    parts = (b"IHDR", header), (b"IDAT", pixel), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


async def befriend(p: Pair) -> None:
    """Romeo and juliet see each other's presence, by their own clients."""
    async with p.elsewhere() as phone:
        phone.subscribe(p.juliet.bare_jid)
        await p.juliet.asked_by(p.romeo)
        p.juliet.approve(p.romeo)
        p.juliet.subscribe(p.romeo)
        await phone.asked_by(p.juliet.bare_jid)
        phone.approve(p.juliet.bare_jid)
        await phone.subscribed_to(p.juliet.bare_jid)


async def nick(p: Pair, name: str) -> None:
    await p.juliet.publish(NICK, f"<nick xmlns='{NICK}'>{name}</nick>")


async def profile(p: Pair) -> dict[str, str]:
    found = await as_appservice(p.stack, p.ghost, f"v3/profile/{quote(p.ghost)}")
    assert isinstance(found, dict)
    return found


async def is_called(p: Pair, name: str) -> bool:
    return (await profile(p)).get("displayname") == name


async def is_called_of(p: Pair, jid: str, name: str) -> bool:
    ghost = ghost_of(p.stack, jid)
    found = await as_appservice(p.stack, ghost, f"v3/profile/{quote(ghost)}")
    return bool(found.get("displayname") == name)


async def shown_in(p: Pair, room: str) -> tuple[str | None, str | None]:
    content = await p.alice.state_content(room, "m.room.member", p.ghost) or {}
    return content.get("displayname"), content.get("avatar_url")


async def media(p: Pair, url: str) -> tuple[bytes, str]:
    return await p.alice.download(url)


async def test_a_contact_who_takes_another_name_or_picture_is_shown_with_it(stack: Stack) -> None:
    async with pair(stack) as p:
        await befriend(p)
        room = await p.first_chat()
        await nick(p, "Jules\u202e  of\nVerona")
        await within(20, lambda: is_called(p, "Jules of Verona"))
        await p.juliet.publish_avatar(picture(7))

        async def has_picture() -> bool:
            return "avatar_url" in await profile(p)

        await within(20, has_picture)
        url = (await profile(p))["avatar_url"]
        assert await media(p, url) == (picture(7), "image/png")

        async def spread() -> bool:
            return await shown_in(p, room) == ("Jules of Verona", url)

        await within(20, spread)
        await nick(p, "Julia")
        await within(20, lambda: is_called(p, "Julia"))
        assert (await profile(p))["avatar_url"] == url


async def test_who_lets_the_user_see_them_is_called_as_they_call_themselves(stack: Stack) -> None:
    """The contact does not see the user, so no server tells of what the contact has published before."""
    async with pair(stack) as p:
        await nick(p, "Jules")
        room = await p.first_chat()
        assert not await is_called(p, "Jules")
        async with p.elsewhere() as phone:
            phone.subscribe(p.juliet.bare_jid)
            await p.juliet.asked_by(p.romeo)
            p.juliet.approve(p.romeo)
            await phone.subscribed_to(p.juliet.bare_jid)

        async def spread() -> bool:
            return (await shown_in(p, room))[0] == "Jules"

        await within(20, spread)


async def test_what_somebody_calls_a_contact_stays_in_their_room_whatever_the_contact_does(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        await befriend(p)
        async with p.elsewhere() as phone:
            await phone.name_contact(p.juliet.bare_jid, "My sweet")
            room = await p.first_chat()

            async def called(name: str) -> bool:
                return (await shown_in(p, room))[0] == name

            await within(20, lambda: called("My sweet"))
            await p.juliet.publish_avatar(picture(9))

            async def kept() -> bool:
                name, url = await shown_in(p, room)
                return name == "My sweet" and url is not None

            await within(30, kept)
            assert (await profile(p))["displayname"] != "My sweet"
            await phone.name_contact(p.juliet.bare_jid, "My love")
            await within(20, lambda: called("My love"))


async def test_a_strangers_name_and_picture_are_read_from_their_vcard(stack: Stack) -> None:
    async with pair(stack) as p:
        await p.juliet.publish_vcard("Juliet C.", picture(11))
        await p.first_chat()
        await within(20, lambda: is_called(p, "Juliet C."))

        async def has_picture() -> bool:
            return "avatar_url" in await profile(p)

        await within(20, has_picture)
        assert await media(p, (await profile(p))["avatar_url"]) == (picture(11), "image/png")


async def test_the_name_in_a_vcard_that_changes_is_the_contacts_unless_they_have_a_nick(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        await befriend(p)
        await p.first_chat()
        for name in ("Juliet C.", "Juliet M."):
            await p.juliet.publish_vcard(name)
            await within(30, lambda name=name: is_called(p, name))  # type: ignore[misc]
        await nick(p, "Jules")
        await within(20, lambda: is_called(p, "Jules"))


async def test_a_page_that_says_it_is_a_picture_is_not_shown_and_the_next_picture_is(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        await befriend(p)
        await p.first_chat()
        await p.juliet.publish_avatar(b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>")
        await nick(p, "after the page")
        await within(20, lambda: is_called(p, "after the page"))
        assert "avatar_url" not in await profile(p)
        await p.juliet.publish_avatar(picture(13))

        async def has_picture() -> bool:
            return "avatar_url" in await profile(p)

        await within(20, has_picture)


async def test_nobody_renames_somebody_else(stack: Stack) -> None:
    async with pair(stack) as p:
        await befriend(p)
        await p.first_chat()
        async with stack.xmpp_user(f"tybalt-{unique(stack)}") as tybalt:
            items = f"<items node='{NICK}'><item><nick xmlns='{NICK}'>Villain</nick></item></items>"
            event = f"<event xmlns='http://jabber.org/protocol/pubsub#event'>{items}</event>"
            for forged in (f" from='{p.juliet.bare_jid}'", ""):
                tybalt.send_xml(
                    f"<message xmlns='jabber:client' to='{p.romeo}'{forged} type='headline'>{event}</message>"
                )
            tybalt.send(p.romeo, "here I am")
            await p.alice.wait_for_text("here I am")
        await nick(p, "still Juliet")
        await within(20, lambda: is_called(p, "still Juliet"))
        assert "Villain" not in [
            s.content.get("displayname") for s in p.alice.seen if s.type == "m.room.member"
        ]


# -- who asks, and who is not to be heard


async def test_a_request_is_a_question_that_is_asked_once_and_answered_by_the_user(
    stack: Stack,
) -> None:
    async with pair(stack) as p:
        mark = p.alice.mark()
        p.juliet.send_xml(
            f"<presence xmlns='jabber:client' to='{p.romeo}' type='subscribe'>"
            f"<status>It's *me*</status><nick xmlns='{NICK}'>Jules</nick></presence>"
        )
        question = await p.alice.wait_for(
            lambda s: "asks to be a contact" in (s.body or ""), after=mark
        )
        for words in (f"Jules, `{p.juliet.bare_jid}`", "It's *me*", "accept"):
            assert words in (question.body or "")
        await stack.prosody.disconnect_user(p.romeo.partition("@")[0])
        assert ("subscribed", p.romeo) not in p.juliet.subscriptions
        await p.ask("accept", f"1. Jules, `{p.juliet.bare_jid}`")
        await p.ask("accept 1", "is your contact now")
        await p.juliet.subscribed_to(p.romeo)
        await p.juliet.asked_by(p.romeo)
        await p.ask("decline", "Nobody waits")
        asked = [s for s in p.alice.seen if "asks to be a contact" in (s.body or "")]
        assert len(asked) == 1


async def test_a_request_is_refused_and_may_come_again(stack: Stack) -> None:
    async with pair(stack) as p:
        p.juliet.subscribe(p.romeo)
        await p.alice.wait_for(lambda s: "asks to be a contact" in (s.body or ""))
        await p.ask("accept nobody@elsewhere.example", "does not wait for an answer")
        await p.ask(f"decline {p.juliet.bare_jid}", "I have refused")
        await p.juliet.refused_by(p.romeo)
        p.juliet.subscribe(p.romeo)

        async def waits_again() -> bool:
            return "1. " in await p.ask("accept", "")

        await within(20, waits_again)


async def test_a_request_that_is_withdrawn_or_answered_elsewhere_is_over(stack: Stack) -> None:
    async with pair(stack) as p, stack.xmpp_user(f"nurse-{unique(stack)}") as nurse:
        p.juliet.subscribe(p.romeo)
        nurse.subscribe(p.romeo)

        async def waiting(*who: str) -> bool:
            answer = await p.ask("accept", "")
            known = p.juliet.bare_jid, nurse.bare_jid
            return [each in answer for each in known] == [each in who for each in known]

        await within(20, lambda: waiting(p.juliet.bare_jid, nurse.bare_jid))
        p.juliet.send_xml(f"<presence xmlns='jabber:client' to='{p.romeo}' type='unsubscribe'/>")
        await within(20, lambda: waiting(nurse.bare_jid))
        async with p.elsewhere() as phone:
            await phone.asked_by(nurse.bare_jid)
            phone.approve(nurse.bare_jid)
            await within(20, waiting)


async def test_the_contact_list_is_shown_and_names_and_numbers_of_it_open_chats(
    stack: Stack,
) -> None:
    async with pair(stack) as p, p.elsewhere() as phone:
        names = {f"friend{n}@{stack.prosody.domain}": f"Friend {n:02}" for n in range(1, 4)}
        for jid, name in names.items():
            await phone.name_contact(jid, name)
        gateway = f"9\\40legacy.example@{stack.prosody.domain}"
        await phone.name_contact(gateway, "")
        shown = await p.ask("contacts", "Your contact list has")
        assert "4 people" in shown
        readable = f"9@legacy.example ({stack.prosody.domain})"
        for words in ("Friend 01, `friend1@", f"{readable}, `9\\40legacy.example@"):
            assert words in shown
        await p.ask("start friend 02", "with `friend2@")
        await p.ask("start friend", "Several of your contacts")
        await p.ask("start 3", "with `friend3@")
        await p.ask(f"start {ghost_of(stack, gateway)}", f"with {readable}, `9\\40")
        await p.ask("search legacy", f"1. {readable}")
        await p.ask("contacts", "(chat)")
        await p.ask("contacts import all", "Done: you have a chat with 4 people")
        direct = await p.alice.m_direct() or {}
        for jid in (*names, gateway):
            assert direct[ghost_of(stack, jid)], jid
        assert await is_called_of(p, gateway, readable)


async def test_who_is_blocked_does_not_come_through_until_that_is_taken_back(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await p.ask(f"block {p.juliet.bare_jid}", "is blocked")
        p.juliet.send(p.romeo, "can you hear me?")
        await p.juliet.error()
        await p.ask(f"start {p.juliet.bare_jid}", "You have blocked")
        mark = p.alice.mark()
        await p.alice.send_text(room, "hello?")
        await p.alice.wait_for(
            lambda s: s.room_id == room and "You have blocked" in (s.body or ""), after=mark
        )
        await p.ask("block", f"1. `{p.juliet.bare_jid}`")
        await p.ask("unblock 1", "no longer blocked")
        await p.ask("unblock 1", "is not blocked")
        p.juliet.send(p.romeo, "and now?")
        await p.alice.wait_for_text("and now?")
        assert "can you hear me?" not in [s.body for s in p.alice.seen]


async def test_notes_to_oneself_go_both_ways_and_come_once(stack: Stack) -> None:
    async with pair(stack) as p, p.elsewhere() as phone:
        await p.ask(f"start {p.romeo}", "Here you are")
        (room,) = (await p.alice.m_direct() or {})[ghost_of(stack, p.romeo)]
        await p.alice.send_text(room, "milk")
        await phone.wait_for_text("milk")
        phone.send(p.romeo, "bread")
        await p.alice.wait_for_text("bread")
        await p.alice.send_text(room, "eggs")
        await phone.wait_for_text("eggs")
        await p.alice.wait_for_text("eggs")
        said = [s.body for s in p.alice.seen if s.room_id == room and s.type == "m.room.message"]
        assert said == ["milk", "bread", "eggs"]
