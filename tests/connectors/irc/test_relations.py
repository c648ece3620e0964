"""Answers and reactions: read from tags, sent as tags, and only where a server passes them on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from dm_bridge.connectors.irc.features import Features
from dm_bridge.connectors.irc.lines import Line, UnsendableError, parse
from dm_bridge.connectors.irc.relations import Reaction, Relations
from dm_bridge.connectors.irc.session import IrcSession
from dm_bridge.errors import NetworkError
from dm_bridge.ids import ChatId, RemoteId
from dm_bridge.network.abilities import OutgoingReactions, Reference
from dm_bridge.network.events import ReactionChange, RemoteReactions
from dm_bridge.testing.inspircd import MODULES, InspIrcd
from dm_bridge.testing.irc_client import IrcUser, Received
from dm_bridge.testing.ngircd import NgIrcd

from .support import message, network_for, running, until, user

TAGS = ("message-tags", "echo-message")
_TEXT = st.text(max_size=40)


def read(raw: str) -> Line:
    line = parse(raw.encode())
    assert line is not None
    return line


def reactions(
    nick: str, target: str, *added: str, removed: Sequence[str] = ()
) -> OutgoingReactions:
    about = Reference(RemoteId(target), True, "")
    return OutgoingReactions(
        ChatId(f"{nick}@net"), RemoteId(f"out-{target}{added}{removed}"), about, added, added,
        tuple(removed),
    )  # fmt: skip


# -- what lines say


@pytest.mark.parametrize(
    ("tags", "answered"),
    [
        ("+reply=abc", "id:abc"),
        ("+draft/reply=abc", "id:abc"),
        ("+reply=abc;+draft/reply=old", "id:abc"),
        ("+reply=", None),
        ("reply=abc", None),  # without its plus it is the server's, and means something else
        ("msgid=abc", None),
    ],
)
def test_an_answer_names_what_it_answers(tags: str, answered: str | None) -> None:
    assert Relations().answered(read(f"@{tags} :a!b@c PRIVMSG romeo :hi")) == answered


@pytest.mark.parametrize(
    ("tags", "rest", "expected"),
    [
        ("+reply=x;+draft/react=👍", "TAGMSG romeo", Reaction(RemoteId("id:x"), "👍", True)),
        ("+reply=x;+draft/unreact=👍", "TAGMSG romeo", Reaction(RemoteId("id:x"), "👍", False)),
        (
            "+reply=x;+draft/react=lol",
            "PRIVMSG romeo :lol",
            Reaction(RemoteId("id:x"), "lol", True),
        ),
        ("+reply=x;+draft/react=lol", "PRIVMSG romeo :lol, and more", None),
        ("+draft/react=👍", "TAGMSG romeo", None),
        ("+reply=x;+draft/react=", "TAGMSG romeo", None),
        ("+reply=x;+draft/react=\\s\x02\\s", "TAGMSG romeo", None),
        (f"+reply=x;+draft/react={'x' * 101}", "TAGMSG romeo", None),
        ("+reply=x;+typing=active", "TAGMSG romeo", None),
    ],
)
def test_a_reaction_is_read_where_there_is_one(
    tags: str, rest: str, expected: Reaction | None
) -> None:
    assert Relations().reaction(read(f"@{tags} :a!b@c {rest}")) == expected


@pytest.mark.parametrize(
    ("denied", "passed", "stopped"),
    [
        (None, ["reply", "draft/react"], []),
        ("", ["reply", "draft/react"], []),
        ("*", [], ["reply", "draft/react"]),
        ("draft/react,typing", ["reply"], ["draft/react"]),
        ("*,-draft/react,-reply", ["reply", "draft/react"], ["draft/reply"]),
    ],
)
def test_what_a_server_denies_is_not_sent(
    denied: str | None, passed: list[str], stopped: list[str]
) -> None:
    features = Features(tokens={} if denied is None else {"CLIENTTAGDENY": denied})
    assert all(features.passes(tag) for tag in passed)
    assert not any(features.passes(tag) for tag in stopped)


@given(target=_TEXT, emoji=_TEXT, nick=st.sampled_from(["juliet", "[x]"]))
def test_whatever_is_named_makes_one_line_that_says_it(target: str, emoji: str, nick: str) -> None:
    relations = Relations()
    relations.able = True
    for line in relations.reactions(reactions(nick, f"id:{target}", emoji), nick):
        try:
            raw = line.encode()
        except UnsendableError:
            assert "\0" in target + emoji
            continue
        assert raw.count(b"\n") == raw.count(b"\r") == 1
        again = parse(raw)
        assert again is not None
        assert (again.command, again.params) == ("TAGMSG", (nick,))
        assert again.tags["+draft/react"] == emoji.encode("utf-8", "replace").decode()
        assert again.tags["+reply"] == target.encode("utf-8", "replace").decode()


def test_a_message_of_several_lines_is_one_message() -> None:
    relations = Relations()
    assert relations.sent([RemoteId("id:1"), RemoteId("id:2")]) == "id:1"
    assert relations.answered(read("@+reply=2 :a!b@c PRIVMSG romeo :hi")) == "id:1"
    assert relations.sent([]) is None


# -- on real servers


def tagged(line: Received, **tags: str) -> bool:
    names = {"reply": "+draft/reply", "react": "+draft/react", "unreact": "+draft/unreact"}
    return all(line.tags.get(names[name]) == value for name, value in tags.items())


async def test_answers_go_both_ways(inspircd: InspIrcd) -> None:
    network = await network_for(inspircd)
    async with (
        running(network, "romeo60") as (session, sink),
        user(inspircd, "juliet60", caps=TAGS) as juliet,
    ):
        assert session.capabilities.replies
        sent = await session.send(message("juliet60", "What's in a name?"))
        heard = await juliet.wait_for_text("What's in a name?")
        assert sent == f"id:{heard.tags['msgid']}"
        juliet.send_raw(f"@+draft/reply={heard.tags['msgid']} PRIVMSG romeo60 :A rose.")
        await until(lambda: bool(sink.messages))
        answer = sink.messages[0]
        assert (answer.content.body, answer.reply_to) == ("A rose.", sent)

        about = Reference(answer.id, False, "A rose.")
        await session.send(replace(message("juliet60", "Indeed\nit is"), reply_to=about))
        first = await juliet.wait_for_text("Indeed")
        rest = await juliet.wait_for_text("it is")
        echo = await juliet.wait_for_text("A rose.")
        for tag in ("+reply", "+draft/reply"):
            assert first.tags[tag] == echo.tags["msgid"]
            assert tag not in rest.tags


async def test_reactions_go_both_ways(inspircd: InspIrcd) -> None:
    network = await network_for(inspircd)
    async with (
        running(network, "romeo61") as (session, sink),
        user(inspircd, "juliet61", caps=TAGS) as juliet,
    ):
        assert session.capabilities.reactions
        sent = await session.send(message("juliet61", "Good night"))
        given = (await juliet.wait_for_text("Good night")).tags["msgid"]
        for tag in ("react", "unreact"):
            juliet.send_raw(f"@+draft/reply={given};+draft/{tag}=😴 TAGMSG romeo61")
        await until(lambda: len(sink.events) == 2)
        assert [
            (event.target, event.emojis, event.change, event.chat, event.from_self)
            for event in sink.events
            if isinstance(event, RemoteReactions)
        ] == [
            (sent, ("😴",), ReactionChange.ADDED, "juliet61@net", False),
            (sent, ("😴",), ReactionChange.REMOVED, "juliet61@net", False),
        ]

        await session.react(reactions("juliet61", sent, "👍"))
        await juliet.wait_for(lambda line: tagged(line, reply=given, react="👍"))
        await session.react(reactions("juliet61", sent, removed=["👍"]))
        await juliet.wait_for(lambda line: tagged(line, reply=given, unreact="👍"))


async def test_a_reaction_of_a_stranger_or_to_nothing_begins_no_chat(inspircd: InspIrcd) -> None:
    network = await network_for(inspircd)
    async with (
        running(network, "romeo62") as (_, sink),
        user(inspircd, "tybalt62", caps=TAGS) as tybalt,
    ):
        tybalt.send_raw("@+draft/reply=x;+draft/react=👎 TAGMSG romeo62")
        tybalt.send_raw("@+typing=active TAGMSG romeo62")
        tybalt.say("romeo62", "en garde")
        await until(lambda: bool(sink.messages))
        assert sink.events == sink.messages


async def test_what_has_no_id_of_the_server_cannot_be_reacted_to(inspircd: InspIrcd) -> None:
    network = await network_for(inspircd)
    async with (
        running(network, "romeo63") as (session, _),
        user(inspircd, "juliet63", caps=TAGS) as juliet,
    ):
        with pytest.raises(NetworkError, match="no id") as caught:
            await session.react(reactions("juliet63", "out-1", "👍"))
        assert caught.value.certain
        assert caught.value.retry_after is None
        about = Reference(RemoteId("out-1"), True, "before")
        await session.send(replace(message("juliet63", "an answer"), reply_to=about))
        assert "+reply" not in (await juliet.wait_for_text("an answer")).tags


async def test_nobody_to_react_to_is_told(inspircd: InspIrcd) -> None:
    network = await network_for(inspircd)
    async with running(network, "romeo64") as (session, _):
        with pytest.raises(NetworkError, match="not on net"):
            await session.react(reactions("nobody64", "id:x", "👍"))


@pytest_asyncio.fixture(params=["without ids", "without echo", "without tags of clients"])
async def lesser(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[InspIrcd]:
    """A server that offers tags, and not enough of them."""
    without = {"without ids": "ircv3_msgid", "without echo": "ircv3_echomessage"}
    missing = without.get(request.param, "")
    server = await InspIrcd.start(
        tmp_path_factory.mktemp("lesser"),
        modules=tuple(name for name in MODULES if name != missing),
        extra="" if missing else '<ctctags allowclientonlytags="no">',
    )
    yield server
    await server.stop()


async def test_a_server_without_all_of_it_is_told_from_one_with(lesser: InspIrcd) -> None:
    network = await network_for(lesser)
    async with (
        running(network, "romeo65") as (session, _),
        user(lesser, "juliet65", caps=("message-tags",)) as juliet,
    ):
        await _is_plain(session, juliet)


async def test_a_server_without_tags_has_no_answers(ngircd: NgIrcd) -> None:
    network = await network_for(ngircd)
    async with running(network, "romeo66") as (session, _), user(ngircd, "juliet66") as juliet:
        await _is_plain(session, juliet)


async def _is_plain(session: IrcSession, juliet: IrcUser) -> None:
    """An answer is sent as a message, and nothing else."""
    assert not session.capabilities.replies
    assert not session.capabilities.reactions
    about = Reference(RemoteId("id:x"), True, "before")
    await session.send(replace(message(juliet.nick, "an answer"), reply_to=about))
    assert not [
        tag for tag in (await juliet.wait_for_text("an answer")).tags if tag.startswith("+")
    ]
    assert [line.text for line in juliet.received if line.command == "PRIVMSG"] == ["an answer"]
