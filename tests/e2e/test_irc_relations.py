"""Answers and reactions between a Matrix client and an IRC client, both ways, on a server that passes tags on."""

from __future__ import annotations

import pytest

from dm_bridge.testing.inspircd import InspIrcd
from dm_bridge.testing.irc_client import IrcUser
from dm_bridge.testing.matrix_client import Seen
from dm_bridge.testing.stack import Stack
from tests.e2e.conftest import Workplace
from tests.e2e.test_irc import DOMAIN, ghost, log_in

TAGS = ("message-tags", "echo-message")


def reacts(seen: Seen, event: str, emoji: str) -> bool:
    relation = {"rel_type": "m.annotation", "event_id": event, "key": emoji}
    return seen.type == "m.reaction" and seen.content.get("m.relates_to") == relation


async def test_answers_and_reactions_go_both_ways(
    workplace: Workplace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = await InspIrcd.start(tmp_path_factory.mktemp("inspircd"))
    stack = await Stack.start(
        workplace("tags"),
        prosody=None,
        domain=DOMAIN,
        config={
            "networks": {
                "irc": {
                    "servers": {"verona": {"host": server.host, "port": server.port, "tls": "none"}}
                }
            }
        },
    )
    try:
        await talk(stack, server)
    finally:
        await stack.stop()
        await server.stop()


async def talk(stack: Stack, server: InspIrcd) -> None:
    async with (
        stack.matrix_user("alice") as alice,
        IrcUser("juliet", server.host, server.port, caps=TAGS) as juliet,
    ):
        bot = await log_in(stack, alice, "romeo")
        await alice.send_text(bot, "start juliet")
        await alice.wait_for(lambda seen: "Here you are" in (seen.body or ""))
        (room,) = (await alice.m_direct() or {})[ghost("juliet")]
        await alice.send_text(room, "Are you there?")
        await juliet.wait_for_text("Are you there?")
        juliet.say("romeo", "What's in a name?")
        question = await alice.wait_for_text("What's in a name?", timeout=30)
        asked = question.event["event_id"]
        msgid = (await juliet.wait_for_text("What's in a name?")).tags["msgid"]

        answer = {"m.relates_to": {"m.in_reply_to": {"event_id": asked}}}
        event = await alice.send_text(room, "A rose.", **answer)
        heard = await juliet.wait_for_text("A rose.")
        assert heard.tags["+draft/reply"] == heard.tags["+reply"] == msgid
        relation = {"rel_type": "m.annotation", "event_id": asked, "key": "🌹"}
        reaction = await alice.send_event(room, "m.reaction", {"m.relates_to": relation})
        for tag in ("react", "unreact"):
            await juliet.wait_for(
                lambda line, tag=tag: (  # type: ignore[misc]
                    line.tags.get(f"+draft/{tag}") == "🌹"
                    and line.tags["+draft/reply"] == msgid
                    and line.nick == "romeo"
                )
            )
            if tag == "react":
                await alice.redact(room, reaction)

        mark = alice.mark()
        about = f"+draft/reply={heard.tags['msgid']}"
        juliet.send_raw(f"@{about} PRIVMSG romeo :By any other word")
        seen = await alice.wait_for_text("By any other word", after=mark)
        assert (seen.sender, seen.content["m.relates_to"]) == (
            ghost("juliet"),
            {"m.in_reply_to": {"event_id": event}},
        )
        juliet.send_raw(f"@{about};+draft/react=👃 TAGMSG romeo")
        smells = await alice.wait_for(lambda seen: reacts(seen, event, "👃"), after=mark)
        assert smells.sender == ghost("juliet")
        juliet.send_raw(f"@{about};+draft/unreact=👃 TAGMSG romeo")
        await alice.wait_for(
            lambda seen: (
                seen.type == "m.room.redaction"
                and smells.event["event_id"]
                in (seen.content.get("redacts"), seen.event.get("redacts"))
            ),
            after=mark,
        )
