"""Edits, retractions, reactions and replies, between a Matrix client and an XMPP client, both ways."""

from __future__ import annotations

from html import escape
from xml.etree.ElementTree import Element, fromstring

import pytest

from dm_bridge.testing.matrix_client import Seen
from dm_bridge.testing.stack import Stack
from dm_bridge.testing.xmpp_client import Received
from tests.e2e.pairs import Pair, pair

CORRECT = "{urn:xmpp:message-correct:0}replace"
RETRACT = "{urn:xmpp:message-retract:1}retract"
REACTIONS = "{urn:xmpp:reactions:0}reactions"
REPLY = "{urn:xmpp:reply:0}reply"


def stanza(p: Pair, id_: str, inner: str, body: str = "") -> str:
    text = f"<body>{escape(body)}</body>" if body else ""
    return (
        f"<message xmlns='jabber:client' to='{p.romeo}' type='chat' id='{id_}'>{text}{inner}"
        "<store xmlns='urn:xmpp:hints'/></message>"
    )


def relation(seen: Seen) -> dict[str, object]:
    found = seen.content.get("m.relates_to", {})
    assert isinstance(found, dict)
    return found


async def edit_of(p: Pair, event: str, after: int) -> Seen:
    return await p.alice.wait_for(
        lambda s: relation(s) == {"rel_type": "m.replace", "event_id": event}, after=after
    )


async def reaction_to(p: Pair, event: str, emoji: str, after: int) -> Seen:
    wanted = {"rel_type": "m.annotation", "event_id": event, "key": emoji}
    return await p.alice.wait_for(
        lambda s: s.type == "m.reaction" and relation(s) == wanted, after=after
    )


async def redaction_of(p: Pair, event: str, after: int) -> Seen:
    return await p.alice.wait_for(
        lambda s: (
            s.type == "m.room.redaction"
            and event in (s.content.get("redacts"), s.event.get("redacts"))
        ),
        after=after,
    )


def found(received: Received, tag: str) -> Element | None:
    return fromstring(received.xml).find(tag)  # noqa: S314 - from our own server


async def with_tag(p: Pair, tag: str, after: int) -> tuple[Received, Element]:
    received = await p.juliet.wait_for(lambda r: found(r, tag) is not None, after=after)
    element = found(received, tag)
    assert element is not None
    return received, element


@pytest.mark.both_room_versions
async def test_a_contact_edits_and_retracts(stack: Stack) -> None:
    async with pair(stack) as p:
        await p.first_chat()
        mark = p.alice.mark()
        p.juliet.send(p.romeo, "But soft, what lihgt", id="first")
        first = await p.alice.wait_for_text("But soft, what lihgt", after=mark)
        p.juliet.send_xml(
            stanza(
                p,
                "second",
                "<replace xmlns='urn:xmpp:message-correct:0' id='first'/>",
                "But soft, what *light*",
            )
        )
        edit = await edit_of(p, first.event["event_id"], mark)
        assert edit.sender == p.ghost
        assert edit.content["m.new_content"]["body"] == "But soft, what *light*"
        assert "<strong>light</strong>" in edit.content["m.new_content"]["formatted_body"]
        p.juliet.send_xml(
            stanza(
                p, "third", "<replace xmlns='urn:xmpp:message-correct:0' id='first'/>", "But soft"
            )
        )
        again = await p.alice.wait_for(
            lambda s: s.content.get("m.new_content", {}).get("body") == "But soft", after=mark
        )
        assert relation(again)["event_id"] == first.event["event_id"]
        p.juliet.send_xml(
            stanza(p, "fourth", "<retract xmlns='urn:xmpp:message-retract:1' id='first'/>", "gone")
        )
        redaction = await redaction_of(p, first.event["event_id"], mark)
        assert redaction.sender == p.ghost
        assert not [s for s in p.alice.seen[mark:] if s.body == "gone"]


async def test_a_contact_cannot_change_what_the_user_wrote(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        await p.alice.send_text(room, "mine")
        mine = await p.juliet.wait_for_text("mine")
        mark = p.alice.mark()
        p.juliet.send_xml(
            stanza(p, "forged", f"<retract xmlns='urn:xmpp:message-retract:1' id='{mine.id}'/>")
        )
        p.juliet.send_xml(
            stanza(
                p,
                "forged2",
                f"<replace xmlns='urn:xmpp:message-correct:0' id='{mine.id}'/>",
                "forged",
            )
        )
        seen = await p.alice.wait_for_text("forged", after=mark)
        assert relation(seen) == {}
        assert not [s for s in p.alice.seen[mark:] if s.type == "m.room.redaction"]


async def test_a_contact_reacts_and_answers(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        event = await p.alice.send_text(room, "Wherefore art thou?")
        sent = await p.juliet.wait_for_text("Wherefore art thou?")
        mark = p.alice.mark()
        for n, emojis in enumerate((("👍", "❤️"), ("❤️",), ())):
            inner = "".join(f"<reaction>{emoji}</reaction>" for emoji in emojis)
            p.juliet.send_xml(
                stanza(
                    p,
                    f"r{n}",
                    f"<reactions xmlns='urn:xmpp:reactions:0' id='{sent.id}'>{inner}</reactions>",
                )
            )
        thumb = await reaction_to(p, event, "👍\ufe0f", mark)
        heart = await reaction_to(p, event, "❤️", mark)
        assert {thumb.sender, heart.sender} == {p.ghost}
        await redaction_of(p, thumb.event["event_id"], mark)
        await redaction_of(p, heart.event["event_id"], mark)
        quote = "> Wherefore art thou?\n"
        p.juliet.send_xml(
            stanza(
                p,
                "answer",
                f"<reply xmlns='urn:xmpp:reply:0' to='{p.romeo}' id='{sent.id}'/>"
                "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'>"
                f"<body start='0' end='{len(quote)}'/></fallback>",
                f"{quote}Here 🙂",
            )
        )
        answer = await p.alice.wait_for_text("Here 🙂", after=mark)
        assert relation(answer) == {"m.in_reply_to": {"event_id": event}}
        assert answer.content["m.mentions"] == {"user_ids": [p.alice.user_id]}


async def test_a_user_edits_reacts_answers_and_redacts(stack: Stack) -> None:
    async with pair(stack) as p:
        room = await p.first_chat()
        hello = next(s for s in p.alice.seen if s.room_id == room and s.body == "hello")
        theirs = hello.event["event_id"]
        event = await p.alice.send_text(room, "a tyop")
        sent = await p.juliet.wait_for_text("a tyop")
        mark = p.juliet.mark()
        await p.alice.send_event(
            room,
            "m.room.message",
            {
                "msgtype": "m.text",
                "body": "* a typo",
                "m.new_content": {"msgtype": "m.text", "body": "a typo"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": event},
            },
        )
        received, replace = await with_tag(p, CORRECT, mark)
        assert (received.body, replace.get("id")) == ("a typo", sent.id)

        thumb = await p.alice.send_event(
            room,
            "m.reaction",
            {"m.relates_to": {"rel_type": "m.annotation", "event_id": theirs, "key": "👍"}},
        )
        _, reactions = await with_tag(p, REACTIONS, mark)
        assert [each.text for each in reactions] == ["👍"]
        mark = p.juliet.mark()
        await p.alice.send_event(
            room,
            "m.reaction",
            {"m.relates_to": {"rel_type": "m.annotation", "event_id": theirs, "key": "🎉"}},
        )
        _, reactions = await with_tag(p, REACTIONS, mark)
        assert [each.text for each in reactions] == ["👍", "🎉"]
        mark = p.juliet.mark()
        await p.alice.redact(room, thumb)
        _, reactions = await with_tag(p, REACTIONS, mark)
        assert [each.text for each in reactions] == ["🎉"]

        answer = await p.alice.send_event(
            room,
            "m.room.message",
            {
                "msgtype": "m.text",
                "body": "> <@x:y> hello\n\nhi",
                "m.relates_to": {"m.in_reply_to": {"event_id": theirs}},
            },
        )
        received, reply = await with_tag(p, REPLY, mark)
        assert received.body == "> hello\nhi"
        assert reply.get("to") == p.juliet.bare_jid
        mark = p.juliet.mark()
        await p.alice.send_event(
            room,
            "m.room.message",
            {
                "msgtype": "m.text",
                "body": "* hi there",
                "m.new_content": {"msgtype": "m.text", "body": "hi there"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": answer},
            },
        )
        corrected, replace = await with_tag(p, CORRECT, mark)
        assert (corrected.body, replace.get("id")) == ("> hello\nhi there", received.id)
        _, still = await with_tag(p, REPLY, mark)
        assert still.attrib == reply.attrib

        await p.alice.redact(room, event)
        _, retract = await with_tag(p, RETRACT, mark)
        assert retract.get("id") == sent.id


async def test_what_the_user_does_on_another_device_is_done_in_matrix_once(stack: Stack) -> None:
    async with pair(stack) as p, p.elsewhere() as phone:
        room = await p.first_chat()
        mark, theirs = p.alice.mark(), p.juliet.mark()
        phone.send(p.juliet.bare_jid, "from the phone", id="phone1")
        first = await p.alice.wait_for_text("from the phone", after=mark)
        assert first.sender == p.alice.user_id
        to = p.juliet.bare_jid
        for id_, inner in (
            (
                "phone2",
                "<replace xmlns='urn:xmpp:message-correct:0' id='phone1'/><body>changed</body>",
            ),
            (
                "phone3",
                "<reactions xmlns='urn:xmpp:reactions:0' id='phone1'>"
                "<reaction>🎈</reaction></reactions><store xmlns='urn:xmpp:hints'/>",
            ),
            (
                "phone4",
                "<retract xmlns='urn:xmpp:message-retract:1' id='phone1'/><body>gone</body>",
            ),
        ):
            phone.send_xml(
                f"<message xmlns='jabber:client' to='{to}' type='chat' id='{id_}'>{inner}</message>"
            )
        event = first.event["event_id"]
        edit = await edit_of(p, event, mark)
        assert edit.sender == p.alice.user_id
        assert (await reaction_to(p, event, "🎈", mark)).sender == p.alice.user_id
        assert (await redaction_of(p, event, mark)).sender == p.alice.user_id
        await p.alice.send_text(room, "the end")
        await p.juliet.wait_for_text("the end", after=theirs)
        stanzas = [fromstring(r.xml) for r in p.juliet.received[theirs:]]  # noqa: S314
        for tag in (CORRECT, REACTIONS, RETRACT):  # nothing of it came back through the bridge
            assert len([one for one in stanzas if one.find(tag) is not None]) == 1, tag
